"""Any sequence of calls, workers and accidents leaves a job lawful; real store, held clock, no processes."""

from __future__ import annotations

import asyncio

import pytest
from bessemer.api.common.v1 import job_pb2
from bessemer.api.train.v1.training_job_pb2 import TrainingJob
from bessemer.api.worker.v1 import worker_service_pb2 as pb
from bessemer.jobs import tasks
from bessemer.jobs.attempts import Attempts, JobKind, instant
from bessemer.jobs.decide import Launch, Policy, decide
from bessemer.jobs.launcher import WorkerState, WorkerStatus
from bessemer.jobs.states import MOVES, TERMINAL, Event, is_terminal, state_name
from bessemer.kernel.clock import ManualClock
from bessemer.kernel.errors import BessemerError, Conflict
from bessemer.kernel.ids import new_id
from bessemer.svckit.store import Store
from hypothesis import given, settings
from hypothesis import strategies as st

REST = {*TERMINAL, job_pb2.JOB_STATE_PAUSED}
PAIRS = {(source, rule.target) for rule in MOVES for source in rule.sources}
KIND = JobKind("trainingJobs", TrainingJob, "none", lambda _tx, job, _result, _artifacts: job)
USER = pb.AttemptFailure(kind=job_pb2.FAILURE_KIND_USER)
INFRA = pb.AttemptFailure(kind=job_pb2.FAILURE_KIND_INFRA)
ACTIONS = st.sampled_from(
    [
        "reconcile", "run", "run", "run", "claim", "beat", "beat", "save", "save", "succeed", "fail", "fail by user",
        "release", "cancel", "pause", "resume", "time passes", "lease passes", "worker dies",
        "late beat", "late success",
    ]
)  # fmt: skip


class World:
    """One job, its worker process, and whatever a test does to them."""

    def __init__(self, store, clock):
        self.store, self.clock = store, clock
        self.policy = Policy(lease_s=15)
        self.attempts = Attempts({"trainingJobs": KIND}, clock, self.policy)
        self.started_s = clock.monotonic()

    def begin(self):
        self.name, self.alive = f"projects/p/trainingJobs/{new_id('j')}", False

    async def write(self, fn):
        return await self.store.write(fn)

    async def task(self):
        return await self.store.read(lambda tx: tasks.load(tx.connection, self.name))

    async def job(self):
        return await self.store.read(lambda tx: tx.get(self.name, TrainingJob))

    async def reconcile(self):
        task = await self.task()
        state = WorkerState.RUNNING if self.alive else WorkerState.EXITED
        effect = decide(
            task, WorkerStatus(state), instant(self.clock), policy=self.policy, started_s=self.started_s, slots=1
        )
        match type(effect).__name__:
            case "Launch":
                assert effect == Launch()
                await self.write(lambda tx: self.attempts.launch(tx, task))
                self.alive = True
            case "Kill":
                self.alive = False
            case "Lose":
                self.alive = self.alive and not effect.kill
                await self.write(lambda tx: self.attempts.lose(tx, task, effect.message))
            case "Stop":
                await self.write(lambda tx: self.attempts.end(tx, task, Event.STOP))
            case "Expire":
                await self.write(lambda tx: self.attempts.end(tx, task, Event.EXPIRE))

    async def act(self, action, number):  # noqa: C901
        task = await self.task()
        old = task.epoch - 1
        match action:
            case "reconcile":
                await self.reconcile()
            case "run":
                await self.reconcile()
                await self.act("claim", number)
            case "claim":
                request = pb.AcquireTaskRequest(worker=f"{self.name}@{task.epoch}/1-x", task=self.name)
                await self.write(lambda tx: self.attempts.claim(tx, request))
            case "beat" | "save":
                state = str(number).encode() if action == "save" else b""
                beat = pb.HeartbeatRequest(name=self.name, epoch=task.epoch, progress=number / 100, saved_state=state)
                await self.write(lambda tx: self.attempts.beat(tx, beat))
            case "succeed" | "fail" | "fail by user" | "release":
                await self.report(action, task.epoch)
                self.alive = False
            case "cancel" | "pause" | "resume":
                await self.write(lambda tx: self.attempts.request(tx, self.name, TrainingJob, Event(action)))
            case "time passes":
                self.clock.advance(5)
            case "lease passes":
                self.clock.advance(61)
            case "worker dies":
                self.alive = False
            case "late beat":
                beat = pb.HeartbeatRequest(name=self.name, epoch=old, saved_state=b"late")
                with pytest.raises(Conflict):
                    await self.write(lambda tx: self.attempts.beat(tx, beat))
            case "late success":
                if task.reported_epoch != old or old == 0:
                    with pytest.raises(Conflict):
                        await self.report("succeed", old)

    async def report(self, how, epoch):
        request = pb.ReportAttemptRequest(name=self.name, epoch=epoch)
        if how == "succeed":
            request.result = b"r"
            await self.write(lambda tx: self.attempts.succeed(tx, request))
        elif how == "release":
            request.paused_state = b"paused"
            await self.write(lambda tx: self.attempts.release(tx, request))
        else:
            await self.write(lambda tx: self.attempts.fail(tx, request, USER if how == "fail by user" else INFRA))


