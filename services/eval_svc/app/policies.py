"""Gate policies, signed waivers, and plans before a run."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, timedelta

from bessemer.api.eval.v1 import gate_policy_pb2 as pb
from bessemer.api.eval.v1.evaluation_pb2 import (
    GATE_RELATION_NON_INFERIOR,
    GATE_RELATION_UNSPECIFIED,
    VERDICT_PASS,
    EvaluationSuite,
    GateDecision,
    GateRule,
)
from bessemer.artifacts.blobs import Blobs
from bessemer.kernel.errors import FailedPrecondition, InvalidRequest
from bessemer.kernel.ids import id_of, new_id, project_of
from bessemer.svckit.context import current_principal
from bessemer.svckit.objects import ObjectStore
from bessemer.svckit.store import Store
from bessemer.svckit.tx import Tx

from eval_svc import codec
from eval_svc.app.gates import Gates, rules_of
from eval_svc.config import POLICY_LEVEL, WAIVER_DAYS_MAX, WAIVER_REASON_LENGTH_MIN
from eval_svc.domain.cases import Grader
from eval_svc.domain.plan import Plan, pilot_of, plan
from eval_svc.ports import ModelCatalog

__all__ = ["Policies"]

# A margin this much smaller than what a suite can see is not decided by luck but never.
MARGIN_SHARE_MIN = 1.5
# Below this even a clear gain asks for thousands of cases.
LEVEL_MIN = 0.001


class Policies:
    """Use cases of policies, waivers and plans."""

    def __init__(self, store: Store, objects: ObjectStore, models: ModelCatalog, gates: Gates) -> None:
        self._store = store
        self._objects = objects
        self._models = models
        self._gates = gates

    async def create(self, request: pb.CreateGatePolicyRequest) -> pb.GatePolicy:
        """Check every rule against its suite and seal the policy.

        Raises: InvalidRequest for rules that make no sense; FailedPrecondition for a blocking margin that the suite is
        far too small to see.
        """
        given = request.gate_policy
        if 0 < given.level < LEVEL_MIN:
            raise InvalidRequest(
                f"gate_policy.level must be {LEVEL_MIN} to 0.2, or 0 for {POLICY_LEVEL}; got {given.level}",
                field="gate_policy.level",
            )
        policy = pb.GatePolicy(
            name=f"{request.parent}/gatePolicies/{request.gate_policy_id}",
            display_name=given.display_name,
            rules=given.rules,
            forgetting_budget=given.forgetting_budget if given.HasField("forgetting_budget") else None,
            level=given.level or POLICY_LEVEL,
            imported_results=given.imported_results,
            served_results=given.served_results,
            clean_cases=given.clean_cases,
        )
        for index, rule in enumerate(policy.rules):
            if rule.relation == GATE_RELATION_UNSPECIFIED:
                raise InvalidRequest(
                    f"rules[{index}].relation must be NON_INFERIOR, SUPERIOR or FLOOR", field=f"rules[{index}].relation"
                )
            rule.forgetting_budget = False
        rules = rules_of(policy)
        codec.rules(rules)
        names = dict.fromkeys(rule.suite for rule in rules)
        suites = await self._store.read(lambda tx: {name: tx.get(name, EvaluationSuite) for name in names})
        for rule in rules:
            await self._check_margin(rule, suites[rule.suite])
        return await self._store.write(lambda tx: tx.put(policy, verb="created"))

    async def get(self, name: str) -> pb.GatePolicy:
        """Return a policy."""
        return await self._store.read(lambda tx: tx.get(name, pb.GatePolicy))

    async def page(self, request: pb.ListGatePoliciesRequest) -> pb.ListGatePoliciesResponse:
        """Return a page of a project's policies."""
        found, token = await self._store.read(
            lambda tx: tx.list(
                pb.GatePolicy, request.parent, page_size=request.page_size, page_token=request.page_token
            )
        )
        return pb.ListGatePoliciesResponse(gate_policies=found, next_page_token=token)

    async def waive(self, request: pb.CreateGateWaiverRequest) -> pb.GateWaiver:
        """Sign an exception for the bytes that a model version has now.

        Raises: InvalidRequest for a reason that says too little or an expiry out of range; FailedPrecondition if the
        decision passed or is about something else.
        """
        given = request.gate_waiver
        reason = given.reason.strip()
        if len(reason) < WAIVER_REASON_LENGTH_MIN:
            raise InvalidRequest(
                f"gate_waiver.reason must have at least {WAIVER_REASON_LENGTH_MIN} characters; got {reason!r}",
                field="gate_waiver.reason",
            )
        for field, name in (("model_version", given.model_version), ("gate_decision", given.gate_decision)):
            if name and project_of(name) != id_of(request.parent):
                raise InvalidRequest(
                    f"gate_waiver.{field} must lie in {request.parent} like the waiver; got {name}",
                    field=f"gate_waiver.{field}",
                )
        version = await self._models.version(given.model_version)
        waiver = pb.GateWaiver(
            name=f"{request.parent}/gateWaivers/{request.gate_waiver_id or new_id('waiver')}",
            model_version=version.name,
            model_sha256=version.manifest.sha256,
            gate_decision=given.gate_decision,
            reason=reason,
            expire_time=given.expire_time,
        )

        def write(tx: Tx) -> pb.GateWaiver:
            _check_expiry(tx, waiver)
            if waiver.gate_decision:
                _check_decision(tx.get(waiver.gate_decision, GateDecision), waiver)
            return tx.put(waiver, verb="created")

        return await self._store.write(write)

    async def waiver(self, name: str) -> pb.GateWaiver:
        """Return a waiver."""
        return await self._store.read(lambda tx: tx.get(name, pb.GateWaiver))

    async def waivers(self, request: pb.ListGateWaiversRequest) -> pb.ListGateWaiversResponse:
        """Return a page of a project's waivers."""
        found, token = await self._store.read(
            lambda tx: tx.list(
                pb.GateWaiver, request.parent, page_size=request.page_size, page_token=request.page_token
            )
        )
        return pb.ListGateWaiversResponse(gate_waivers=found, next_page_token=token)

    async def revoke(self, request: pb.RevokeGateWaiverRequest) -> pb.GateWaiver:
        """Take a waiver back; one that was taken back stays as it is."""

        def write(tx: Tx) -> pb.GateWaiver:
            waiver = tx.get(request.name, pb.GateWaiver)
            if waiver.HasField("revoke_time"):
                return waiver
            waiver.revoke_time.FromDatetime(tx.clock.now())
            waiver.revoker = current_principal().subject
            return tx.put(waiver, verb="revoked")

        return await self._store.write(write)

    async def plan(self, request: pb.PlanEvaluationRequest) -> pb.EvaluationPlan:
        """Say how many cases a suite needs to see a difference.

        Raises: InvalidRequest for half a pilot, or for perplexity without one.
        """
        if bool(request.pilot_baseline_run) != bool(request.pilot_candidate_run):
            raise InvalidRequest("a pilot is two runs; name both or none", field="pilot_candidate_run")
        suite = await self._store.read(lambda tx: tx.get(request.suite, EvaluationSuite))
        grader, pilot = codec.grader(suite.grader), None
        if request.pilot_baseline_run:
            runs = (request.pilot_baseline_run, request.pilot_candidate_run)
            pilot = pilot_of(await self._gates.pilot(suite.name, *runs), grader)
        elif grader is Grader.PERPLEXITY:
            raise InvalidRequest(
                "how much perplexity varies depends on the models; name two earlier runs as a pilot",
                field="pilot_baseline_run",
            )
        planned = plan(await self._clusters(suite), request.difference, grader, pilot)
        return pb.EvaluationPlan(
            suite=suite.name,
            num_cases=planned.num_cases,
            num_clusters=planned.num_clusters,
            num_cases_needed=planned.num_cases_needed,
            detectable_difference=planned.detectable,
            variance=planned.variance,
            design_effect=planned.design,
            from_pilot=pilot is not None,
            explanation=f"{id_of(suite.name)} {planned.explanation}",
        )

    async def _check_margin(self, rule: GateRule, suite: EvaluationSuite) -> None:
        """Raise FailedPrecondition if a blocking loss of points is far below what the suite can see."""
        absolute = rule.relation == GATE_RELATION_NON_INFERIOR and not rule.relative and not rule.slice
        if not (rule.blocking and absolute and suite.mde) or rule.margin >= suite.mde / MARGIN_SHARE_MIN:
            return
        planned: Plan = plan(await self._clusters(suite), rule.margin, codec.grader(suite.grader), None)
        raise FailedPrecondition(
            f"{suite.name} cannot decide a margin of {rule.margin:.1%}: it {planned.explanation}. "
            "Add cases, widen the margin, or make the rule advisory",
            reason="FIELD_INVALID",
            resource=suite.name,
        )

    async def _clusters(self, suite: EvaluationSuite) -> list[str]:
        """Return the cluster of every case."""
        blobs = Blobs(self._objects, project_of(suite.cases.key))
        data = await asyncio.to_thread(blobs.get_bytes, suite.cases)
        return [json.loads(line)["cluster"] for line in data.splitlines()]


def _check_expiry(tx: Tx, waiver: pb.GateWaiver) -> None:
    left = waiver.expire_time.ToDatetime(UTC) - tx.clock.now()
    if not timedelta() < left <= timedelta(days=WAIVER_DAYS_MAX):
        raise InvalidRequest(
            f"gate_waiver.expire_time must lie ahead, at most {WAIVER_DAYS_MAX} days; "
            f"got {waiver.expire_time.ToJsonString()}",
            field="gate_waiver.expire_time",
        )


def _check_decision(decision: GateDecision, waiver: pb.GateWaiver) -> None:
    problem = ""
    if decision.verdict == VERDICT_PASS:
        problem = "passed; deploy by it, a waiver is not needed"
    elif (decision.model_version, decision.model_sha256) != (waiver.model_version, waiver.model_sha256):
        problem = f"is about other bytes than {waiver.model_version} has now; name the decision on these, or none"
    if problem:
        raise FailedPrecondition(f"{decision.name} {problem}", reason="FIELD_INVALID", resource=decision.name)
