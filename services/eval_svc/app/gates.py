"""Comparisons of two runs, and gates that decide by them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from bessemer.api.common.v1.job_pb2 import JOB_STATE_FAILED, JOB_STATE_SUCCEEDED, JobState
from bessemer.api.eval.v1 import evaluation_service_pb2 as pb
from bessemer.api.eval.v1.evaluation_pb2 import (
    GATE_RELATION_NON_INFERIOR,
    Comparison,
    EvaluationRun,
    GateDecision,
    GateRule,
    SuiteComparison,
    SuiteResult,
)
from bessemer.api.eval.v1.gate_policy_pb2 import GatePolicy
from bessemer.artifacts.blobs import Blobs
from bessemer.kernel.errors import FailedPrecondition, InvalidRequest
from bessemer.kernel.ids import new_id, project_of
from bessemer.svckit.objects import ObjectStore
from bessemer.svckit.store import Store

from eval_svc import codec
from eval_svc.config import CLUSTERS_MIN, FLIPS_MAX, GATE_LEVEL
from eval_svc.domain.cases import Grader
from eval_svc.domain.compare import Pair, compare, flips, pair_up
from eval_svc.domain.effect import Effect, Gap, Relation, Rule, in_slice, measure
from eval_svc.domain.gate import Outcome, decide, decide_rules, worse
from eval_svc.domain.results import CaseResult, parse_results

__all__ = ["Gates", "rules_of"]


@dataclass(frozen=True)
class Evidence:
    """Results of both runs on one suite; without a grader there are none, and `gap` says why."""

    gap: Gap
    grader: Grader | None = None
    baseline: list[CaseResult] | None = None
    candidate: list[CaseResult] = field(default_factory=list)
    sealed: bool = False
    looked_for: bool = False

    def clean(self) -> Evidence | None:
        """Return the results on cases in no training data of either model; None if that leaves all or none."""
        found = {each.id for results in (self.baseline or [], self.candidate) for each in results if each.found_in}
        candidate = [each for each in self.candidate if each.id not in found]
        if not found or not candidate:
            return None
        baseline = None if self.baseline is None else [each for each in self.baseline if each.id not in found]
        return replace(self, baseline=baseline, candidate=candidate)


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
        for run in (baseline, candidate):
            _require(run, JOB_STATE_SUCCEEDED)
        common = [suite for suite in candidate.suites if suite in baseline.suites]
        evidence = [await asyncio.to_thread(self._evidence, suite, baseline, candidate) for suite in common]
        compared = [_comparison(suite, one) for suite, one in zip(common, evidence, strict=True)]
        found = [message for message in compared if message is not None]
        if not found:
            why = evidence[0].gap.reason if evidence else "They ran different suites."
            raise FailedPrecondition(
                f"{baseline.name} and {candidate.name} cannot be compared. {why} Run both on the same suites.",
                reason="FIELD_INVALID",
            )
        return Comparison(baseline_run=baseline.name, candidate_run=candidate.name, suites=found)

    async def decide(self, request: pb.DecideGateRequest) -> GateDecision:
        """Decide rule by rule and record the verdict for ever.

        Raises: InvalidRequest for rules that make no sense; FailedPrecondition if a run has not ended.
        """
        if bool(request.rules) == bool(request.gate_policy):
            raise InvalidRequest("give either rules or a gate_policy", field="rules")
        policy = (
            await self._store.read(lambda tx: tx.get(request.gate_policy, GatePolicy)) if request.gate_policy else None
        )
        given = rules_of(policy) if policy else list(request.rules)
        level = policy.level if policy else GATE_LEVEL
        rules = codec.rules(given)
        baseline, candidate = await self._runs(request.baseline_run, request.candidate_run)
        for run in (baseline, candidate):
            _require(run, JOB_STATE_SUCCEEDED, JOB_STATE_FAILED)
        suites = dict.fromkeys(rule.suite for rule in rules)
        evidence = {suite: await asyncio.to_thread(self._evidence, suite, baseline, candidate) for suite in suites}
        wanted = policy or GatePolicy()
        for suite, one in evidence.items():
            floor_only = all(rule.relation is Relation.FLOOR for rule in rules if rule.suite == suite)
            if reason := why_not_admitted(wanted, None if floor_only else baseline, candidate, looked=one.looked_for):
                evidence[suite] = Evidence(Gap(reason, invalid=True))
        outcomes = await asyncio.to_thread(_outcomes, rules, evidence, level, policy is not None)
        clean = {suite: one.clean() or one for suite, one in evidence.items()}
        cleaned = await asyncio.to_thread(_outcomes, rules, clean, level, policy is not None)
        decision = GateDecision(
            name=f"{request.parent}/gateDecisions/{request.gate_decision_id or new_id('gate')}",
            model_version=candidate.model_version,
            baseline_run=baseline.name,
            candidate_run=candidate.name,
            rules=[
                codec.rule_verdict(
                    rule,
                    outcome,
                    _comparison(rule.suite, evidence[rule.suite], rule.slice),
                    clean=None if clean[rule.suite] is evidence[rule.suite] else without,
                )
                for rule, outcome, without in zip(given, outcomes, cleaned, strict=True)
            ],
            verdict=codec.VERDICTS[
                worse(decide(outcomes), decide(cleaned)) if wanted.clean_cases else decide(outcomes)
            ],
            model_sha256=candidate.inputs.model_manifest.sha256,
            gate_policy=request.gate_policy,
            level=level,
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

    async def pilot(self, suite: str, baseline_run: str, candidate_run: str) -> list[Pair]:
        """Return the pairs of two earlier runs on one suite.

        Raises: FailedPrecondition if they have none.
        """
        runs = await self._runs(baseline_run, candidate_run)
        for run in runs:
            _require(run, JOB_STATE_SUCCEEDED)
        evidence = await asyncio.to_thread(self._evidence, suite, *runs)
        pairs = pair_up(evidence.baseline or [], evidence.candidate)
        if len({pair.baseline.cluster for pair in pairs}) < CLUSTERS_MIN:
            why = evidence.gap.reason or f"They share fewer than {CLUSTERS_MIN} independent groups of cases."
            raise FailedPrecondition(
                f"{baseline_run} and {candidate_run} are no pilot. {why} Run both on {suite}, or plan without a pilot.",
                reason="FIELD_INVALID",
            )
        return pairs

    async def _runs(self, *names: str) -> list[EvaluationRun]:
        return await self._store.read(lambda tx: [tx.get(name, EvaluationRun) for name in names])

    def _evidence(self, suite: str, baseline: EvaluationRun, candidate: EvaluationRun) -> Evidence:
        """Load what both runs found on one suite; reads both results, so call it in a thread."""
        before, after = _results(baseline).get(suite), _results(candidate).get(suite)
        if after is None:
            return Evidence(_why_missing(candidate))
        if before is not None and before.suite_sha256 != after.suite_sha256:
            return Evidence(Gap("The two runs saw different cases under this name."))
        pinned = next(one for one in candidate.inputs.suites if one.name == suite)
        return Evidence(
            gap=Gap("") if before else _why_missing(baseline),
            grader=codec.grader(pinned.grader),
            baseline=self._load(before) if before else None,
            candidate=self._load(after),
            sealed=pinned.sealed,
            looked_for=candidate.check_contamination,
        )

    def _load(self, result: SuiteResult) -> list[CaseResult]:
        ref = result.case_results
        return parse_results(Blobs(self._objects, project_of(ref.key)).get_bytes(ref))


def _results(run: EvaluationRun) -> Mapping[str, SuiteResult]:
    return {result.suite: result for result in run.results}


def rules_of(policy: GatePolicy) -> list[GateRule]:
    """Return the rules of a policy, those that its forgetting budget stands for last."""
    budget = policy.forgetting_budget
    return [
        *policy.rules,
        *(
            GateRule(
                suite=suite,
                relation=GATE_RELATION_NON_INFERIOR,
                margin=budget.max_loss,
                blocking=True,
                forgetting_budget=True,
            )
            for suite in budget.suites
        ),
    ]


def why_not_admitted(
    policy: GatePolicy, baseline: EvaluationRun | None, candidate: EvaluationRun, *, looked: bool
) -> str:
    """Say why results may not decide under a policy; empty if they may. A gate without one has the defaults."""
    for run in (candidate, baseline):
        if run is not None and run.HasField("imported") and not policy.imported_results:
            tool = run.imported.tool
            return f"{run.name} was recorded by {tool}; only a policy with `imported_results` decides by such results."
    if policy.served_results and not (candidate.endpoint and candidate.parity.passed):
        return f"{candidate.name} asked no endpoint; the policy wants answers of one that passed its parity check."
    if policy.clean_cases and not looked:
        return f"{candidate.name} did not look for its cases in training data; run it with `check_contamination`."
    return ""


def _outcomes(
    rules: Sequence[Rule],
    evidence: Mapping[str, Evidence],
    level: float,
    corrected: bool,  # noqa: FBT001
) -> list[Outcome]:
    found = [_finding(rule, evidence[rule.suite], 1 - 2 * level) for rule in rules]
    return decide_rules(rules, found, level=level, corrected=corrected)


def _finding(rule: Rule, evidence: Evidence, confidence: float) -> Effect | Gap:
    if evidence.grader is None or (evidence.baseline is None and rule.relation is not Relation.FLOOR):
        return evidence.gap
    return measure(rule, evidence.baseline, evidence.candidate, evidence.grader, confidence=confidence)


def _comparison(suite: str, evidence: Evidence, pattern: str = "") -> SuiteComparison | None:
    if evidence.grader is None or evidence.baseline is None:
        return None
    pairs = [
        pair for pair in pair_up(evidence.baseline, evidence.candidate) if in_slice(pair.baseline.cluster, pattern)
    ]
    if not pairs:
        return None
    examples = [] if evidence.sealed else flips(pairs, evidence.grader, num_max=FLIPS_MAX)
    found = codec.comparison(suite, compare(pairs, evidence.grader), examples)
    if (clean := evidence.clean()) is not None and (without := _comparison(suite, clean, pattern)) is not None:
        found.clean.CopyFrom(without)
        found.clean.ClearField("flips")
    return found


def _why_missing(run: EvaluationRun) -> Gap:
    if run.status.state == JOB_STATE_FAILED:
        return Gap(f"{run.name} FAILED: {run.status.error.message}", invalid=True)
    return Gap(f"{run.name} did not run this suite.")


def _require(run: EvaluationRun, *states: JobState) -> None:
    if run.status.state not in states:
        state = JobState.Name(run.status.state).removeprefix("JOB_STATE_")
        raise FailedPrecondition(
            f"{run.name} is {state}; only a run that SUCCEEDED has results to compare",
            reason="JOB_STATE_INVALID",
            resource=run.name,
        )
