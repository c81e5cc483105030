"""What is served, measured where it is served: four real services, a real engine, a tiny model."""

from __future__ import annotations

import asyncio
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
from bessemer.api.serve.v1 import deployment_pb2
from bessemer.api.serve.v1 import deployment_service_pb2 as serving
from bessemer.api.serve.v1.deployment_service_pb2_grpc import DeploymentServiceStub
from bessemer.api.train.v1.model_pb2 import ModelVersion
from bessemer.artifacts.attestation import load_public_key, read_statement
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import FileEntry, Manifest, write_manifest
from bessemer.local.servers import free_ports
from bessemer.svckit.objects import ObjectsConfig, open_objects
from bessemer.svckit.status import from_rpc_error
from data_svc.wiring import build as build_data
from eval_svc.wiring import build as build_eval
from serve_svc.wiring import build as build_serve
from train_svc.wiring import build as build_train

from tests.fixtures.running import running
from tests.fixtures.tiny_model import make_tiny_model

PROJECT = "projects/plant"
VERSION = f"{PROJECT}/models/m/versions/v1"
ENDPOINT = f"{PROJECT}/endpoints/chat"
SUITES = {
    "answers": (ev.GRADER_KIND_EXACT, [{"id": f"a{i}", "prompt": f"Say {i}", "target": "x"} for i in range(12)]),
    "chats": (
        ev.GRADER_KIND_REGEX,
        [{"id": f"h{i}", "prompt": [{"role": "user", "content": f"Say {i}"}], "target": "[aeiou]"} for i in range(12)],
    ),
    "choices": (
        ev.GRADER_KIND_CHOICE,
        [{"id": f"c{i}", "prompt": f"Is {i} hot?", "choices": ["yes", "no", "maybe"], "target": 0} for i in range(12)],
    ),
    "texts": (ev.GRADER_KIND_PERPLEXITY, [{"id": f"t{i}", "text": f"The furnace {i} is very hot."} for i in range(12)]),
}  # fmt: skip


