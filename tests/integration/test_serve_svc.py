"""serve_svc over real gRPC and HTTP, with a real engine process and the tiny model; its peers answer from memory."""

import asyncio
import json
import os
import signal
import socket
import sys
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta

import grpc
import httpx
import openai
import psutil
import pytest
import pytest_asyncio
from bessemer.api.data.v1 import artifact_service_pb2_grpc, feedback_service_pb2, feedback_service_pb2_grpc
from bessemer.api.eval.v1 import evaluation_pb2, evaluation_service_pb2_grpc, gate_policy_pb2, gate_policy_pb2_grpc
from bessemer.api.serve.v1 import (
    deployment_pb2,
    deployment_service_pb2,
    deployment_service_pb2_grpc,
    inference_service_pb2,
    inference_service_pb2_grpc,
)
from bessemer.api.train.v1 import model_pb2, model_service_pb2_grpc
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import FileEntry, Manifest, write_manifest
from bessemer.kernel.errors import FailedPrecondition, InvalidRequest, NotFound, Unavailable
from bessemer.svckit.auth import issue, load_key, mint
from bessemer.svckit.client import channel
from bessemer.svckit.config import AuthConfig, ServiceConfig
from bessemer.svckit.lifecycle import Process
from bessemer.svckit.objects import ObjectsConfig, open_objects
from bessemer.svckit.status import from_rpc_error
from serve_svc.engine.protocol import Prompt, Sampling
from serve_svc.wiring import build

from tests.fixtures.tiny_model import make_tiny_model

ENDPOINT = "projects/default/endpoints/chat"
VERSION = "projects/default/models/m/versions/v1"
pytestmark = pytest.mark.asyncio(loop_scope="module")
READY, LOADING = deployment_pb2.DEPLOYMENT_STATE_READY, deployment_pb2.DEPLOYMENT_STATE_LOADING
STOPPED, FAILED = deployment_pb2.DEPLOYMENT_STATE_STOPPED, deployment_pb2.DEPLOYMENT_STATE_FAILED


class Train(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self):
        self.versions = {}
        self.jobs = {}

    async def GetModelVersion(self, request, context):  # noqa: N802
        if request.name not in self.versions:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such version")
        return self.versions[request.name]

    async def GetModelJob(self, request, context):  # noqa: N802
        if request.name not in self.jobs:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such job")
        return self.jobs[request.name]


class Eval(evaluation_service_pb2_grpc.EvaluationServiceServicer):
    def __init__(self):
        self.decisions = {}

    async def GetGateDecision(self, request, context):  # noqa: ARG002, N802
        return self.decisions[request.name]


class Waivers(gate_policy_pb2_grpc.GatePolicyServiceServicer):
    def __init__(self):
        self.waivers = {}

    async def GetGateWaiver(self, request, context):  # noqa: ARG002, N802
        return self.waivers[request.name]


class Data(feedback_service_pb2_grpc.FeedbackServiceServicer):
    def __init__(self):
        self.requests = []

    async def SubmitFeedback(self, request, context):  # noqa: ARG002, N802
        self.requests.append(request)
        stored = feedback_service_pb2.FeedbackRecord(name=f"{request.parent}/feedback/f1")
        stored.MergeFrom(request.feedback)
        return stored


class Artifacts(artifact_service_pb2_grpc.ArtifactServiceServicer):
    def __init__(self):
        self.uploads = {}

    async def GetUpload(self, request, context):  # noqa: N802
        if request.name not in self.uploads:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such upload")
        return self.uploads[request.name]


