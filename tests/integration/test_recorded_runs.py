"""Results of other tools over real gRPC: held against the suite, compared, and kept out of gates."""

from __future__ import annotations

import hashlib
import json

import grpc
import httpx
import pytest
from bessemer.api.common.v1.job_pb2 import JOB_STATE_SUCCEEDED
from bessemer.api.data.v1 import artifact_service_pb2 as artifacts
from bessemer.api.data.v1.artifact_service_pb2_grpc import ArtifactServiceStub
from bessemer.api.data.v1.project_service_pb2 import CreateProjectRequest
from bessemer.api.data.v1.project_service_pb2_grpc import ProjectServiceStub
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
from eval_svc.wiring import build as build_eval
from train_svc.wiring import build as build_train

from tests.fixtures.running import running

PROJECT = "projects/plant"
VERSION = f"{PROJECT}/models/m/versions/v1"
CANARY = "Xylokanarienvogel"


class Plant:
    """Three services and a model version without bytes, since nothing here computes."""

    def __init__(self, data, service, blobs):
        self.data, self.blobs, self.store = data, blobs, service.service.store
        self.stub, self.policies = EvaluationServiceStub(service.channel), GatePolicyServiceStub(service.channel)

    async def upload(self, records) -> str:
        content = "".join(json.dumps(record) + "\n" for record in records).encode()
        stub = ArtifactServiceStub(self.data.channel)
        wanted = {"file_name": "x.jsonl", "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
        upload = await stub.CreateUpload(artifacts.CreateUploadRequest(parent=PROJECT, **wanted))
        async with httpx.AsyncClient(timeout=10) as http:
            await http.put(upload.url, content=content, headers=dict(upload.headers))
        await stub.CompleteUpload(artifacts.CompleteUploadRequest(name=upload.name))
        return upload.name

    async def suite(self, name, *, sealed=False, grader=ev.GRADER_KIND_RECORDED):
        cases = [{"id": f"c{i}", "prompt": f"{CANARY} {i}", "target": CANARY} for i in range(40)]
        suite = ev.EvaluationSuite(grader=grader, sealed=sealed)
        request = pb.CreateEvaluationSuiteRequest(
            parent=PROJECT, evaluation_suite_id=name, evaluation_suite=suite, upload=await self.upload(cases)
        )
        return (await self.stub.CreateEvaluationSuite(request)).name

    async def recorded(self, suite, records):
        run = ev.EvaluationRun(
            model_version=VERSION,
            suites=[suite],
            imported={"tool": "lm-eval", "file_sha256": "ab" * 32, "upload": await self.upload(records)},
        )
        return await self.stub.ImportEvaluationRun(pb.ImportEvaluationRunRequest(parent=PROJECT, evaluation_run=run))

    async def decide(self, before, after, **decision):
        return await self.stub.DecideGate(
            pb.DecideGateRequest(parent=PROJECT, baseline_run=before.name, candidate_run=after.name, **decision)
        )


@pytest.fixture
async def plant(tmp_path):
    async with (
        running("data", build_data, tmp_path) as data,
        running("train", build_train, tmp_path, peers={"data": data.address}) as train,
        running("eval", build_eval, tmp_path, peers={"data": data.address, "train": train.address}) as service,
    ):
        await ProjectServiceStub(data.channel).CreateProject(CreateProjectRequest(project_id="plant"))
        blobs = Blobs(open_objects(ObjectsConfig(f"file://{tmp_path}/objects")), "plant")
        manifest = blobs.put_bytes(b"{}", "application/json")
        await train.service.store.write(
            lambda tx: tx.put(ModelVersion(name=VERSION, manifest=manifest), verb="created")
        )
        yield Plant(data, service, blobs)


def scores(*right):
    return [{"id": f"c{i}", "score": float(i in right), "output": f"{CANARY} says {i}"} for i in range(40)]


async def test_recorded_results_are_compared_and_decide_only_under_a_policy_that_wants_them(plant):
    suite = await plant.suite("task")
    before, after = await plant.recorded(suite, scores(*range(8))), await plant.recorded(suite, scores(*range(39)))
    assert after.status.state == JOB_STATE_SUCCEEDED
    assert (after.imported.tool, after.imported.file_sha256) == ("lm-eval", "ab" * 32)
    assert (after.results[0].num_cases, after.results[0].score) == (40, 39 / 40)
    assert await plant.stub.GetEvaluationRun(pb.GetEvaluationRunRequest(name=after.name)) == after
    compared = await plant.stub.CompareRuns(pb.CompareRunsRequest(baseline_run=before.name, candidate_run=after.name))
    assert (compared.suites[0].num_better, compared.suites[0].num_worse) == (31, 0)
    assert compared.suites[0].flips[0].candidate_output.startswith(CANARY)

    rule = ev.GateRule(suite=suite, relation=ev.GATE_RELATION_SUPERIOR, margin=0.1, blocking=True)
    verdicts = {}
    for allowed in (False, True):
        policy = gp.GatePolicy(rules=[rule], imported_results=allowed)
        request = gp.CreateGatePolicyRequest(parent=PROJECT, gate_policy_id=f"p-{allowed}".lower(), gate_policy=policy)
        made = await plant.policies.CreateGatePolicy(request)
        verdicts[allowed] = await plant.decide(before, after, gate_policy=made.name)
    assert (verdicts[False].verdict, verdicts[True].verdict) == (ev.VERDICT_INCONCLUSIVE, ev.VERDICT_PASS)
    assert verdicts[False].rules[0].verdict == ev.VERDICT_INVALID
    assert "recorded by lm-eval" in verdicts[False].rules[0].explanation
    plain = await plant.decide(before, after, rules=[ev.GateRule(suite=suite, min_difference=0.1, blocking=True)])
    assert plain.rules[0].verdict == ev.VERDICT_INVALID


async def test_recorded_results_that_do_not_fit_the_suite_are_refused_without_their_text(plant):
    suite = await plant.suite("task", sealed=True)
    for records, reason in (
        ([{"id": "other", "score": 1.0}], "line 1: id is not one"),
        ([{"id": "c1", "score": 1.0}, {"id": "c1", "score": 1.0}], "line 2: the same id"),
        ([{"id": "c1", "score": 1.5}], "line 1: score must be"),
        ([{"id": "c1", "score": True}], "line 1: score must be"),
        ([{"id": "c1", "score": 1.0, "output": 7}], "line 1: output must be"),
        ([{"id": f"c{i}", "unscored": CANARY} for i in range(40)], "40 of 40 cases could not be scored"),
        (scores()[:30], "10 of 40 cases could not be scored"),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            await plant.recorded(suite, records)
        error = from_rpc_error(caught.value)
        assert reason in error.message
        assert CANARY not in error.message + str(error.fields)


async def test_recorded_results_of_a_sealed_suite_keep_scores_and_no_text(plant, caplog):
    suite = await plant.suite("task", sealed=True)
    before, after = await plant.recorded(suite, scores(1)), await plant.recorded(suite, scores(2))
    compared = await plant.stub.CompareRuns(pb.CompareRunsRequest(baseline_run=before.name, candidate_run=after.name))
    decision = await plant.decide(before, after, rules=[ev.GateRule(suite=suite, min_difference=0.1, blocking=True)])
    stored = plant.blobs.get_bytes(after.results[0].case_results)
    assert b'"score":1.0' in stored
    changes = await plant.store.read(lambda tx: tx.changes(0, limit=1000))
    assert CANARY.encode() not in b"".join([stored, *(change.payload for change in changes)])
    assert CANARY not in f"{before}{after}{compared}{decision}{caplog.text}"


async def test_suite_whose_marks_another_tool_records_is_not_run_here(plant):
    suite = await plant.suite("task")
    run = ev.EvaluationRun(model_version=VERSION, suites=[suite])
    with pytest.raises(grpc.RpcError) as caught:
        await plant.stub.CreateEvaluationRun(pb.CreateEvaluationRunRequest(parent=PROJECT, evaluation_run=run))
    assert "ImportEvaluationRun" in from_rpc_error(caught.value).message