class Plant:
    """Four services, one model, one endpoint that serves it."""

    def __init__(self, home, data, train, service, serve):
        self.home, self.data, self.train, self.service = home, data, train, service
        self.stub, self.policies = EvaluationServiceStub(service.channel), GatePolicyServiceStub(service.channel)
        self.deployments = DeploymentServiceStub(serve.channel)
        self.blobs = Blobs(open_objects(ObjectsConfig(f"file://{home}/objects")), "plant")

    async def publish(self, folder):
        """Have train_svc know the version by the bytes of a folder."""
        files = tuple(
            FileEntry.of(path.name, self.blobs.put_file(path, "application/octet-stream"))
            for path in sorted(folder.iterdir())
        )
        manifest = write_manifest(self.blobs, Manifest("model", files, {"architecture": "llama"}))
        version = ModelVersion(name=VERSION, manifest=manifest, context_length=512)

        def write(tx):
            if (known := tx.find(VERSION, ModelVersion)) is None:
                return tx.put(version, verb="created")
            known.manifest.CopyFrom(manifest)
            return tx.put(known, verb="changed")

        await self.train.service.store.write(write)
        return manifest

    async def deploy(self, manifest):
        decision = ev.GateDecision(
            name=f"{PROJECT}/gateDecisions/g",
            model_version=VERSION,
            model_sha256=manifest.sha256,
            verdict=ev.VERDICT_PASS,
        )
        await self.service.service.store.write(lambda tx: tx.put(decision, verb="created"))
        await self.deployments.CreateEndpoint(serving.CreateEndpointRequest(parent=PROJECT, endpoint_id="chat"))
        made = await self.deployments.DeployModelVersion(
            serving.DeployModelVersionRequest(endpoint=ENDPOINT, model_version=VERSION, gate_decision=decision.name)
        )
        async with asyncio.timeout(120):
            while made.state != deployment_pb2.DEPLOYMENT_STATE_READY:
                await asyncio.sleep(0.3)
                made = await self.deployments.GetDeployment(serving.GetDeploymentRequest(name=made.name))
                assert made.state != deployment_pb2.DEPLOYMENT_STATE_FAILED, made

    async def suite(self, name, kind, cases, *, sealed=False):
        content = "".join(json.dumps(case) + "\n" for case in cases).encode()
        stub = ArtifactServiceStub(self.data.channel)
        wanted = {"file_name": "x.jsonl", "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
        upload = await stub.CreateUpload(artifacts.CreateUploadRequest(parent=PROJECT, **wanted))
        async with httpx.AsyncClient(timeout=10) as http:
            await http.put(upload.url, content=content, headers=dict(upload.headers))
        await stub.CompleteUpload(artifacts.CompleteUploadRequest(name=upload.name))
        suite = ev.EvaluationSuite(grader=kind, sealed=sealed, max_tokens=8)
        request = pb.CreateEvaluationSuiteRequest(
            parent=PROJECT, evaluation_suite_id=name, evaluation_suite=suite, upload=upload.name
        )
        return (await self.stub.CreateEvaluationSuite(request)).name

    async def run(self, suites):
        given = ev.EvaluationRun(model_version=VERSION, suites=suites, endpoint=ENDPOINT)
        made = await self.stub.CreateEvaluationRun(pb.CreateEvaluationRunRequest(parent=PROJECT, evaluation_run=given))
        async with asyncio.timeout(150):
            async for step in self.stub.WatchEvaluationRun(pb.WatchEvaluationRunRequest(name=made.name)):
                if step.HasField("evaluation_run"):
                    made = step.evaluation_run
        pieces = self.stub.TailEvaluationRunLogs(pb.TailEvaluationRunLogsRequest(name=made.name))
        assert made.status.state == JOB_STATE_SUCCEEDED, "".join([piece.text async for piece in pieces])
        return made

    async def verdict(self, policy, run):
        request = pb.DecideGateRequest(
            parent=PROJECT, baseline_run=run.name, candidate_run=run.name, gate_policy=policy
        )
        return (await self.stub.DecideGate(request)).rules[0]


@pytest.fixture
async def plant(tmp_path):
    home, [port] = tmp_path, free_ports(1)
    async with (
        running("data", build_data, home) as data,
        running("train", build_train, home, peers={"data": data.address}) as train,
        running(
            "eval",
            build_eval,
            home,
            peers={"data": data.address, "train": train.address, "serve": f"127.0.0.1:{port}"},
        ) as service,
        running(
            "serve",
            build_serve,
            home,
            peers={"data": data.address, "train": train.address, "eval": service.address},
            port=port,
        ) as serve,
    ):
        await ProjectServiceStub(data.channel).CreateProject(CreateProjectRequest(project_id="plant"))
        yield Plant(home, data, train, service, serve)


async def test_served_model_is_measured_where_it_is_served_and_one_with_other_weights_is_found_out(plant, tmp_path):
    manifest = await plant.publish(make_tiny_model(tmp_path / "one", seed=0))
    await plant.deploy(manifest)
    suites = [await plant.suite(name, kind, cases) for name, (kind, cases) in SUITES.items()]
    served = await plant.run(suites)
    told = "\n".join(f"{one.name} {one.value} {one.limit} {one.detail}" for one in served.parity.checks)
    assert served.parity.passed, told
    assert (served.parity.hop, served.parity.precision) == ("served", served.inputs.precision)
    names = {one.name for one in served.parity.checks}
    assert {"tokenizer/prompts", "served/logprob_error", "greedy/regret_mean", "logits/top1_agreement"} <= names
    assert {"task/changed/answers", "task/loss/chats", "task/changed/choices", "task/perplexity/texts"} <= names

    statement = read_statement(served.parity_attestation, load_public_key(plant.home / "credentials" / "artifacts.pub"))
    assert statement.subjects[VERSION] == manifest.sha256
    assert statement.predicate["report"]["passed"] is True

    rule = ev.GateRule(suite=suites[2], relation=ev.GATE_RELATION_FLOOR, floor=0.9, blocking=True)
    policy = await plant.policies.CreateGatePolicy(
        gp.CreateGatePolicyRequest(
            parent=PROJECT, gate_policy_id="served", gate_policy=gp.GatePolicy(rules=[rule], served_results=True)
        )
    )
    assert (await plant.verdict(policy.name, served)).verdict != ev.VERDICT_INVALID
    local = ev.EvaluationRun(name=f"{PROJECT}/evaluationRuns/local", model_version=VERSION, suites=suites)
    local.status.state = JOB_STATE_SUCCEEDED
    local.inputs.suites.extend(served.inputs.suites)
    local.results.extend(served.results)
    await plant.service.service.store.write(lambda tx: tx.put(local, verb="created"))
    refusal = await plant.verdict(policy.name, local)
    assert (refusal.verdict, "asked no endpoint" in refusal.explanation) == (ev.VERDICT_INVALID, True)

    await plant.publish(make_tiny_model(tmp_path / "other", seed=1))
    other = await plant.run(suites)
    assert not other.parity.passed
    failed = {one.name for one in other.parity.checks if not one.passed}
    assert {"served/logprob_error", "task/perplexity/texts"} <= failed
    assert (await plant.verdict(policy.name, other)).verdict == ev.VERDICT_INVALID

    sealed = await plant.suite("sealed", SUITES["answers"][0], SUITES["answers"][1][:3], sealed=True)
    with pytest.raises(grpc.RpcError) as caught:
        await plant.run([sealed])
    assert "sealed" in from_rpc_error(caught.value).message