class World:
    """A serve_svc process in this loop, its peers, and clients."""

    def __init__(self, home, peers, addresses):
        self.home, self.train, self.eval, self.data, self.waivers, self.artifacts = home, *peers
        self._addresses = addresses
        self.credentials = issue(home)
        self.objects = open_objects(ObjectsConfig(url=f"file://{home / 'objects'}"))

    async def start(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.http_address = f"127.0.0.1:{probe.getsockname()[1]}"
        (self.home / "serve").mkdir(exist_ok=True)
        config = ServiceConfig(
            name="serve",
            home=self.home,
            http_listen=self.http_address,
            database_url=f"sqlite:///{self.home / 'serve' / 'service.db'}",
            objects_url=f"file://{self.home / 'objects'}",
            peers=self._addresses,
            auth=AuthConfig(jwks_file=self.credentials / "jwks.json", token_file=self.credentials / "serve.token"),
            grace_s=3.0,
        )
        self.process = Process(build(config), config)
        await self.process.start()
        self.token = (self.credentials / "token").read_text()
        self._channel = channel(self.process.address, token=self.token)
        self.deployments = deployment_service_pb2_grpc.DeploymentServiceStub(self._channel)
        self.inference = inference_service_pb2_grpc.InferenceServiceStub(self._channel)

    async def stop(self):
        await self._channel.close()
        await self.process.stop()

    def publish(self, folder, name=VERSION, **facts):
        """Store a model's files as train_svc would, and have train_svc and eval_svc know it with a passed gate."""
        blobs = Blobs(self.objects, "default")
        refs = {
            p.relative_to(folder).as_posix(): blobs.put_file(p, "application/octet-stream")
            for p in sorted(folder.rglob("*"))
            if p.is_file()
        }
        files = tuple(FileEntry.of(path, ref) for path, ref in refs.items())
        manifest = write_manifest(blobs, Manifest("model", files, {"architecture": "llama"}))
        facts |= {"tokenizer": refs["tokenizer.json"], "context_length": 512}
        version = model_pb2.ModelVersion(name=name, manifest=manifest, **facts)
        self.train.versions[name] = version
        decision = f"projects/default/gateDecisions/{name.rpartition('/')[2]}"
        self.eval.decisions[decision] = evaluation_pb2.GateDecision(
            name=decision,
            model_version=name,
            model_sha256=manifest.sha256,
            verdict=evaluation_pb2.VERDICT_PASS,
        )
        return decision

    def waive(self, *, hours=1):
        """Have eval_svc know a signed waiver for the model version."""
        name = "projects/default/gateWaivers/w1"
        waiver = gate_policy_pb2.GateWaiver(
            name=name,
            model_version=VERSION,
            model_sha256=self.train.versions[VERSION].manifest.sha256,
            creator="risk-officer",
            reason="demo on a throwaway machine",
        )
        waiver.create_time.FromDatetime(datetime.now(UTC))
        waiver.expire_time.FromDatetime(datetime.now(UTC) + timedelta(hours=hours))
        self.waivers.waivers[name] = waiver
        return waiver

    async def deploy(self, **fields):
        fields = {"endpoint": ENDPOINT, "model_version": VERSION} | fields
        return await self.deployments.DeployModelVersion(
            deployment_service_pb2.DeployModelVersionRequest(**fields), timeout=10
        )

    async def wait(self, name, state=READY):
        """Poll, because a watch ends at the first settled state."""
        async with asyncio.timeout(120):
            while True:
                found = await self.deployments.GetDeployment(deployment_service_pb2.GetDeploymentRequest(name=name))
                if found.state == state:
                    return found
                assert found.state != FAILED, found.error
                await asyncio.sleep(0.1)

    async def answering(self):
        """Wait until the endpoint answers, and return what it says."""
        async with asyncio.timeout(120):
            while True:
                try:
                    return await answer(self)
                except grpc.RpcError as error:
                    if error.code() is not grpc.StatusCode.UNAVAILABLE:
                        raise
                    await asyncio.sleep(0.1)

    async def endpoint(self):
        return await self.deployments.GetEndpoint(deployment_service_pb2.GetEndpointRequest(name=ENDPOINT))

    async def ready(self, *, keep_warm_s=600):
        """Have one deployment answer."""
        request = deployment_service_pb2.CreateEndpointRequest(
            parent="projects/default", endpoint_id="chat", endpoint=deployment_pb2.Endpoint(keep_warm_s=keep_warm_s)
        )
        await self.deployments.CreateEndpoint(request)
        deployment = await self.deploy(gate_decision="projects/default/gateDecisions/v1")
        return await self.wait(deployment.name)

    def fleet(self):
        return self.process.service.background[0].__self__._fleet

    def engines(self):
        """Process ids of this service's engines."""
        return [engine.pid for engine in self.fleet()._engines.values()]

    def openai(self, **settings):
        settings = {"api_key": self.token, "max_retries": 0} | settings
        return openai.AsyncOpenAI(base_url=f"http://{self.http_address}/v1", **settings)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_tiny_model(tmp_path_factory.mktemp("models") / "one")


@asynccontextmanager
async def peers_of(*more):
    train, evaluation, data, waivers, artifacts = Train(), Eval(), Data(), Waivers(), Artifacts()
    server = grpc.aio.server()
    artifact_service_pb2_grpc.add_ArtifactServiceServicer_to_server(artifacts, server)
    gate_policy_pb2_grpc.add_GatePolicyServiceServicer_to_server(waivers, server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(train, server)
    evaluation_service_pb2_grpc.add_EvaluationServiceServicer_to_server(evaluation, server)
    feedback_service_pb2_grpc.add_FeedbackServiceServicer_to_server(data, server)
    for add, servicer in more:
        add(servicer, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield (train, evaluation, data, waivers, artifacts), dict.fromkeys(("train", "eval", "data"), address)
    finally:
        await server.stop(0)


@asynccontextmanager
async def world_in(home, model):
    async with peers_of() as (peers, addresses):
        world = World(home, peers, addresses)
        world.publish(model)
        await world.start()
        try:
            yield world
        finally:
            await world.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def world(tmp_path, model):
    """A service of the test's own."""
    async with world_in(tmp_path, model) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def serving(tmp_path_factory, model):
    """A service with a deployment that answers, for tests that leave it as it is."""
    async with world_in(tmp_path_factory.mktemp("home"), model) as world:
        world.deployment = await world.ready()
        yield world


def generate(**fields):
    sampling = {"temperature": 0, "max_tokens": 12} | fields.pop("sampling", {})
    prompt = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}
    return {"target": ENDPOINT, "prompt": prompt, "sampling": sampling} | fields


async def answer(world, **fields):
    return await world.inference.Generate(inference_service_pb2.GenerateRequest(**generate(**fields)))


def stream(world, **fields):
    return world.inference.StreamGenerate(inference_service_pb2.StreamGenerateRequest(**generate(**fields)))


async def rest_of(call):
    while await call.read():
        pass


async def rest_of_http(chunks):
    return [chunk async for chunk in chunks]


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - other processes have no events
            await asyncio.sleep(0.05)


async def refusal(call):
    with pytest.raises(grpc.RpcError) as caught:
        await call
    return from_rpc_error(caught.value)


async def test_deployment_passed_gate_becomes_ready_and_takes_the_traffic(serving):
    deployment = serving.deployment
    assert (deployment.gate_decision, deployment.context_length) == ("projects/default/gateDecisions/v1", 512)
    assert not deployment.HasField("waiver")
    assert (deployment.engine, deployment.precision > deployment_pb2.PRECISION_UNSPECIFIED) == ("openvino", True)
    assert (await serving.endpoint()).deployment == deployment.name
    request = deployment_service_pb2.WatchDeploymentRequest(name=deployment.name)
    assert [step.deployment.state async for step in serving.deployments.WatchDeployment(request)] == [READY]


async def test_deployment_without_passed_gate_is_refused_and_says_what_to_do(world):
    create = deployment_service_pb2.CreateEndpointRequest(parent="projects/default", endpoint_id="chat")
    await world.deployments.CreateEndpoint(create)
    decision = "projects/default/gateDecisions/v1"
    for change in (
        {"verdict": evaluation_pb2.VERDICT_INCONCLUSIVE},
        {"model_sha256": "0" * 64},
        {"model_version": "x"},
    ):
        kept = evaluation_pb2.GateDecision()
        kept.CopyFrom(world.eval.decisions[decision])
        for field, value in change.items():
            setattr(world.eval.decisions[decision], field, value)
        error = await refusal(world.deploy(gate_decision=decision))
        assert (type(error), error.reason) == (FailedPrecondition, "GATE_NOT_PASSED")
        assert "gate_waiver" in error.message
        world.eval.decisions[decision] = kept
    assert (await refusal(world.deploy())).reason == "GATE_NOT_PASSED"
    assert (await refusal(world.deploy(gate_waiver="projects/other/gateWaivers/w"))).fields["field"] == "gate_waiver"
    other = "projects/other/gateDecisions/v1"
    assert (await refusal(world.deploy(gate_decision=other))).fields["field"] == "gate_decision"
    assert isinstance(await refusal(world.deploy(model_version=VERSION[:-1] + "9")), NotFound)


async def test_deployment_with_waiver_records_who_and_when(world):
    create = deployment_service_pb2.CreateEndpointRequest(parent="projects/default", endpoint_id="chat")
    await world.deployments.CreateEndpoint(create)
    waiver = world.waive()
    deployment = await world.deploy(gate_waiver=waiver.name, deployment_id="d1", request_id="r-1")
    assert (deployment.waiver.reason, deployment.waiver.approver) == (waiver.reason, "risk-officer")
    assert (deployment.waiver.name, deployment.waiver.expire_time) == (waiver.name, waiver.expire_time)
    assert deployment.gate_decision == ""
    again = await world.deploy(gate_waiver=waiver.name, deployment_id="d1", request_id="r-1")
    assert again.uid == deployment.uid


async def test_deployment_with_waiver_that_expired_or_was_taken_back_is_refused(world):
    create = deployment_service_pb2.CreateEndpointRequest(parent="projects/default", endpoint_id="chat")
    await world.deployments.CreateEndpoint(create)
    waiver = world.waive(hours=-1)
    error = await refusal(world.deploy(gate_waiver=waiver.name))
    assert (error.reason, error.fields["resource"]) == ("GATE_NOT_PASSED", waiver.name)
    assert "expired at" in error.message
    world.waive().revoke_time.FromDatetime(datetime.now(UTC))
    assert "taken back" in (await refusal(world.deploy(gate_waiver=waiver.name))).message
    world.waive().model_sha256 = "0" * 64
    assert "other bytes" in (await refusal(world.deploy(gate_waiver=waiver.name))).message


@pytest.mark.slow
async def test_deployment_newer_takes_over_and_the_older_ends(world, tmp_path):
    first = await world.ready(keep_warm_s=0)
    (old_engine,) = world.engines()
    second_version = VERSION.replace("v1", "v2")
    decision = world.publish(make_tiny_model(tmp_path / "two", seed=2), second_version)
    second = await world.wait((await world.deploy(model_version=second_version, gate_decision=decision)).name)
    assert (await world.endpoint()).deployment == second.name
    await world.wait(first.name, STOPPED)
    assert (await answer(world)).model_version == second_version
    await until(lambda: not psutil.pid_exists(old_engine))


async def test_undeploy_stops_the_engine_and_the_endpoint_says_so(world):
    deployment = await world.ready()
    (engine,) = world.engines()
    request = deployment_service_pb2.UndeployModelVersionRequest(name=deployment.name)
    assert (await world.deployments.UndeployModelVersion(request)).state == STOPPED
    assert (await world.deployments.UndeployModelVersion(request)).state == STOPPED
    assert isinstance(await refusal(answer(world)), NotFound)
    await until(lambda: not psutil.pid_exists(engine))


async def test_deployment_of_damaged_files_fails_with_the_reason(world, tmp_path):
    create = deployment_service_pb2.CreateEndpointRequest(parent="projects/default", endpoint_id="chat")
    await world.deployments.CreateEndpoint(create)
    folder = make_tiny_model(tmp_path / "bad")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_size": 32}))
    decision = world.publish(folder, VERSION.replace("v1", "bad"))
    deployment = await world.deploy(model_version=VERSION.replace("v1", "bad"), gate_decision=decision)
    async with asyncio.timeout(120):
        steps = world.deployments.WatchDeployment(deployment_service_pb2.WatchDeploymentRequest(name=deployment.name))
        last = [step async for step in steps][-1].deployment
    assert last.state == FAILED
    assert "config.json says" in last.error.message


@pytest.mark.slow
async def test_restart_brings_the_deployment_back_with_verified_weights(world):
    deployment = await world.ready()
    before = await answer(world)
    (engine,) = world.engines()
    await world.stop()
    assert not psutil.pid_exists(engine)
    folder = world.home / "serve" / "models" / deployment.model_manifest.sha256
    (folder / "sitecustomize.py").write_text("import os")
    (folder / "model.safetensors").write_bytes(b"damaged")
    await world.start()
    assert (await world.answering()).text == before.text
    assert (await world.wait(deployment.name)).uid == deployment.uid
    assert not (folder / "sitecustomize.py").exists()


async def test_generate_and_stream_say_the_same(serving):
    whole = await answer(serving)
    pieces = [piece async for piece in stream(serving)]
    assert "".join(piece.text_delta for piece in pieces) == whole.text
    assert [token for piece in pieces for token in piece.token_ids] == list(whole.token_ids)
    assert len(whole.token_ids) == whole.usage.completion_tokens == 12
    assert whole.finish_reason == pieces[-1].finish_reason == inference_service_pb2.FINISH_REASON_LENGTH
    assert {piece.response_id for piece in pieces} == {pieces[0].response_id} != {whole.response_id}
    count = await serving.inference.CountTokens(
        inference_service_pb2.CountTokensRequest(target=ENDPOINT, prompt=generate()["prompt"])
    )
    assert count.tokens == whole.usage.prompt_tokens == pieces[-1].usage.prompt_tokens


async def test_generate_same_seed_says_the_same(serving):
    hot = {"temperature": 1.5, "seed": 5, "max_tokens": 20}
    crowd = [answer(serving, sampling={"temperature": 1.0}) for _ in range(10)]
    first, *_ = await asyncio.gather(answer(serving, sampling=hot), *crowd)
    assert (await answer(serving, sampling=hot)).text == first.text
    assert (await answer(serving, sampling=hot | {"seed": 6})).text != first.text


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"sampling": {"temperature": 3}}, "sampling.temperature", "FIELD_INVALID"),
        ({"sampling": {"top_p": 0}}, "sampling.top_p", "FIELD_INVALID"),
        ({"sampling": {"max_tokens": 0}}, "sampling.max_tokens", "FIELD_INVALID"),
        ({"sampling": {"stop": [""]}}, "sampling.stop", "FIELD_INVALID"),
        ({"sampling": {"max_tokens": 600}}, "sampling.max_tokens", "CONTEXT_TOO_LONG"),
        ({"prompt": {}}, "prompt", "FIELD_INVALID"),
        ({"prompt": {"text": "word " * 2000}}, "prompt", "CONTEXT_TOO_LONG"),
        ({"prompt": {"text": "x" * (3 << 20)}}, "prompt", "FIELD_INVALID"),
        ({"prompt": {"messages": [{"role": "robot", "content": "x"}]}}, "prompt.messages[0].role", "FIELD_INVALID"),
    ],
)
async def test_generate_bad_request_names_its_field(serving, fields, field, reason):
    error = await refusal(answer(serving, **fields))
    assert (type(error), error.fields["field"], error.reason) == (InvalidRequest, field, reason)