async def play(world, actions):
    await world.write(lambda tx: world.attempts.submit(tx, TrainingJob(name=world.name)))
    for number, action in enumerate(actions):
        before, was = await world.task(), await world.job()
        try:
            await world.act(action, number)
        except BessemerError:
            assert (await world.task(), await world.job()) == (before, was)  # refused: nothing changed
        after, job = await world.task(), await world.job()
        assert job.status.state == after.state
        assert after.epoch >= before.epoch
        assert job.status.attempt == after.epoch
        assert after.saved_state != b"late"
        assert after.saved_state or not before.saved_state
        if after.state != before.state and action != "run":  # which moves twice
            assert (before.state, after.state) in PAIRS, f"{action}: {state_name(before.state)}"
        if is_terminal(before.state):
            assert job == was
        assert job.status.HasField("end_time") == is_terminal(after.state)
    for _ in range(100):  # left alone, with every worker dying, it comes to an end or to rest
        if (await world.task()).state in REST:
            break
        world.clock.advance(61)
        world.alive = False
        await world.reconcile()
    assert (await world.task()).state in REST


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    clock = ManualClock()
    url = f"sqlite:///{tmp_path_factory.mktemp('world')}/w.db"
    store = Store.open(url, service="train", clock=clock, extra=tasks.TABLES)
    yield World(store, clock)
    store.close()


@settings(max_examples=20, deadline=None)
@given(actions=st.lists(ACTIONS, min_size=15, max_size=40))
def test_attempts_any_history_is_lawful_and_ends(world, actions):
    world.begin()
    asyncio.run(play(world, actions))


@pytest.fixture
async def held(world):
    """Return the world with a job that a worker holds."""
    world.begin()
    await world.write(lambda tx: world.attempts.submit(tx, TrainingJob(name=world.name)))
    await world.act("reconcile", 0)
    await world.act("claim", 1)
    return world


async def test_lose_after_a_late_heartbeat_renewed_the_lease_changes_nothing(held):
    seen = await held.task()
    held.clock.advance(16)
    await held.act("beat", 2)
    before = await held.task()
    await held.write(lambda tx: held.attempts.lose(tx, seen, "silent"))
    assert await held.task() == before


async def test_launch_twice_from_the_same_observation_is_one_attempt(held):
    await held.act("fail", 2)
    seen = await held.task()
    assert await held.write(lambda tx: held.attempts.launch(tx, seen)) is not None
    assert await held.write(lambda tx: held.attempts.launch(tx, seen)) is None
    assert (await held.task()).epoch == 2


async def test_request_asked_twice_is_written_once(held):
    for event in (Event.PAUSE, Event.CANCEL):
        await held.act(event.value, 2)
        first = await held.job()
        await held.act(event.value, 3)
        assert await held.job() == first


async def test_heartbeat_within_a_second_is_not_published_but_kept(held):
    await held.act("beat", 10)
    published = await held.job()
    await held.act("beat", 20)
    assert await held.job() == published
    assert (await held.task()).progress == 0.2
    held.clock.advance(1)
    await held.act("beat", 30)
    assert (await held.job()).status.progress == 0.3


async def test_release_that_nobody_asked_for_is_a_defect(held):
    await held.act("release", 2)
    job = await held.job()
    assert job.status.state == job_pb2.JOB_STATE_QUEUED
    assert job.status.attempts[0].failure_kind == job_pb2.FAILURE_KIND_SYSTEM


async def test_heartbeat_without_a_state_keeps_the_one_that_was_saved(held):
    await held.act("save", 7)
    await held.act("beat", 8)
    assert (await held.task()).saved_state == b"7"
    await held.act("fail", 9)
    assert (await held.task()).saved_state == b"7"
