"""Comparisons of two runs, and gates that decide by them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from bessemer.api.common.v1.job_pb2 import JOB_STATE_SUCCEEDED, JobState
from bessemer.api.eval.v1 import evaluation_service_pb2 as pb
from bessemer.api.eval.v1.evaluation_pb2 import (
    Comparison,
    EvaluationRun,
    GateDecision,
    SuiteComparison,
    SuiteResult,
)
from bessemer.artifacts.blobs import Blobs
from bessemer.kernel.errors import FailedPrecondition
from bessemer.kernel.ids import new_id, project_of
from bessemer.svckit.objects import ObjectStore
from bessemer.svckit.store import Store

from eval_svc import codec
from eval_svc.config import FLIPS_MAX
from eval_svc.domain.compare import Paired, compare, flips, pair_up
from eval_svc.domain.gate import decide, decide_rule
from eval_svc.domain.results import CaseResult, parse_results

__all__ = ["Gates"]


@dataclass(frozen=True)
class Evidence:
    """A comparison on one suite, or why there is none."""

    paired: Paired | None = None
    message: SuiteComparison | None = None
    missing: str = ""


class Gates:
    """Use cases of comparisons and gate decisions."""

    def __init__(self, store: Store, objects: ObjectStore) -> None:
        self._store = store
        self._objects = objects

    async def compare(self, request: pb.CompareRunsRequest) -> Comparison:
        """Compare two finished runs on every suite both ran.

        Raises: FailedPrecondition if a run has not succeeded, or they have no suite in common.
        """
        baseline, candidate = await self._runs(request.baseline_run, request.candidate_run)
        evidence = [
            await asyncio.to_thread(self._evidence, suite, baseline, candidate)
            for suite in candidate.suites
            if suite in baseline.suites
        ]
        found = [one.message for one in evidence if one.message is not None]
        if not found:
            why = evidence[0].missing if evidence else "They ran different suites."
            raise FailedPrecondition(
                f"{baseline.name} and {candidate.name} cannot be compared. {why} Run both on the same suites.",
                reason="FIELD_INVALID",
            )
        return Comparison(baseline_run=baseline.name, candidate_run=candidate.name, suites=found)

    async def decide(self, request: pb.DecideGateRequest) -> GateDecision:
        """Decide rule by rule and record the verdict for ever.

        Raises: InvalidRequest for rules that make no sense; FailedPrecondition if a run has not succeeded.
        """
        rules = codec.rules(request.rules)
        baseline, candidate = await self._runs(request.baseline_run, request.candidate_run)
        evidence = [await asyncio.to_thread(self._evidence, rule.suite, baseline, candidate) for rule in rules]
        pairs = list(zip(rules, evidence, strict=True))
        outcomes = [decide_rule(rule, one.paired, missing=one.missing) for rule, one in pairs]
        decision = GateDecision(
            name=f"{request.parent}/gateDecisions/{request.gate_decision_id or new_id('gate')}",
            model_version=candidate.model_version,
            baseline_run=baseline.name,
            candidate_run=candidate.name,
            rules=[codec.rule_verdict(outcome, one.message) for outcome, one in zip(outcomes, evidence, strict=True)],
            verdict=codec.VERDICTS[decide(outcomes)],
            model_sha256=candidate.inputs.model_manifest.sha256,
        )
        return await self._store.write(lambda tx: tx.put(decision, verb="created"))

    async def get(self, name: str) -> GateDecision:
        """Return a decision."""
        return await self._store.read(lambda tx: tx.get(name, GateDecision))

    async def page(self, request: pb.ListGateDecisionsRequest) -> pb.ListGateDecisionsResponse:
        """Return a page of a project's decisions."""
        found, token = await self._store.read(
            lambda tx: tx.list(GateDecision, request.parent, page_size=request.page_size, page_token=request.page_token)
        )
        return pb.ListGateDecisionsResponse(gate_decisions=found, next_page_token=token)

    async def _runs(self, *names: str) -> list[EvaluationRun]:
        runs = await self._store.read(lambda tx: [tx.get(name, EvaluationRun) for name in names])
        for run in runs:
            if run.status.state != JOB_STATE_SUCCEEDED:
                state = JobState.Name(run.status.state).removeprefix("JOB_STATE_")
                raise FailedPrecondition(
                    f"{run.name} is {state}; only a run that SUCCEEDED has results to compare",
                    reason="JOB_STATE_INVALID",
                    resource=run.name,
                )
        return runs

    def _evidence(self, suite: str, baseline: EvaluationRun, candidate: EvaluationRun) -> Evidence:
        """Compare two runs on one suite; reads both results, so call it in a thread."""
        before, after = _results(baseline).get(suite), _results(candidate).get(suite)
        if before is None or after is None:
            return Evidence(missing=f"{(candidate if before else baseline).name} did not run this suite.")
        if before.suite_sha256 != after.suite_sha256:
            return Evidence(missing="The two runs saw different cases under this name.")
        pinned = next(one for one in candidate.inputs.suites if one.name == suite)
        grader = codec.grader(pinned.grader)
        pairs = pair_up(self._load(before), self._load(after))
        if not pairs:
            return Evidence(missing="No case was scored in both runs.")
        paired = compare(pairs, grader)
        examples = [] if pinned.sealed else flips(pairs, grader, num_max=FLIPS_MAX)
        return Evidence(paired, codec.comparison(suite, paired, examples))

    def _load(self, result: SuiteResult) -> list[CaseResult]:
        ref = result.case_results
        return parse_results(Blobs(self._objects, project_of(ref.key)).get_bytes(ref))


def _results(run: EvaluationRun) -> Mapping[str, SuiteResult]:
    return {result.suite: result for result in run.results}
