"""Policies, waivers and plans over real gRPC; runs are written as a worker leaves them, so no model is loaded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import grpc
import pytest
from bessemer.api.common.v1.job_pb2 import JOB_STATE_FAILED, JOB_STATE_SUCCEEDED, JobStatus
from bessemer.api.eval.v1 import evaluation_pb2 as ev
from bessemer.api.eval.v1 import evaluation_service_pb2 as pb
from bessemer.api.eval.v1 import gate_policy_pb2 as gp
from bessemer.api.eval.v1.evaluation_service_pb2_grpc import EvaluationServiceStub
from bessemer.api.eval.v1.gate_policy_pb2_grpc import GatePolicyServiceStub
from bessemer.api.train.v1.model_pb2 import ModelVersion
from bessemer.artifacts.blobs import Blobs
from bessemer.svckit.objects import ObjectsConfig, open_objects
from bessemer.svckit.status import from_rpc_error
from data_svc.wiring import build as build_data
from eval_svc.domain.cases import Case, format_cases
from eval_svc.domain.results import CaseResult, format_results
from eval_svc.wiring import build as build_eval
from train_svc.wiring import build as build_train

from tests.fixtures.running import running

PROJECT = "projects/plant"
VERSION = f"{PROJECT}/models/m/versions/v1"


class Works:
    """eval_svc, with suites and runs put into its store."""

    def __init__(self, service, train, blobs):
        self.store, self.train, self.blobs = service.service.store, train, blobs
        self.evaluation = EvaluationServiceStub(service.channel)
        self.stub = GatePolicyServiceStub(service.channel)

    async def suite(self, name, clusters, *, mde=0.0):
        cases = [Case(id=f"c{i:04d}", cluster=cluster, prompt="?", target="x") for i, cluster in enumerate(clusters)]
        suite = ev.EvaluationSuite(
            name=f"{PROJECT}/evaluationSuites/{name}",
            grader=ev.GRADER_KIND_EXACT,
            cases=self.blobs.put_bytes(format_cases(cases), "application/jsonl"),
            num_cases=len(cases),
            higher_is_better=True,
            mde=mde,
        )
        return await self.store.write(lambda tx: tx.put(suite, verb="created"))

    async def run(self, name, *results, failed="", looked=False, found=()):
        """Write a run with pairs of a suite and a score per case, None where it has none.

        If it `looked` for cases in training data, those with the numbers in `found` stand there.
        """
        run = ev.EvaluationRun(
            name=f"{PROJECT}/evaluationRuns/{name}",
            model_version=VERSION,
            status=JobStatus(state=JOB_STATE_FAILED if failed else JOB_STATE_SUCCEEDED),
            check_contamination=looked,
        )
        run.inputs.model_manifest.sha256 = "aa"
        if failed:
            run.status.error.message = failed
        for suite, values in results:
            run.suites.append(suite.name)
            run.inputs.suites.append(suite)
            lines = self.blobs.get_bytes(suite.cases).splitlines()
            clusters = [line.split(b'"cluster":"')[1].split(b'"')[0].decode() for line in lines]
            results = [
                CaseResult(
                    id=f"c{i:04d}",
                    cluster=clusters[i],
                    score=value,
                    unscored="" if value is not None else "cut",
                    found_in=["projects/plant/datasets/d/versions/v1"] if i in found else [],
                )
                for i, value in enumerate(values)
            ]
            ref = self.blobs.put_bytes(format_results(results), "application/jsonl")
            run.results.add(suite=suite.name, case_results=ref, suite_sha256=suite.cases.sha256)
        return (await self.store.write(lambda tx: tx.put(run, verb="created"))).name

    async def policy(self, name, **fields):
        return await self.stub.CreateGatePolicy(
            gp.CreateGatePolicyRequest(parent=PROJECT, gate_policy_id=name, gate_policy=gp.GatePolicy(**fields))
        )

    async def decide(self, baseline, candidate, policy):
        return await self.evaluation.DecideGate(
            pb.DecideGateRequest(
                parent=PROJECT, baseline_run=baseline, candidate_run=candidate, gate_policy=policy.name
            )
        )

    async def waive(self, *, reason="pilot with five users", days=3.0, **fields):
        waiver = gp.GateWaiver(model_version=VERSION, reason=reason, **fields)
        waiver.expire_time.FromDatetime(datetime.now(UTC) + timedelta(days=days))
        return await self.stub.CreateGateWaiver(gp.CreateGateWaiverRequest(parent=PROJECT, gate_waiver=waiver))


@pytest.fixture
async def works(tmp_path):
    async with (
        running("data", build_data, tmp_path) as data,
        running("train", build_train, tmp_path, peers={"data": data.address}) as train,
        running("eval", build_eval, tmp_path, peers={"data": data.address, "train": train.address}) as service,
    ):
        version = ModelVersion(name=VERSION)
        version.manifest.sha256 = "aa"
        await train.service.store.write(lambda tx: tx.put(version, verb="created"))
        blobs = Blobs(open_objects(ObjectsConfig(f"file://{tmp_path}/objects")), "plant")
        yield Works(service, train.service.store, blobs)


async def refused(call):
    with pytest.raises(grpc.RpcError) as caught:
        await call
    return from_rpc_error(caught.value)


async def test_policy_decides_every_kind_of_rule_and_records_how(works):
    faq = await works.suite("faq", [f"{'contracts' if i % 2 else 'leave'}/{i // 2}" for i in range(400)])
    general = await works.suite("general", map(str, range(300)))
    before = await works.run("before", (faq, [0.0, 0.0, 1.0, 1.0] * 100), (general, [1.0, 0.0] * 150))
    after = await works.run("after", (faq, [1.0, 0.0, 1.0, 1.0] * 100), (general, [1.0, 0.0] * 150))
    policy = await works.policy(
        "release",
        rules=[
            ev.GateRule(suite=faq.name, relation=ev.GATE_RELATION_SUPERIOR, margin=0.1, blocking=True),
            ev.GateRule(
                suite=faq.name, relation=ev.GATE_RELATION_SUPERIOR, margin=0.1, blocking=False, slice="contracts/*"
            ),
            ev.GateRule(suite=faq.name, relation=ev.GATE_RELATION_FLOOR, floor=0.7, blocking=True),
            ev.GateRule(
                suite=faq.name,
                relation=ev.GATE_RELATION_NON_INFERIOR,
                margin=0.05,
                relative=True,
                blocking=True,
                forgetting_budget=True,
            ),
        ],
        forgetting_budget=gp.ForgettingBudget(suites=[general.name], max_loss=0.05),
    )
    assert policy.level == 0.05
    assert not policy.rules[3].forgetting_budget
    decision = await works.decide(before, after, policy)
    assert decision.verdict == ev.VERDICT_PASS
    assert (decision.gate_policy, decision.level) == (policy.name, 0.05)
    verdicts = [rule.verdict for rule in decision.rules]
    assert verdicts == [ev.VERDICT_PASS, ev.VERDICT_FAIL, *[ev.VERDICT_PASS] * 3]
    assert [rule.rule.forgetting_budget for rule in decision.rules] == [False] * 4 + [True]
    assert decision.rules[0].comparison.num_pairs == 400
    assert decision.rules[1].comparison.num_pairs == 200
    assert decision.rules[2].value == pytest.approx(0.75)
    assert "corrected for 4 rules" in decision.rules[0].explanation
    assert decision.rules[0].interval.confidence == pytest.approx(0.9)
    listed = await works.stub.ListGatePolicies(gp.ListGatePoliciesRequest(parent=PROJECT))
    assert list(listed.gate_policies) == [policy]
    assert await works.stub.GetGatePolicy(gp.GetGatePolicyRequest(name=policy.name)) == policy


async def test_policy_on_runs_that_failed_or_lack_scores_is_invalid_and_says_why(works):
    faq = await works.suite("faq", map(str, range(100)))
    other = await works.suite("other", map(str, range(50)))
    policy = await works.policy(
        "release",
        rules=[
            ev.GateRule(suite=one.name, relation=ev.GATE_RELATION_SUPERIOR, margin=0.0, blocking=True)
            for one in (faq, other)
        ],
    )
    before = await works.run("before", (faq, [0.0] * 100))
    holes = await works.run("holes", (faq, [1.0] * 97 + [None] * 3))
    decision = await works.decide(before, holes, policy)
    assert [rule.verdict for rule in decision.rules] == [ev.VERDICT_INVALID, ev.VERDICT_MISSING]
    assert decision.verdict == ev.VERDICT_INCONCLUSIVE
    assert "3 of 100 cases could not be scored" in decision.rules[0].explanation
    broken = await works.run("broken", failed="5 of 100 cases could not be scored")
    decision = await works.decide(before, broken, policy)
    assert [rule.verdict for rule in decision.rules] == [ev.VERDICT_INVALID] * 2
    assert "FAILED: 5 of 100" in decision.rules[0].explanation


async def test_policy_that_makes_no_sense_is_refused(works):
    small = await works.suite("small", map(str, range(120)), mde=0.135)
    tight = ev.GateRule(suite=small.name, relation=ev.GATE_RELATION_NON_INFERIOR, margin=0.02, blocking=True)
    error = await refused(works.policy("p", rules=[tight]))
    assert error.code == "FAILED_PRECONDITION"
    assert "has 120, needs 5,495" in error.message
    for change, field in (
        ({"relation": ev.GATE_RELATION_UNSPECIFIED}, "rules[0].relation"),
        ({"margin": 0.0}, "rules[0].margin"),
        ({"relation": ev.GATE_RELATION_FLOOR}, "rules[0].floor"),
        ({"judge_anchors": ev.JudgeAnchors(num_right_agreed=3)}, "rules[0].judge_anchors"),
        ({"blocking": False}, "rules"),
    ):
        rule = ev.GateRule(suite=small.name, relation=ev.GATE_RELATION_NON_INFERIOR, margin=0.2, blocking=True)
        for name, value in change.items():
            rule.judge_anchors.CopyFrom(value) if name == "judge_anchors" else setattr(rule, name, value)
        assert (await refused(works.policy("p", rules=[rule]))).fields["field"] == field
    tight.margin = 0.2
    assert (await refused(works.policy("p", rules=[tight], level=1e-6))).fields["field"] == "gate_policy.level"
    assert (await refused(works.policy("p", rules=[tight, tight]))).fields["field"] == "rules[1].suite"
    run = await works.run("r", (small, [1.0] * 120))
    made = await works.policy("p", rules=[tight])
    both = pb.DecideGateRequest(
        parent=PROJECT, baseline_run=run, candidate_run=run, gate_policy=made.name, rules=[tight]
    )
    assert (await refused(works.evaluation.DecideGate(both))).fields["field"] == "rules"


async def test_waiver_is_signed_bound_to_bytes_and_taken_back(works):
    waiver = await works.waive()
    assert (waiver.creator, waiver.model_sha256) == ("admin", "aa")
    listed = await works.stub.ListGateWaivers(gp.ListGateWaiversRequest(parent=PROJECT))
    assert list(listed.gate_waivers) == [waiver]
    revoked = await works.stub.RevokeGateWaiver(gp.RevokeGateWaiverRequest(name=waiver.name))
    assert revoked.revoker == "admin"
    assert await works.stub.RevokeGateWaiver(gp.RevokeGateWaiverRequest(name=waiver.name)) == revoked
    assert await works.stub.GetGateWaiver(gp.GetGateWaiverRequest(name=waiver.name)) == revoked
    changes = await works.store.read(lambda tx: tx.changes(0, limit=100, name=waiver.name))
    verbs = [change.type.split(".")[-2] for change in changes]
    assert verbs == ["created", "revoked"]

    assert (await refused(works.waive(reason="  soon  "))).fields["field"] == "gate_waiver.reason"
    assert (await refused(works.waive(days=91))).fields["field"] == "gate_waiver.expire_time"
    assert (await refused(works.waive(days=-1))).fields["field"] == "gate_waiver.expire_time"
    other = "projects/other/gateDecisions/g"
    assert (await refused(works.waive(gate_decision=other))).fields["field"] == "gate_waiver.gate_decision"


async def test_waiver_of_a_passed_decision_is_refused(works):
    faq = await works.suite("faq", map(str, range(100)))
    before, after = await works.run("before", (faq, [0.0] * 100)), await works.run("after", (faq, [1.0] * 100))
    rule = ev.GateRule(suite=faq.name, relation=ev.GATE_RELATION_SUPERIOR, margin=0.1, blocking=True)
    policy = await works.policy("release", rules=[rule])
    passed, failed = await works.decide(before, after, policy), await works.decide(after, before, policy)
    error = await refused(works.waive(gate_decision=passed.name))
    assert "passed" in error.message
    assert (await works.waive(gate_decision=failed.name)).gate_decision == failed.name


async def test_plan_by_defaults_and_by_a_pilot(works):
    faq = await works.suite("faq", [str(i // 4) for i in range(400)])
    plan = await works.stub.PlanEvaluation(gp.PlanEvaluationRequest(suite=faq.name, difference=0.05))
    assert (plan.num_cases, plan.num_clusters, plan.from_pilot) == (400, 100, False)
    assert plan.design_effect == pytest.approx(1.9)
    assert plan.num_cases_needed == pytest.approx(880 * 1.9, rel=0.01)
    assert "has 400, needs 1,6" in plan.explanation
    before = await works.run("before", (faq, [1.0, 0.0, 0.0, 1.0] * 100))
    after = await works.run("after", (faq, [1.0, 0.0, 0.0, 1.0] * 95 + [1.0] * 20))
    pilot = {"pilot_baseline_run": before, "pilot_candidate_run": after}
    plan = await works.stub.PlanEvaluation(gp.PlanEvaluationRequest(suite=faq.name, difference=0.05, **pilot))
    assert plan.from_pilot
    assert plan.num_cases_needed < 400
    half = gp.PlanEvaluationRequest(suite=faq.name, difference=0.05, pilot_baseline_run=before)
    assert (await refused(works.stub.PlanEvaluation(half))).fields["field"] == "pilot_candidate_run"


async def test_gain_on_cases_that_were_trained_on_passes_no_policy_that_wants_clean_ones(works):
    faq = await works.suite("faq", map(str, range(200)))
    before = await works.run("before", (faq, [0.0, 1.0] * 100))
    learned = {i for i in range(200) if i % 2 == 0 and i < 100}
    after = [1.0 if i in learned else float(i % 2) for i in range(200)]
    unseen = await works.run("unseen", (faq, after))
    looked = await works.run("looked", (faq, after), looked=True, found=learned)
    rule = ev.GateRule(suite=faq.name, relation=ev.GATE_RELATION_SUPERIOR, margin=0.05, blocking=True)
    loose, strict = (
        await works.policy("loose", rules=[rule]),
        await works.policy("strict", rules=[rule], clean_cases=True),
    )
    passed = await works.decide(before, looked, loose)
    assert (passed.verdict, passed.rules[0].clean_verdict) == (ev.VERDICT_PASS, ev.VERDICT_FAIL)
    assert passed.rules[0].comparison.clean.num_pairs == 150
    assert passed.rules[0].comparison.clean.difference == 0
    assert (await works.decide(before, looked, strict)).verdict == ev.VERDICT_FAIL
    blind = await works.decide(before, unseen, strict)
    assert (blind.verdict, blind.rules[0].verdict) == (ev.VERDICT_INCONCLUSIVE, ev.VERDICT_INVALID)
    assert "did not look" in blind.rules[0].explanation
