"""Batch inference over real gRPC with a real engine; where it counts, the service is killed on the way."""

import asyncio
import json
import os
import socket
import subprocess
import sys

import pytest
import pytest_asyncio
from bessemer.api.common.v1 import job_pb2, system_service_pb2, system_service_pb2_grpc
from bessemer.api.data.v1 import artifact_service_pb2
from bessemer.api.serve.v1 import (
    batch_inference_service_pb2,
    batch_inference_service_pb2_grpc,
    deployment_service_pb2_grpc,
    inference_service_pb2_grpc,
)
from bessemer.artifacts.attestation import load_signer, read_statement
from bessemer.artifacts.blobs import Blobs
from bessemer.kernel.errors import FailedPrecondition, InvalidRequest, NotFound
from bessemer.svckit.client import channel

from tests.fixtures.tiny_model import make_tiny_model
from tests.integration.test_serve_svc import ENDPOINT, World, answer, peers_of, refusal, stream, world_in

pytestmark = pytest.mark.asyncio(loop_scope="module")
QUESTIONS = [f"Question number {number}?" for number in range(80)]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def serving(tmp_path_factory):
    home, model = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("models") / "one"
    make_tiny_model(model)
    async with world_in(home, model) as world:
        world.deployment = await world.ready()
        yield world


class Silent(system_service_pb2_grpc.SystemServiceServicer):
    """A peer in whose log nothing ever happens."""

    async def ReadEvents(self, request, context):  # noqa: ARG002, N802
        return system_service_pb2.ReadEventsResponse()


class Spawned(World):
    """The same service in a process of its own, which may be killed."""

    async def start(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        environ = {
            "PATH": os.defpath,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "BESSEMER_HOME": str(self.home),
            "BESSEMER_LISTEN": address,
            "BESSEMER_JWKS_FILE": str(self.credentials / "jwks.json"),
            "BESSEMER_TOKEN_FILE": str(self.credentials / "serve.token"),
            "BESSEMER_THREADS": "1",
            **{f"BESSEMER_PEER_{name.upper()}": peer for name, peer in self._addresses.items()},
        }
        (self.home / "serve").mkdir(exist_ok=True)
        with (self.home / "log").open("ab") as log:
            command = [sys.executable, "-m", "bessemer.svckit", "serve"]
            self.process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)  # noqa: ASYNC220
        self.token = (self.credentials / "token").read_text()
        self._channel = channel(address, token=self.token)
        self.deployments = deployment_service_pb2_grpc.DeploymentServiceStub(self._channel)
        self.inference = inference_service_pb2_grpc.InferenceServiceStub(self._channel)
        await asyncio.wait_for(self._channel.channel_ready(), 60)

    async def stop(self):
        await self._channel.close()
        self.process.kill()
        self.process.wait()


def upload(world, lines, name="projects/default/uploads/u1"):
    text = "".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)
    artifact = Blobs(world.objects, "default").put_bytes(text.encode(), "application/jsonl")
    world.artifacts.uploads[name] = artifact_service_pb2.Upload(name=name, complete=True, artifact=artifact)
    return name


def stub(world):
    return batch_inference_service_pb2_grpc.BatchInferenceServiceStub(world._channel)


async def create(world, lines, **fields):
    job = {"endpoint": ENDPOINT, "upload": upload(world, lines)} | fields
    request = batch_inference_service_pb2.CreateBatchInferenceJobRequest(
        parent="projects/default", batch_inference_job=job
    )
    return await stub(world).CreateBatchInferenceJob(request, timeout=30)


async def get(world, job):
    return await stub(world).GetBatchInferenceJob(
        batch_inference_service_pb2.GetBatchInferenceJobRequest(name=job.name), timeout=30
    )


async def ended(world, job):
    async with asyncio.timeout(120):
        while not job.status.HasField("end_time"):
            await asyncio.sleep(0.1)
            job = await get(world, job)
    return job


def lines_of(world, ref):
    return [json.loads(line) for line in Blobs(world.objects, "default").get_bytes(ref).splitlines()]


def chat(question, **fields):
    return {"messages": [{"role": "user", "content": question}], "temperature": 0, "max_tokens": 6} | fields


