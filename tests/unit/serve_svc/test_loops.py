"""Loops: what they decide, and that a death anywhere changes nothing."""

# ruff: noqa: ARG002 - fakes have the signatures of their ports

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime

import pytest
from bessemer.api.common.v1.job_pb2 import JOB_STATE_FAILED, JOB_STATE_SUCCEEDED, JobStatus
from bessemer.api.data.v1.dataset_job_pb2 import DatasetJob, DatasetJobResult
from bessemer.api.data.v1.feedback_curation_pb2 import CurateFeedbackTask, FeedbackForm
from bessemer.api.data.v1.feedback_service_pb2 import FeedbackCounts
from bessemer.api.eval.v1.audit_service_pb2 import AuditFinding, RunAudit
from bessemer.api.eval.v1.evaluation_pb2 import (
    VERDICT_INCONCLUSIVE,
    VERDICT_PASS,
    EvaluationRun,
    GateDecision,
    GateRule,
)
from bessemer.api.eval.v1.gate_policy_pb2 import GatePolicy
from bessemer.api.serve.v1 import loop_pb2 as api
from bessemer.api.serve.v1.deployment_pb2 import Deployment, Endpoint
from bessemer.api.serve.v1.loop_service_pb2 import CreateLoopRequest
from bessemer.api.train.v1.training_job_pb2 import TrainingJob
from bessemer.kernel.clock import SystemClock
from bessemer.kernel.errors import AlreadyExists, FailedPrecondition, InvalidRequest
from bessemer.svckit.status import to_status
from bessemer.svckit.store import Store
from serve_svc.app.loop_runner import LoopRunner
from serve_svc.app.loops import Loops
from serve_svc.app.tables import TABLES
from serve_svc.domain.loop_requests import dataset_job_name, release_id
from serve_svc.domain.loops import Release, Seen, Serving, advance, open_round

ENDPOINT, FIRST = "projects/p/endpoints/e", "projects/p/models/m/versions/v1"
POLICY, SUITE = "projects/p/gatePolicies/g", "projects/p/evaluationSuites/s"
NAME = f"{ENDPOINT}/loops/l"
DONE = JobStatus(state=JOB_STATE_SUCCEEDED)


class Killed(Exception):
    """The process dies here."""