async def test_generate_while_loading_is_unavailable(world):
    create = deployment_service_pb2.CreateEndpointRequest(parent="projects/default", endpoint_id="chat")
    await world.deployments.CreateEndpoint(create)
    assert isinstance(await refusal(answer(world)), NotFound)
    await world.deploy(gate_waiver=world.waive().name)
    error = await refusal(answer(world))
    assert (type(error), error.reason, error.fields["retry_after_s"]) == (Unavailable, "MODEL_LOADING", "2")


async def test_cancelled_stream_frees_its_slot(serving):
    long = [stream(serving, sampling={"max_tokens": 470}) for _ in range(8)]
    for call in long:
        await call.read()
    for call in long:
        call.cancel()
    async with asyncio.timeout(5):
        assert (await answer(serving)).text


@pytest.mark.slow
async def test_engine_killed_while_answering_ends_streams_and_comes_back(world):
    deployment = await world.ready()
    call = stream(world, sampling={"max_tokens": 470})
    await call.read()
    over_http = await world.openai().completions.create(model="chat", prompt="The", max_tokens=470, stream=True)
    await anext(over_http)
    (engine,) = world.engines()
    os.kill(engine, signal.SIGKILL)
    with pytest.raises(grpc.RpcError) as caught:
        await rest_of(call)
    with pytest.raises(openai.APIError, match="ended and is started again"):
        await rest_of_http(over_http)
    error = from_rpc_error(caught.value)
    assert (type(error), error.fields["retry_after_s"]) == (Unavailable, "2")
    assert (await world.answering()).text
    request = deployment_service_pb2.GetDeploymentRequest(name=deployment.name)
    found = await world.deployments.GetDeployment(request)
    assert (found.state, found.revision) == (READY, deployment.revision + 2)  # LOADING in between
    assert world.engines() != [engine]


