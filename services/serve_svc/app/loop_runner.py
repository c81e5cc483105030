"""The task that keeps loops going: looks at what is there, decides, writes the decision down, makes what is missing.

It may be killed anywhere. What a round makes has a fixed name, so making it again finds it; the decision is a pure
function of what is seen, so it is taken again; and a loop that changed meanwhile is left for the next turn.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from bessemer.api.common.v1.job_pb2 import JobStatus
from bessemer.api.data.v1.dataset_job_service_pb2 import CreateDatasetJobRequest
from bessemer.api.eval.v1.evaluation_service_pb2 import CreateEvaluationRunRequest
from bessemer.api.serve.v1 import loop_pb2 as api
from bessemer.api.serve.v1.deployment_pb2 import Deployment, Endpoint
from bessemer.kernel.errors import AlreadyExists, BessemerError, LimitReached, Unavailable
from bessemer.kernel.ids import id_of, parent_of
from bessemer.svckit import log
from bessemer.svckit.status import from_status
from bessemer.svckit.store import Store, Tx

from serve_svc.app.loops import running_loops
from serve_svc.domain import loop_requests as requests
from serve_svc.domain.loops import Need, Seen, Serving, Turn, advance, open_round
from serve_svc.ports import LoopWork, Releases

__all__ = ["LoopRunner"]

EVERY_S = 1.0  # between looks at what jobs do
COUNT_EVERY_S = 10.0  # between counts of feedback
RETRY_S = 5.0  # after an error of a peer
_Look = Callable[[api.Loop, api.LoopRound, Serving], Awaitable[Seen]]
_Make = Callable[[api.Loop, api.LoopRound], Awaitable[None]]
_TRIES_MAX = 5  # of a request that a peer refuses, before the round is given up


class LoopRunner:
    """One task for all loops of the service."""

    def __init__(
        self, store: Store, work: LoopWork, releases: Releases, *, every_s: float = EVERY_S, count_every_s: float
    ) -> None:
        self._store = store
        self._work = work
        self._releases = releases
        self._every_s = every_s
        self._count_every_s = count_every_s
        self._not_before: dict[str, float] = {}
        self._refused: dict[str, int] = {}
        self._looks: Mapping[int, _Look] = {
            api.ROUND_STAGE_COLLECTING: self._look_at_counts,
            api.ROUND_STAGE_CURATING: self._look_at_curation,
            api.ROUND_STAGE_TRAINING: self._look_at_training,
            api.ROUND_STAGE_EVALUATING: self._look_at_runs,
            api.ROUND_STAGE_AUDITING: self._look_at_audit,
            api.ROUND_STAGE_ROLLING_OUT: self._look_at_release,
        }
        self._makes: Mapping[Need, _Make] = {
            "dataset_job": self._make_dataset_job,
            "training_job": self._make_training_job,
            "baseline_run": self._make_baseline_run,
            "candidate_run": self._make_candidate_run,
            "gate_decision": self._make_gate_decision,
            "release": self._releases.start,
        }

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            try:
                loops = await self._store.read(running_loops)
            except BessemerError as error:
                log.warning("loops_not_read", reason=error.reason)
                loops = []
            for loop in loops:
                if time.monotonic() >= self._not_before.get(loop.name, 0.0):
                    await self._turn_safely(loop)
            await asyncio.sleep(self._every_s)

    async def _turn_safely(self, loop: api.Loop) -> None:
        try:
            await self.turn(loop)
            self._refused.pop(loop.name, None)
        except (Unavailable, LimitReached) as error:
            self._later(loop, RETRY_S)
            log.warning("loop_waits", loop=loop.name, reason=error.reason, message=error.message)
        except BessemerError as error:
            self._later(loop, RETRY_S)
            tries = self._refused[loop.name] = self._refused.get(loop.name, 0) + 1
            log.warning("loop_refused", loop=loop.name, reason=error.reason, message=error.message, tries=tries)
            if tries >= _TRIES_MAX:
                del self._refused[loop.name]
                await self._give_up(loop, error)

    async def turn(self, loop: api.Loop) -> None:
        """Take one loop one step further; what the step needs is made before the next."""
        current = open_round(loop)
        seen = await self._look(loop, current)
        turn = advance(loop, seen, self._store.facts.clock.now())
        if turn.loop != loop and not await self._write(loop, turn):
            return
        current = open_round(turn.loop)
        for need in turn.needs if current else ():
            assert current is not None
            await self._make(turn.loop, current, need)
        if current and current.stage == api.ROUND_STAGE_COLLECTING and seen.counts is not None:
            self._later(loop, self._count_every_s)

    def _later(self, loop: api.Loop, seconds: float) -> None:
        self._not_before[loop.name] = time.monotonic() + seconds

    async def _write(self, before: api.Loop, turn: Turn) -> bool:
        """Write the loop down unless it changed since it was read; say whether."""
        previous, now = (_stage(loop) for loop in (before, turn.loop))

        def write(tx: Tx) -> bool:
            if tx.get(before.name, api.Loop).etag != before.etag:
                return False
            tx.put(turn.loop, verb="updated", previous_state=previous if previous != now else "")
            return True

        return await self._store.write(write)

    async def _give_up(self, loop: api.Loop, error: BessemerError) -> None:
        """End the open round that cannot go on, or block a loop without one."""

        def write(tx: Tx) -> None:
            stored = tx.get(loop.name, api.Loop)
            if stored.state != api.LOOP_STATE_RUNNING:
                return
            if current := open_round(stored):
                current.stage, current.reason = api.ROUND_STAGE_FAILED, error.message[:2000]
                current.end_time.FromDatetime(tx.clock.now())
            stored.state, stored.reason = api.LOOP_STATE_BLOCKED, error.message[:2000]
            tx.put(stored, verb="updated", previous_state="RUNNING")

        await self._store.write(write)

    async def _look(self, loop: api.Loop, current: api.LoopRound | None) -> Seen:
        serving = await self._serving(parent_of(loop.name), loop, current)
        if current is None:
            return Seen(serving)
        return await self._looks[current.stage](loop, current, serving)

    async def _serving(self, endpoint: str, loop: api.Loop, current: api.LoopRound | None) -> Serving:
        own = requests.release_id(loop, current) if current else ""
        is_settled = await self._releases.is_settled(endpoint, besides=own)

        def read(tx: Tx) -> Serving:
            name = tx.get(endpoint, Endpoint).deployment
            version = tx.get(name, Deployment).model_version if name else ""
            return Serving(name, version, is_settled)

        return await self._store.read(read)

    async def _look_at_counts(self, _loop: api.Loop, current: api.LoopRound, serving: Serving) -> Seen:
        parent = f"projects/{current.base_model_version.split('/')[1]}"
        return Seen(serving, counts=await self._work.count(parent, current.feedback_model_versions))

    async def _look_at_curation(self, loop: api.Loop, current: api.LoopRound, serving: Serving) -> Seen:
        job = await self._work.dataset_job(requests.dataset_job_name(loop, current))
        return Seen(serving, dataset_job=job, short_by=_short_by)

    async def _look_at_training(self, loop: api.Loop, current: api.LoopRound, serving: Serving) -> Seen:
        return Seen(serving, training_job=await self._work.training_job(requests.training_job_name(loop, current)))

    async def _look_at_runs(self, loop: api.Loop, current: api.LoopRound, serving: Serving) -> Seen:
        baseline = await self._work.evaluation_run(requests.baseline_run_name(loop, current))
        candidate = await self._work.evaluation_run(requests.candidate_run_name(loop, current))
        decision = await self._work.gate_decision(requests.gate_decision_name(loop, current))
        return Seen(serving, baseline_run=baseline, candidate_run=candidate, gate_decision=decision)

    async def _look_at_audit(self, loop: api.Loop, current: api.LoopRound, serving: Serving) -> Seen:
        return Seen(serving, audit=await self._work.audit(requests.audit_request(loop, current)))

    async def _look_at_release(self, loop: api.Loop, current: api.LoopRound, serving: Serving) -> Seen:
        return Seen(serving, release=await self._releases.find(loop, current))

    async def _make(self, loop: api.Loop, current: api.LoopRound, need: Need) -> None:
        """Make what a round needs; one that is there already was made by an earlier life of this task."""
        make = self._makes.get(need)
        if make is None:
            return  # counts and audits are only looked at
        try:
            await make(loop, current)
        except AlreadyExists:
            log.info("loop_found_again", loop=loop.name, need=need)

    async def _make_dataset_job(self, loop: api.Loop, current: api.LoopRound) -> None:
        name = requests.dataset_job_name(loop, current)
        request = CreateDatasetJobRequest(
            parent=parent_of(name), dataset_job_id=id_of(name), dataset_job=requests.dataset_job(loop, current)
        )
        await self._work.create_dataset_job(request)

    async def _make_training_job(self, loop: api.Loop, current: api.LoopRound) -> None:
        await self._work.create_training_job(requests.training_request(loop, current))

    async def _make_run(self, loop: api.Loop, name: str, version: str) -> None:
        request = CreateEvaluationRunRequest(
            parent=parent_of(name), evaluation_run_id=id_of(name), evaluation_run=requests.run(loop, version)
        )
        await self._work.create_evaluation_run(request)

    async def _make_baseline_run(self, loop: api.Loop, current: api.LoopRound) -> None:
        await self._make_run(loop, requests.baseline_run_name(loop, current), current.base_model_version)

    async def _make_candidate_run(self, loop: api.Loop, current: api.LoopRound) -> None:
        await self._make_run(loop, requests.candidate_run_name(loop, current), current.model_version)

    async def _make_gate_decision(self, loop: api.Loop, current: api.LoopRound) -> None:
        await self._work.decide_gate(requests.gate_request(loop, current))


def _short_by(status: JobStatus) -> int:
    """Return how much feedback a failed curation says is missing."""
    error = from_status(status.error)
    return int(error.fields.get("missing", "0")) if error.reason == "DATASET_EMPTY" else 0


def _stage(loop: api.Loop) -> str:
    current = loop.rounds[-1] if loop.rounds else None
    return api.RoundStage.Name(current.stage).removeprefix("ROUND_STAGE_") if current else ""