class World:
    """The other services, and releases: everything is there at once, and every effect is counted.

    `dies_at` is the number of the call to others at which the caller dies, half of the times after the effect.
    """

    def __init__(self, store: Store, *, dies_at: int = -1) -> None:
        self.store = store
        self.dies_at, self.calls = dies_at, 0
        self.made: dict[str, object] = {}
        self.times: Counter[str] = Counter()
        self.verdict, self.breached, self.short, self.rated = VERDICT_PASS, False, 0, 400

    def call(self, effect=lambda: None):
        self.calls += 1
        dies = self.calls == self.dies_at
        if dies and self.dies_at % 2:
            raise Killed
        result = effect()
        if dies:
            raise Killed
        return result

    def make(self, name: str, resource: object) -> None:
        def effect() -> None:
            if name in self.made:
                raise AlreadyExists(name)
            self.made[name] = resource
            self.times[name] += 1

        self.call(effect)

    async def count(self, project, model_versions):
        return self.call(lambda: FeedbackCounts(num_up=self.rated // 2, num_down=self.rated - self.rated // 2))

    async def dataset_job(self, name):
        return self.call(lambda: self.made.get(name))

    async def create_dataset_job(self, request):
        name = f"{request.parent}/datasetJobs/{request.dataset_job_id}"
        if self.short:
            error = FailedPrecondition("too few", reason="DATASET_EMPTY", missing=str(self.short))
            status, self.short = JobStatus(state=JOB_STATE_FAILED, error=to_status(error)), 0
            self.make(name, DatasetJob(name=name, status=status))
            return
        version = f"projects/p/datasets/d/versions/{request.dataset_job_id}"
        self.make(name, DatasetJob(name=name, status=DONE, result=DatasetJobResult(dataset_version=version)))

    async def training_job(self, name):
        return self.call(lambda: self.made.get(name))

    async def create_training_job(self, request):
        name = f"{request.parent}/trainingJobs/{request.training_job_id}"
        version = f"projects/p/models/m/versions/{request.training_job_id}"
        self.make(name, TrainingJob(name=name, status=DONE, model_version=version))

    async def evaluation_run(self, name):
        return self.call(lambda: self.made.get(name))

    async def create_evaluation_run(self, request):
        name = f"{request.parent}/evaluationRuns/{request.evaluation_run_id}"
        version = request.evaluation_run.model_version
        self.make(name, EvaluationRun(name=name, status=DONE, model_version=version))

    async def gate_policy(self, name):
        return GatePolicy(name=name, rules=[GateRule(suite=SUITE)])

    async def gate_decision(self, name):
        return self.call(lambda: self.made.get(name))

    async def decide_gate(self, request):
        name = f"{request.parent}/gateDecisions/{request.gate_decision_id}"
        self.make(name, GateDecision(name=name, verdict=self.verdict))

    async def audit(self, request):
        finding = AuditFinding(check="length", breached=self.breached, explanation="answers grew")
        return self.call(lambda: RunAudit(findings=[finding], breached=self.breached))

    async def start(self, loop, current):
        name = f"{ENDPOINT}/deployments/{release_id(loop, current)}"
        self.calls += 1
        if self.calls == self.dies_at and self.dies_at % 2:
            raise Killed
        if name in self.made:
            raise AlreadyExists(name)
        self.made[name] = None
        self.times[name] += 1
        await self.serve(name, current.model_version)
        if self.calls == self.dies_at:
            raise Killed

    async def find(self, loop, current):
        name = f"{ENDPOINT}/deployments/{release_id(loop, current)}"
        return self.call(lambda: Release(name, is_done=True) if name in self.made else None)

    async def is_settled(self, endpoint, *, besides):
        return True

    async def serve(self, deployment: str, version: str) -> None:
        def write(tx):
            tx.put(Deployment(name=deployment, model_version=version), verb="created")
            endpoint = tx.get(ENDPOINT, Endpoint)
            endpoint.deployment = deployment
            tx.put(endpoint, verb="updated")

        await self.store.write(write)


async def begin(tmp_path, **settings) -> tuple[Store, World]:
    store = Store.open(f"sqlite:///{tmp_path}/service.db", service="serve", clock=SystemClock(), extra=TABLES)
    world = World(store)
    await store.write(lambda tx: tx.put(Endpoint(name=ENDPOINT), verb="created"))
    await world.serve(f"{ENDPOINT}/deployments/d1", FIRST)
    request = CreateLoopRequest(parent=ENDPOINT, loop_id="l")
    request.loop.settings.CopyFrom(
        api.LoopSettings(curation=CurateFeedbackTask(dataset="projects/p/datasets/d"), gate_policy=POLICY, rounds_max=2)
    )
    request.loop.settings.MergeFrom(api.LoopSettings(**settings))
    await Loops(store, world).create(request)
    return store, world


async def read(store: Store) -> api.Loop:
    return await store.read(lambda tx: tx.get(NAME, api.Loop))


async def go(store: Store, world: World, turns: int = 60) -> api.Loop:
    """Turn until the loop stands; a runner that dies is started again, without memory."""
    for _ in range(turns):
        loop = await read(store)
        if loop.state != api.LOOP_STATE_RUNNING:
            break
        try:
            await LoopRunner(store, world, world, count_every_s=0).turn(loop)
        except Killed:
            continue
    return await read(store)


def shape(loop: api.Loop) -> list[tuple[object, ...]]:
    return [
        (r.stage, r.base_model_version, r.dataset_version, r.model_version, r.baseline_run, r.candidate_run, r.release)
        for r in loop.rounds
    ]


async def test_two_rounds_learn_from_what_is_served_and_name_all_they_made(tmp_path):
    store, world = await begin(tmp_path)
    loop = await go(store, world)
    assert loop.state == api.LOOP_STATE_FINISHED
    first, second = loop.rounds
    assert first.stage == second.stage == api.ROUND_STAGE_RELEASED
    assert second.base_model_version == first.model_version != FIRST
    assert second.baseline_run == first.candidate_run
    named = {first.dataset_job, first.training_job, first.baseline_run, first.candidate_run, first.gate_decision}
    assert named <= set(world.made)
    assert loop.settings.model == "projects/p/models/m"
    assert list(loop.settings.suites) == [SUITE]


async def test_a_death_at_any_call_changes_nothing(tmp_path):
    (tmp_path / "calm").mkdir()
    store, world = await begin(tmp_path / "calm", rounds_max=1)
    undisturbed = await go(store, world)
    calls, tail = world.calls, undisturbed.uid.replace("-", "")[-8:]
    assert calls > 15
    for dies_at in range(1, calls + 1):
        folder = tmp_path / str(dies_at)
        folder.mkdir()
        store, world = await begin(folder, rounds_max=1)
        world.dies_at = dies_at
        loop = await go(store, world)
        own = loop.uid.replace("-", "")[-8:]
        assert str(shape(loop)).replace(own, tail) == str(shape(undisturbed)), dies_at
        assert set(world.times.values()) == {1}


async def test_a_gate_that_does_not_pass_keeps_what_is_served_and_waits_for_news(tmp_path):
    store, world = await begin(tmp_path)
    world.verdict = VERDICT_INCONCLUSIVE
    loop = await go(store, world, turns=12)
    assert [r.stage for r in loop.rounds] == [api.ROUND_STAGE_REJECTED, api.ROUND_STAGE_COLLECTING]
    assert loop.rounds[1].base_model_version == FIRST
    assert loop.rounds[1].feedback_needed == 400 + 300
    world.rated, world.verdict = 700, VERDICT_PASS
    assert (await go(store, world)).rounds[1].stage == api.ROUND_STAGE_RELEASED


async def test_a_broken_audit_blocks_the_loop_until_somebody_resumes_it(tmp_path):
    store, world = await begin(tmp_path)
    world.breached = True
    loop = await go(store, world)
    assert loop.state == api.LOOP_STATE_BLOCKED
    assert "answers grew" in loop.reason
    assert loop.rounds[0].stage == api.ROUND_STAGE_FAILED
    assert not any("deployments" in name for name in world.made)
    world.breached = False
    await Loops(store, world).resume(NAME)
    assert (await go(store, world)).rounds[1].stage == api.ROUND_STAGE_RELEASED


async def test_curation_that_leaves_too_little_collects_on(tmp_path):
    store, world = await begin(tmp_path)
    world.short = 50
    loop = await go(store, world, turns=8)
    current = open_round(loop)
    assert current is not None
    assert (current.stage, current.curations_short, current.feedback_needed) == (api.ROUND_STAGE_COLLECTING, 1, 450)
    assert dataset_job_name(loop, current).endswith("-r1-c1")
    world.rated = 450
    assert (await go(store, world)).state == api.LOOP_STATE_FINISHED


async def test_a_stopped_loop_stands_still_and_goes_on_where_it_stood(tmp_path):
    store, world = await begin(tmp_path)
    await go(store, world, turns=4)
    stopped = await Loops(store, world).stop(NAME)
    made = dict(world.made)
    assert await go(store, world) == stopped
    assert world.made == made
    await Loops(store, world).resume(NAME)
    assert (await go(store, world)).state == api.LOOP_STATE_FINISHED
    with pytest.raises(FailedPrecondition):
        await Loops(store, world).resume(NAME)


async def test_a_peer_that_refuses_again_and_again_blocks_the_loop(tmp_path):
    store, world = await begin(tmp_path)

    async def refuse(request):
        raise InvalidRequest("no such dataset")

    world.create_dataset_job = refuse
    runner = LoopRunner(store, world, world, every_s=0.001, count_every_s=0)
    runner._later = lambda *_: None
    task = asyncio.create_task(runner.run())
    for _ in range(400):
        await asyncio.sleep(0.02)
        if (loop := await read(store)).state == api.LOOP_STATE_BLOCKED:
            break
    task.cancel()
    assert loop.reason == "no such dataset"
    assert loop.rounds[0].stage == api.ROUND_STAGE_FAILED


async def test_methods_that_do_not_learn_from_feedback_are_refused(tmp_path):
    with pytest.raises(InvalidRequest, match="learns with one of"):
        await begin(tmp_path, recipe={"grpo": {}})


def loop_with(**settings) -> api.Loop:
    curation = CurateFeedbackTask(dataset="projects/p/datasets/d", rated_min=10, down_min=5)
    curation.form = FeedbackForm.FEEDBACK_FORM_ACCEPTED
    return api.Loop(
        name=NAME,
        uid="0199-0011-2233-4455",
        state=api.LOOP_STATE_RUNNING,
        settings=api.LoopSettings(curation=curation, **settings),
    )


NOW = datetime(2026, 11, 28, tzinfo=UTC)


def test_no_round_begins_while_another_version_is_on_its_way():
    turn = advance(loop_with(), Seen(Serving("d", FIRST, is_settled=False)), NOW)
    assert not turn.loop.rounds
    assert "on its way" in turn.loop.reason


def test_a_round_gives_way_to_a_version_that_somebody_else_puts_into_service():
    loop = advance(loop_with(), Seen(Serving("d", FIRST)), NOW).loop
    turn = advance(loop, Seen(Serving("d2", "projects/p/models/m/versions/v9"), counts=FeedbackCounts()), NOW)
    assert turn.loop.rounds[0].stage == api.ROUND_STAGE_REJECTED


def test_ratings_down_alone_can_be_enough():
    loop = advance(loop_with(), Seen(Serving("d", FIRST)), NOW).loop
    few = advance(loop, Seen(Serving("d", FIRST), counts=FeedbackCounts(num_up=5)), NOW)
    assert few.loop.rounds[0].stage == api.ROUND_STAGE_COLLECTING
    enough = advance(loop, Seen(Serving("d", FIRST), counts=FeedbackCounts(num_down=5)), NOW)
    assert enough.needs == ["dataset_job"]


def test_rounds_keep_their_distance():
    loop = loop_with(every_s=3600)
    past = loop.rounds.add(number=1, stage=api.ROUND_STAGE_REJECTED)
    past.start_time.FromDatetime(NOW)
    assert len(advance(loop, Seen(Serving("d", FIRST)), NOW).loop.rounds) == 1