async def test_engine_port_count_and_health(tmp_path, model):
    """The adapter on its own: what the service seldom does."""
    from serve_svc.adapters.engine_process import EngineProcesses
    from serve_svc.config import EngineConfig

    engine = await EngineProcesses(EngineConfig(threads=1), tmp_path / "logs").start("x/deployments/d", model, "")
    try:
        assert await engine.responds(20)
        assert await engine.count_tokens(Prompt(text="one two")) > 0
        with pytest.raises(InvalidRequest):
            await engine.count_tokens(Prompt(text=""))
        async with aclosing(engine.generate(Prompt(text="one"), Sampling(max_tokens=400))) as pieces:
            await anext(pieces)
    finally:
        await engine.close()
    assert not await engine.responds(1)
    with pytest.raises(Unavailable):
        await anext(engine.generate(Prompt(text="one"), Sampling()))


@pytest.mark.slow
async def test_engine_dies_with_its_server(tmp_path, model):
    code = (
        "import asyncio, pathlib, sys\n"
        "from serve_svc.adapters.engine_process import EngineProcesses\n"
        "from serve_svc.config import EngineConfig\n"
        "async def main():\n"
        "    engines = EngineProcesses(EngineConfig(threads=1), pathlib.Path(sys.argv[1]))\n"
        "    print((await engines.start('x/y', pathlib.Path(sys.argv[2]), '')).pid, flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    arguments = (sys.executable, "-c", code, str(tmp_path), str(model))
    server = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE)
    engine = int(await server.stdout.readline())
    assert psutil.pid_exists(engine)
    server.kill()
    await server.wait()
    await until(lambda: not psutil.pid_exists(engine) or psutil.Process(engine).status() == psutil.STATUS_ZOMBIE)


