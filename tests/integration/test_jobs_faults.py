"""Jobs when processes are stopped, restarted, cut off or late."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
import subprocess
import sys

import pytest
from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.train.v1.training_job_pb2 import TrainingJob, TrainingResult
from bessemer.api.worker.v1 import worker_service_pb2 as pb
from bessemer.jobs import tasks
from bessemer.jobs.decide import Policy
from bessemer.jobs.launcher import LaunchSpec, WorkerState
from bessemer.jobs.launcher_local import LocalLauncher
from bessemer.jobs.states import state_name
from bessemer.jobs.worker_link import Link, is_fenced
from bessemer.kernel.errors import Conflict
from bessemer.svckit.store import Store

from tests.integration.jobs_harness import JobService, eventually


class CutOffLauncher(LocalLauncher):
    """A launcher whose host cannot be reached: kills do not arrive."""

    def cancel(self, worker: str, *, grace_s: float) -> None:
        pass


class IdleLauncher(LocalLauncher):
    """A launcher whose workers are played by the test."""

    def submit(self, spec: LaunchSpec) -> None:
        pass


@pytest.fixture
async def make(tmp_path):
    made = []

    async def start(**options):
        service = JobService(tmp_path, **options)
        made.append(service)
        await service.start()
        return service

    yield start
    for service in made:
        await service.stop()
        service.kill()


def call(service, method, request):
    """Call the service as a worker would, from a thread."""
    link = Link(service.listen, None)
    try:
        return getattr(link, method)(request)
    finally:
        link.close()


async def refused(service, method, request):
    with pytest.raises(Conflict) as caught:
        await asyncio.to_thread(call, service, method, request)
    assert caught.value.reason == "STALE_LEASE"
    assert is_fenced(caught.value)


async def test_stopped_worker_that_wakes_after_its_lease_is_refused(make):
    service = await make(launcher=CutOffLauncher, parallelism=2)
    name = await service.submit(do="work", steps="40", step_s="0.1")
    await service.until_step(name, 2)
    (late,) = service.pids()
    os.kill(late, signal.SIGSTOP)
    await service.until(name, lambda job: job.status.attempt == 2)
    os.kill(late, signal.SIGCONT)
    job = await service.until_state(name, "SUCCEEDED")
    assert len(job.status.attempts) == 2
    assert "has not been heard of" in job.status.attempts[0].error.message
    await service.until_said(name, 1, "stopping: ")
    assert "does not hold the lease" in service.log(name, 1)
    first = [line for line in service.log(name, 1).splitlines() if line.startswith("step ")]
    second = [line for line in service.log(name, 2).splitlines() if line.startswith("step ")]
    assert not set(first) & set(second)  # what one acknowledged, the other did not do again
    await service.until_gone()


async def test_lost_lease_of_a_worker_in_reach_kills_it(make):
    service = await make()
    name = await service.submit(do="work", steps="30", step_s="0.05")
    await service.until_step(name, 2)
    (stuck,) = service.pids()
    os.kill(stuck, signal.SIGSTOP)
    job = await service.until_state(name, "SUCCEEDED")
    assert len(job.status.attempts) == 2
    assert stuck not in service.pids()


async def test_restarted_service_adopts_the_worker(make):
    service = await make()
    name = await service.submit(do="work", steps="60", step_s="0.1")
    await service.until_step(name, 2)
    (worker,) = service.pids()
    await service.restart(down_s=0.3)
    assert service.pids() == [worker]
    job = await service.until_state(name, "SUCCEEDED")
    assert len(job.status.attempts) == 1
    await service.until_gone()
    await service.until_tidy()


async def test_service_down_for_longer_than_the_lease_adopts_the_worker_all_the_same(make):
    service = await make()
    name = await service.submit(do="work", steps="10", step_s="0.1")
    await service.until_step(name, 2)
    await service.restart(down_s=2.5)  # the lease lasts 1.5 s
    job = await service.until_state(name, "SUCCEEDED")
    assert len(job.status.attempts) == 1


async def test_worker_that_died_while_the_service_was_down_is_replaced(make):
    service = await make()
    name = await service.submit(do="work", steps="20", step_s="0.1")
    await service.until_step(name, 2)
    await service.stop()
    service.kill()
    await service.start()
    job = await service.until_state(name, "SUCCEEDED")
    assert len(job.status.attempts) == 2
    assert "goes on from b''" not in service.log(name, 2)


async def test_service_restarted_at_random_moments_never_runs_an_attempt_twice(make):
    seed = random.randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    service = await make()
    name = await service.submit(do="work", steps="8", step_s="0.1")
    for _ in range(6):
        await asyncio.sleep(rng.uniform(0, 0.4))
        await service.restart()
    job = await service.until_state(name, "SUCCEEDED")
    assert len(job.status.attempts) == 1
    log = service.log(name, 1)
    assert log.count("goes on from") == 1
    assert [line for line in log.splitlines() if line.startswith("step ")] == [f"step {n}" for n in range(1, 9)]


async def test_rebooted_host_loses_the_worker_at_once(make):
    service = await make()
    name = await service.submit(do="work", steps="20", step_s="0.1")
    await service.until_step(name, 2)
    await service.stop()
    service.kill()
    store = Store.open(f"sqlite:///{service.home}/service.db", service="train", clock=None, extra=tasks.TABLES)
    other = tasks.TASKS.update().values(boot_id="an earlier boot", lease_until_s=1e12, not_before_s=1e12)
    await store.write(lambda tx: tx.connection.execute(other) and None)
    store.close()
    await service.start()
    job = await service.until_state(name, "SUCCEEDED")
    assert job.status.attempts[0].error.message == "the host was restarted"


async def played(service, name):
    """Claim a task as a worker would."""
    await service.until_state(name, "PENDING")
    attempt = (await service.get(name)).status.attempt
    request = pb.AcquireTaskRequest(worker=f"{name}@{attempt}/1-test", task=name)
    return (await asyncio.to_thread(call, service, "acquire", request)).task


async def test_protocol_second_process_for_the_same_attempt_gets_nothing(make):
    service = await make(launcher=IdleLauncher, lease_s=60)
    name = await service.submit()
    await service.until_state(name, "PENDING")
    for stranger in (f"{name}@2/1-test", f"{name}@0/1-test", "anybody"):
        answer = await asyncio.to_thread(call, service, "acquire", pb.AcquireTaskRequest(worker=stranger, task=name))
        assert not answer.HasField("task")
    task = await played(service, name)
    assert task.epoch == 1
    again = pb.AcquireTaskRequest(worker=f"{name}@1/1-test", task=name)
    assert (await asyncio.to_thread(call, service, "acquire", again)).task.epoch == 1  # the answer was lost: same lease
    twin = pb.AcquireTaskRequest(worker=f"{name}@1/2-twin", task=name)
    assert not (await asyncio.to_thread(call, service, "acquire", twin)).HasField("task")


async def test_protocol_repeated_report_is_answered_as_the_first_time(make):
    service = await make(launcher=IdleLauncher, lease_s=60)
    name = await service.submit()
    await played(service, name)
    ref = put(service, b"model")
    result = TrainingResult(parameters=7).SerializeToString()
    report = pb.ReportAttemptRequest(name=name, epoch=1, result=result, artifacts=[ref])
    for _ in range(2):
        await asyncio.to_thread(call, service, "report", report)
    job = await service.get(name)
    assert job.usage.steps == 7
    assert sum(verb == "succeeded" for verb, _, _ in await service.events(name)) == 1
    await refused(service, "report", pb.ReportAttemptRequest(name=name, epoch=2, result=result))
    await refused(service, "beat", pb.HeartbeatRequest(name=name, epoch=1))


def put(service, data):
    digest = hashlib.sha256(data).hexdigest()
    key = f"projects/p/blobs/sha256/{digest}"
    service.runtime._objects.put_bytes(key, data)
    return ArtifactRef(key=key, sha256=digest, size_bytes=len(data))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size_bytes": 4}, "has 5 bytes instead of 4"),
        ({"sha256": "0" * 64}, "do not have its digest"),
        ({"key": "projects/other/blobs/x"}, "lies outside of projects/p/"),
    ],
)
async def test_protocol_result_with_a_wrong_artifact_fails_the_attempt(make, change, message):
    service = await make(launcher=IdleLauncher, lease_s=60)
    name = await service.submit()
    await played(service, name)
    ref = put(service, b"model")
    for field, value in change.items():
        setattr(ref, field, value)
    report = pb.ReportAttemptRequest(name=name, epoch=1, result=b"", artifacts=[ref])
    await asyncio.to_thread(call, service, "report", report)
    job = await service.until(name, lambda job: job.status.attempts[0].HasField("error"))
    assert message in job.status.attempts[0].error.message


async def test_protocol_every_write_of_an_old_attempt_is_refused(make):
    service = await make(launcher=IdleLauncher, lease_s=0.5)
    name = await service.submit()
    for attempt in range(1, 3):
        assert (await played(service, name)).epoch == attempt
        await service.until(name, lambda job, a=attempt: job.status.attempts[a - 1].HasField("end_time"))
        await refused(service, "beat", pb.HeartbeatRequest(name=name, epoch=attempt, saved_state=b"late"))
        await refused(service, "report", pb.ReportAttemptRequest(name=name, epoch=attempt, result=b""))
    await service.until_state(name, "PENDING")
    task = await service.store.read(lambda tx: tasks.load(tx.connection, name))
    assert (task.epoch, task.saved_state) == (3, b"")


async def test_protocol_lost_worker_cannot_write_through_a_later_cancel(make):
    service = await make(launcher=IdleLauncher, lease_s=0.5, parallelism=1)
    name = await service.submit()
    await played(service, name)
    service.runtime.policy = Policy(lease_s=0.5, parallelism=0)  # keeps it QUEUED after the loss
    await service.until_state(name, "QUEUED")
    service.loop.cancel()  # or it would finish the cancel before the late report comes
    await service.store.write(lambda tx: service.runtime.cancel(tx, name, TrainingJob))
    await refused(service, "report", pb.ReportAttemptRequest(name=name, epoch=1, result=b""))
    await refused(service, "beat", pb.HeartbeatRequest(name=name, epoch=1))
    await service.runtime.reconcile()
    assert state_name((await service.get(name)).status.state) == "CANCELLED"


def test_launcher_same_worker_twice_is_one_process(tmp_path):
    env = {"PYTHONPATH": str(tmp_path)}
    (tmp_path / "napper.py").write_text("import sys, time\nprint(sys.stdin.readline())\ntime.sleep(30)\n")
    spec = LaunchSpec("projects/p/trainingJobs/j", 1, "napper", {})
    first = LocalLauncher(tmp_path, "train", env)
    first.submit(spec)
    pid = first._read(spec.id).pid
    first.submit(spec)
    second = LocalLauncher(tmp_path, "train", env)  # as after a restart
    second.submit(spec)
    assert second._read(spec.id).pid == pid
    assert second.get(spec.id).state == WorkerState.RUNNING
    second.cancel(spec.id, grace_s=0.0)
    wait_until(lambda: first.get(spec.id).state == WorkerState.EXITED)
    assert first.get(spec.id).exit_code == -signal.SIGKILL
    first.forget(spec.id)
    assert first.get(spec.id).state == WorkerState.UNKNOWN


def test_launcher_does_not_take_a_later_process_for_its_worker(tmp_path):
    launcher = LocalLauncher(tmp_path, "train", {})
    spec = LaunchSpec("projects/p/trainingJobs/j", 1, "x")
    path = launcher._path(spec.id)
    path.write_text(f'{{"id": "{spec.id}", "pid": {os.getpid()}, "start": "another process of that number"}}')
    assert launcher.get(spec.id).state == WorkerState.EXITED
    launcher.cancel(spec.id, grace_s=0.0)  # must not hit us
    launcher.forget(spec.id)


def test_launcher_state_file_cut_short_is_no_worker(tmp_path):
    launcher = LocalLauncher(tmp_path, "train", {})
    launcher._path("projects/p/trainingJobs/j@1").write_text('{"id": "proj')
    assert launcher.list() == {}


def test_worker_that_was_never_noted_ends_by_itself(tmp_path):
    code = "from bessemer.jobs.worker import main; main({})"
    done = subprocess.run([sys.executable, "-c", code], stdin=subprocess.DEVNULL, check=False, timeout=60)
    assert done.returncode == 3


def wait_until(check):
    asyncio.run(eventually(check))
