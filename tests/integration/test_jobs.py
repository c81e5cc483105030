"""Jobs from submission to end, with real workers."""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
from dataclasses import replace

import pytest
from bessemer.api.common.v1 import job_pb2
from bessemer.api.train.v1 import training_service_pb2 as pb
from bessemer.api.train.v1.training_job_pb2 import Checkpoint, TrainingJob
from bessemer.jobs.logs import tail
from bessemer.jobs.states import MOVES, is_terminal, state_name
from bessemer.kernel.errors import FailedPrecondition, NotFound

from tests.integration.jobs_harness import KIND, JobService, on_progress


@pytest.fixture
async def service(tmp_path, request):
    service = JobService(tmp_path, kind=replace(KIND, on_progress=getattr(request, "param", None)))
    await service.start()
    yield service
    await service.stop()
    service.kill()


async def assert_lawful(service, name):
    """Every change of state is a move of the table, attempts only grow, and the end is the end."""
    pairs = {(state_name(s), state_name(rule.target)) for rule in MOVES for s in rule.sources}
    state, attempt = "", 0
    for verb, previous, job in await service.events(name):
        now = state_name(job.status.state)
        if verb not in {"created", "progressed"}:
            assert (previous, now) in pairs
            assert previous == state
        elif verb == "progressed":
            assert now == state
        state = now
        assert job.status.attempt >= attempt
        attempt = job.status.attempt
    assert is_terminal(job.status.state)


async def test_job_that_works_succeeds_with_its_metrics_and_artifacts(service):
    name = await service.submit(do="work", steps="4")
    job = await service.until_state(name, "SUCCEEDED")
    assert job.usage.steps == 4
    assert job.model_version.startswith("projects/p/blobs/sha256/")
    assert job.status.progress == 1.0
    assert job.status.cpu_seconds > 0
    assert [attempt.attempt for attempt in job.status.attempts] == [1]
    assert job.status.attempts[0].HasField("start_time")
    assert job.status.attempts[0].HasField("end_time")
    points = await service.store.read(lambda tx: service.runtime.query(tx, name))
    assert [(point.key, point.step) for point in points] == [("loss", step) for step in range(1, 5)]
    await assert_lawful(service, name)
    await service.until_gone()
    await service.until_tidy()
    assert "step 4" in service.log(name, 1)


async def test_job_with_a_wrong_request_fails_at_once_as_the_users(service):
    job = await service.until_state(await service.submit(do="refuse"), "FAILED")
    assert job.status.failure_kind == job_pb2.FAILURE_KIND_USER
    assert job.status.error.message == "the recipe is wrong"
    assert len(job.status.attempts) == 1
    await assert_lawful(service, job.name)


async def test_job_with_a_defect_is_tried_twice(service):
    job = await service.until_state(await service.submit(do="defect"), "FAILED")
    assert job.status.failure_kind == job_pb2.FAILURE_KIND_SYSTEM
    assert "ZeroDivisionError: oops" in job.status.error.message
    assert len(job.status.attempts) == 2
    assert "Traceback" in service.log(job.name, 2)


async def test_job_that_diverges_is_tried_three_times(service):
    job = await service.until_state(await service.submit(do="diverge"), "FAILED")
    assert job.status.failure_kind == job_pb2.FAILURE_KIND_NUMERIC
    assert len(job.status.attempts) == 3


async def test_job_whose_store_comes_back_succeeds(service):
    job = await service.until_state(await service.submit(do="unavailable"), "SUCCEEDED")
    assert len(job.status.attempts) == 3
    assert job.status.attempts[0].failure_kind == job_pb2.FAILURE_KIND_INFRA
    await assert_lawful(service, job.name)


async def test_job_whose_worker_always_dies_stops_after_three_crashes_and_says_so(service):
    job = await service.until_state(await service.submit(do="die"), "FAILED")
    assert len(job.status.attempts) == 3
    assert "failed 3 times at the same progress" in job.status.error.message
    assert "SIGKILL" in job.status.error.message


async def test_job_that_names_a_missing_artifact_does_not_succeed(service):
    name = await service.submit(do="lie")
    job = await service.until(name, lambda job: len(job.status.attempts) > 1)
    assert "is not in the object store" in job.status.attempts[0].error.message
    await service.store.write(lambda tx: service.runtime.cancel(tx, name, TrainingJob))
    await service.until_state(name, "CANCELLED")


@pytest.mark.parametrize("service", [on_progress], indirect=True)
async def test_job_whose_worker_is_killed_at_random_finishes_and_keeps_its_state(service):
    seed = random.randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    name = await service.submit(do="work", steps="12", step_s="0.1")
    for attempt, step in enumerate(sorted(rng.sample(range(1, 10), 3)), 1):
        await service.until_step(name, step)
        await asyncio.sleep(rng.uniform(0, 0.1))
        service.kill()
        await service.until(name, lambda job, newest=attempt + 1: job.status.attempt == newest)
    job = await service.until_state(name, "SUCCEEDED")
    assert len(job.status.attempts) == 4
    starts = [service.log(name, attempt).splitlines() for attempt in range(1, 5)]
    begun = [next(line for line in lines if "goes on from" in line) for lines in starts]
    assert begun[0].endswith("b''")
    assert not any(line.endswith("b''") for line in begun[1:])  # nobody started over
    checkpoints, _ = await service.store.read(lambda tx: tx.list(Checkpoint, name, page_size=100))
    assert len(checkpoints) == 12  # each step was saved once: no step was lost, none done twice
    await assert_lawful(service, name)