async def test_openai_client_unmodified_works(serving):
    client = serving.openai()
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    ask = {"model": "chat", "messages": messages, "temperature": 0, "max_tokens": 12, "seed": 1, "top_p": 0.9}
    whole = await client.chat.completions.create(**ask)
    expected = await answer(serving)
    assert whole.choices[0].message.content == expected.text
    assert (whole.choices[0].finish_reason, whole.usage.completion_tokens) == ("length", 12)

    chunks = [
        chunk
        async for chunk in await client.chat.completions.create(
            **ask | {"model": ENDPOINT}, stream=True, stream_options={"include_usage": True}
        )
    ]
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == expected.text
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "length"
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens
    assert len({chunk.id for chunk in chunks}) == 1

    text = await client.completions.create(model="chat", prompt="The capital", max_tokens=8, temperature=0)
    pieces = await client.completions.create(
        model="chat", prompt="The capital", max_tokens=8, temperature=0, stream=True
    )
    assert "".join([chunk.choices[0].text async for chunk in pieces]) == text.choices[0].text
    stopped = await client.completions.create(
        model="chat", prompt="The capital", max_tokens=8, temperature=0, stop=text.choices[0].text[3:5]
    )
    assert stopped.choices[0].finish_reason == "stop"
    assert text.choices[0].text.startswith(stopped.choices[0].text)

    assert [entry.id for entry in (await client.models.list()).data] == ["chat"]
    assert (await client.models.retrieve("chat")).id == "chat"