async def test_every_request_is_answered_in_its_place_and_the_receipt_says_so(serving):
    under = {"custom_id": "mine", "method": "POST", "url": "/v1/chat/completions", "body": chat("x", model="chat", n=2)}
    lines = [chat(QUESTIONS[0]), under, {"prompt": "It is", "max_tokens": 3, "temperature": 0}, "\n"]
    bad = ["{no json\n", chat("x", model="other"), chat("x", max_tokens=5000), chat("x", stream=True)]
    job = await ended(serving, await create(serving, lines + bad))
    assert job.status.state == job_pb2.JOB_STATE_SUCCEEDED
    assert (job.requests, job.succeeded, job.failed) == (7, 3, 4)
    first, second, third = lines_of(serving, job.output)
    said = await answer(serving, prompt={"messages": chat(QUESTIONS[0])["messages"]}, sampling={"max_tokens": 6})
    assert first["response"]["body"]["choices"][0]["message"]["content"] == said.text
    assert (first["custom_id"], second["custom_id"], third["custom_id"]) == ("0", "mine", "2")
    assert len(second["response"]["body"]["choices"]) == 2
    assert third["response"]["body"]["object"] == "text_completion"
    assert job.prompt_tokens == sum(one["response"]["body"]["usage"]["prompt_tokens"] for one in (first, second, third))
    errors = lines_of(serving, job.errors)
    assert [error["custom_id"] for error in errors] == ["3", "4", "5", "6"]
    assert [error["error"]["param"] for error in errors] == [None, "model", "max_tokens", "stream"]
    assert list(job.model_versions) == [serving.deployment.model_version]
    key = load_signer(serving.home / "credentials" / "artifacts.key").public
    statement = read_statement(job.receipt, key)
    assert statement.subjects == {"output.jsonl": job.output.sha256, "errors.jsonl": job.errors.sha256}
    assert statement.predicate["inputSha256"] == job.input.sha256


async def test_answers_of_batches_are_not_kept_for_feedback(serving):
    job = await ended(serving, await create(serving, [chat("x")]))
    (line,) = lines_of(serving, job.output)
    (inference,) = [one for _, one in serving.process.service.servicers if hasattr(one, "_parts")]
    with pytest.raises(NotFound):
        await inference._inference._answers.project_of(line["response"]["request_id"])


async def test_job_that_cannot_be_is_refused_or_fails_and_says_why(serving):
    assert isinstance(await refusal(create(serving, [chat("x")], endpoint=f"{ENDPOINT}x")), NotFound)
    error = await refusal(create(serving, [chat("x")], endpoint="projects/other/endpoints/chat"))
    assert (type(error), error.fields["field"]) == (InvalidRequest, "batch_inference_job.endpoint")
    job = await create(serving, ["\n"])
    job = await ended(serving, job)
    assert (job.status.state, job.status.failure_kind) == (job_pb2.JOB_STATE_FAILED, job_pb2.FAILURE_KIND_USER)
    assert "empty" in job.status.error.message
    cancel = batch_inference_service_pb2.CancelBatchInferenceJobRequest(name=job.name)
    assert isinstance(await refusal(stub(serving).CancelBatchInferenceJob(cancel)), FailedPrecondition)


async def test_batch_leaves_places_to_live_traffic_and_keeps_what_it_had_when_cancelled(serving):
    calls = [stream(serving, sampling={"temperature": 1, "max_tokens": 300}) for _ in range(4)]
    for call in calls:
        await call.read()
    (runner,) = [one.__self__ for one in serving.process.service.background if hasattr(one.__self__, "_limit")]
    runner._limit, most = 4, 0
    job = await create(serving, [chat(question, max_tokens=100) for question in QUESTIONS])
    for _ in range(20):
        most = max(most, runner._running)
        await asyncio.sleep(0.01)
    assert most <= 1
    for call in calls:
        call.cancel()
    while not (job := await get(serving, job)).succeeded:  # noqa: ASYNC110 - of a service
        await asyncio.sleep(0.05)
    cancel = batch_inference_service_pb2.CancelBatchInferenceJobRequest(name=job.name)
    await stub(serving).CancelBatchInferenceJob(cancel)
    job = await ended(serving, job)
    runner._limit = 16
    assert job.status.state == job_pb2.JOB_STATE_CANCELLED
    assert len(lines_of(serving, job.output)) == job.succeeded


async def test_batch_of_a_killed_service_answers_every_request_once(tmp_path):
    silent = system_service_pb2_grpc.add_SystemServiceServicer_to_server, Silent()
    async with peers_of(silent) as (peers, addresses):
        world = Spawned(tmp_path, peers, addresses)
        world.publish(make_tiny_model(tmp_path / "model"))
        await world.start()
        try:
            await world.ready()
            job = await create(world, [chat(question, max_tokens=20) for question in QUESTIONS])
            async with asyncio.timeout(120):
                while not (job := await get(world, job)).succeeded:  # noqa: ASYNC110 - of another process
                    await asyncio.sleep(0.01)
            assert not job.status.HasField("end_time")
            await world.stop()
            await world.start()
            job = await ended(world, job)
        finally:
            await world.stop()
        assert (job.requests, job.succeeded, job.failed) == (80, 80, 0)
        assert [line["custom_id"] for line in lines_of(world, job.output)] == [str(number) for number in range(80)]