async def test_cancel_while_running_ends_the_worker(service):
    name = await service.submit(do="work", steps="1000")
    await service.until_step(name, 1)
    for _ in range(2):  # asking twice is asking once
        await service.store.write(lambda tx: service.runtime.cancel(tx, name, TrainingJob))
    job = await service.until_state(name, "CANCELLED")
    assert not job.status.HasField("error")
    await service.until_gone()
    await service.store.write(lambda tx: service.runtime.cancel(tx, name, TrainingJob))
    await assert_lawful(service, name)
    with pytest.raises(FailedPrecondition, match="has ended") as refused:
        await service.store.write(lambda tx: service.runtime.pause(tx, name, TrainingJob))
    assert refused.value.reason == "JOB_TERMINAL"


async def test_cancel_while_queued_needs_no_worker(service):
    first = await service.submit("a", do="work", steps="1000")
    second = await service.submit("b", do="work")
    await service.until_step(first, 1)
    await service.store.write(lambda tx: service.runtime.cancel(tx, second, TrainingJob))
    job = await service.until_state(second, "CANCELLED")
    assert job.status.attempt == 0
    await assert_lawful(service, second)


async def test_cancel_of_a_deaf_worker_kills_it(service, monkeypatch):
    monkeypatch.setattr("bessemer.jobs.runtime._KILL_GRACE_S", 0.5)
    name = await service.submit(do="deaf")
    await service.until_state(name, "RUNNING")
    await service.until_said(name, 1, "goes on from")
    await service.store.write(lambda tx: service.runtime.cancel(tx, name, TrainingJob))
    await service.until_state(name, "CANCELLED")
    await service.until_gone()


async def test_pause_frees_the_worker_and_resume_goes_on(service):
    name = await service.submit(do="work", steps="30")
    await service.until_step(name, 3)
    await service.store.write(lambda tx: service.runtime.pause(tx, name, TrainingJob))
    await service.until_state(name, "PAUSED")
    await service.until_gone()
    paused_at = service.log(name, 1).count("step ")
    assert paused_at < 30
    await service.store.write(lambda tx: service.runtime.resume(tx, name, TrainingJob))
    job = await service.until_state(name, "SUCCEEDED")
    assert len(job.status.attempts) == 2
    assert f"goes on from b'{paused_at}'" in service.log(name, 2)
    await assert_lawful(service, name)


async def test_worker_told_to_end_by_the_host_is_tried_again(service):
    name = await service.submit(do="work", steps="20")
    await service.until_step(name, 2)
    service.kill(signal.SIGTERM)
    job = await service.until_state(name, "SUCCEEDED")
    assert len(job.status.attempts) == 2
    assert "signal" in job.status.attempts[0].error.message
    assert job.status.attempts[0].failure_kind == job_pb2.FAILURE_KIND_INFRA


async def test_jobs_run_one_at_a_time_in_order(service):
    names = [await service.submit(f"j{number}", do="work") for number in range(3)]
    jobs = [await service.until_state(name, "SUCCEEDED") for name in names]
    for before, after in itertools.pairwise(jobs):
        assert before.status.end_time.ToDatetime() <= after.status.start_time.ToDatetime()


async def test_rpcs_watch_tail_and_metrics_follow_a_job_to_its_end(service):
    name = await service.submit(do="work", steps="5")
    rpcs = service.rpcs

    async def watched():
        request = pb.WatchTrainingJobRequest(name=name)
        return [state_name(m.training_job.status.state) async for m in rpcs.watch(request, pb.WatchTrainingJobResponse)]

    async def tailed():
        request = pb.TailTrainingJobLogsRequest(name=name, follow=True)
        return [m async for m in rpcs.tail(request, pb.TailTrainingJobLogsResponse)]

    async def streamed():
        request = pb.StreamMetricsRequest(name=name, from_step=2)
        return [p async for m in rpcs.stream_metrics(request, pb.StreamMetricsResponse) for p in m.points]

    states, log, points = await asyncio.wait_for(asyncio.gather(watched(), tailed(), streamed()), 60)
    assert states[0] == "QUEUED"
    assert states[-1] == "SUCCEEDED"
    text = "".join(message.text for message in log)
    assert text == service.log(name, 1)
    assert "reported: result" in text
    assert log[-1].next_offset == len(text.encode())
    assert [point.step for point in points] == [2, 3, 4, 5]
    listed = await rpcs.list(pb.ListTrainingJobsRequest(parent="projects/p"), pb.ListTrainingJobsResponse)
    assert [job.name for job in listed.training_jobs] == [name]
    with pytest.raises(NotFound):
        await rpcs.get(pb.GetTrainingJobRequest(name="projects/p/trainingJobs/none"))
    with pytest.raises(NotFound):
        [
            m
            async for m in rpcs.tail(
                pb.TailTrainingJobLogsRequest(name=name, attempt=2), pb.TailTrainingJobLogsResponse
            )
        ]


async def test_tail_of_bytes_that_are_no_text_is_text_in_small_pieces_with_true_offsets(service):
    name = await service.submit(do="work", steps="1")
    await service.until_state(name, "SUCCEEDED")
    await service.until_gone()
    path = service.runtime.log_path(name, 1)
    path.write_bytes(b"\xff" * 100_000 + "é".encode() * 50_000 + b"\xc3")
    pieces = [piece async for piece in tail(service.runtime, name, 0, 0, follow=True)]
    assert all(len(text.encode()) <= 64 * 1024 for text, _ in pieces)
    assert pieces[-1][1] == path.stat().st_size
    assert "".join(text for text, _ in pieces) == path.read_bytes().decode(errors="replace")
    rest = [piece async for piece in tail(service.runtime, name, 1, pieces[2][1], follow=False)]
    assert rest == pieces[3:]