async def test_openai_client_errors_are_its_own_classes(serving):
    client = serving.openai()
    ask = {"model": "chat", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 5}
    with pytest.raises(openai.NotFoundError):
        await client.chat.completions.create(**ask | {"model": "nobody"})
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("nobody")
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(**ask, n=99)
    assert caught.value.param == "n"
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(**ask | {"max_tokens": 5000}, stream=True)
    assert caught.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(**ask, temperature=9)
    assert caught.value.param == "temperature"
    with pytest.raises(openai.AuthenticationError):
        await serving.openai(api_key="wrong").chat.completions.create(**ask)
    key = load_key(serving.credentials / "signing.key")
    stranger = mint(key, "eve", roles=["inference"], projects=["other"], lifetime=timedelta(hours=1))
    with pytest.raises(openai.PermissionDeniedError):
        await serving.openai(api_key=stranger).chat.completions.create(**ask | {"model": ENDPOINT})
    assert not (await serving.openai(api_key=stranger).models.list()).data


async def test_http_door_body_limits_and_health(serving):
    async with httpx.AsyncClient(base_url=f"http://{serving.http_address}") as client:
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        assert (await client.get("/v1/models")).status_code == 401
        client.headers["authorization"] = f"Bearer {serving.token}"
        for bad in (b"{", b"[" * 100_000, b'{"model": "chat", "prompt": "\\ud800"}', b"[]", b"\xff"):
            assert (await client.post("/v1/completions", content=bad)).status_code == 400
        assert (await client.post("/v1/completions", content=b" " * (5 << 20))).status_code == 413
        odd = await client.post("/v1/completions", json={"model": "chat", "prompt": "x", "grammar": "y"})
        assert odd.json()["error"]["param"] == "grammar"


async def test_http_client_that_leaves_frees_its_slot(serving):
    ask = {"model": "chat", "prompt": "The capital", "max_tokens": 470, "temperature": 0}
    async with httpx.AsyncClient(base_url=f"http://{serving.http_address}") as client:
        client.headers["authorization"] = f"Bearer {serving.token}"
        for _ in range(10):
            async with client.stream("POST", "/v1/completions", json=ask | {"stream": True}) as response:
                async for line in response.aiter_lines():
                    assert line.startswith("data: ")
                    break
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/v1/completions", json=ask, timeout=0.05)
    async with asyncio.timeout(5):
        assert (await answer(serving)).text
    await until(lambda: not serving.fleet()._num_in_flight)


async def test_feedback_is_joined_with_its_answer(serving):
    said = await answer(serving)
    headers = {"authorization": f"Bearer {serving.token}"}
    async with httpx.AsyncClient(base_url=f"http://{serving.http_address}", headers=headers) as client:
        body = {"response_id": said.response_id, "rating": "down", "edited_answer": "Paris."}
        assert (await client.post("/v1/feedback", json=body)).json()["name"] == "projects/default/feedback/f1"
        assert (await client.post("/v1/feedback", json=body | {"response_id": "r-unknown"})).status_code == 404
        assert (await client.post("/v1/feedback", json=body | {"rating": "meh"})).status_code == 400
    (request,) = serving.data.requests
    record = request.feedback
    assert (record.answer, record.model_version, record.rating) == (
        said.text,
        VERSION,
        feedback_service_pb2.RATING_DOWN,
    )
    assert json.loads(record.prompt_json) == generate()["prompt"]["messages"]
