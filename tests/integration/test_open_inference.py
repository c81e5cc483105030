"""Tensors over the Open Inference Protocol: an export to ONNX behind an endpoint, by a real ONNX Runtime process."""

import os
import signal

import httpx
import numpy as np
import pytest
import pytest_asyncio
import torch
from bessemer.api.inference.v1 import open_inference_pb2 as api
from bessemer.api.inference.v1.open_inference_pb2_grpc import GRPCInferenceServiceStub
from bessemer.api.serve.v1 import deployment_service_pb2
from bessemer.api.train.v1.model_pb2 import ExportTask, ModelJob
from bessemer.artifacts.blobs import Blobs
from bessemer.kernel.errors import InvalidRequest, NotFound, Unimplemented
from bessemer.modeling.load import load_model
from train_svc.worker.archive import pack_folder
from train_svc.worker.exports.onnx_file import write_onnx

from tests.fixtures.tiny_model import make_tiny_model
from tests.integration.test_serve_svc import VERSION, answer, refusal, until, world_in

pytestmark = pytest.mark.asyncio(loop_scope="module")
TENSORS = "projects/default/endpoints/tensors"
JOB = "projects/default/modelJobs/export"
IDS = [5, 17, 3, 40]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def serving(tmp_path_factory):
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("models")
    model = make_tiny_model(folder / "one")
    (folder / "onnx").mkdir()
    write_onnx(model, folder / "onnx" / "model.onnx", "fp32", {"name": "tiny"})
    async with world_in(home, model) as world:
        archive = Blobs(world.objects, "default").put_file(pack_folder(folder / "onnx", folder / "m.tar"), "x/tar")
        export = ExportTask(model_version=VERSION, format="onnx", precision="fp32")
        world.train.jobs[JOB] = ModelJob(name=JOB, export=export, archive=archive)
        create = deployment_service_pb2.CreateEndpointRequest(parent="projects/default", endpoint_id="tensors")
        await world.deployments.CreateEndpoint(create)
        made = await deploy(world)
        world.deployment, world.model = await world.wait(made.name), load_model(model)
        world.tensors = GRPCInferenceServiceStub(world._channel)
        yield world


async def deploy(world, **fields):
    fields = {"export_job": JOB, "gate_decision": "projects/default/gateDecisions/v1"} | fields
    return await world.deploy(endpoint=TENSORS, **fields)


def feeds(metadata):
    """Return the inputs of a prompt without a past, by name."""
    found = {
        "input_ids": np.array([IDS], np.int64),
        "position_ids": np.arange(len(IDS), dtype=np.int64)[None],
        "attention_mask": np.ones((1, len(IDS)), np.int64),
    }
    for spec in metadata.inputs:
        if spec.name.startswith("past_key_values."):
            found[spec.name] = np.zeros((1, spec.shape[1], 0, spec.shape[3]), np.float32)
    return found


def request_of(arrays, **fields):
    inputs = [
        api.ModelInferRequest.InferInputTensor(
            name=name, datatype="INT64" if array.dtype == np.int64 else "FP32", shape=array.shape
        )
        for name, array in arrays.items()
    ]
    fields = {"raw_input_contents": [array.tobytes() for array in arrays.values()]} | fields
    return api.ModelInferRequest(model_name=TENSORS, id="mine", inputs=inputs, **fields)


@torch.inference_mode()
def logits(model):
    return model.logits(model(torch.tensor(IDS), torch.arange(len(IDS)), [len(IDS)])).numpy()


async def test_logits_over_grpc_are_those_of_the_model(serving):
    assert (serving.deployment.engine, serving.deployment.export_job) == ("onnxruntime", JOB)
    assert (await serving.tensors.ServerLive(api.ServerLiveRequest())).live
    assert (await serving.tensors.ServerReady(api.ServerReadyRequest())).ready
    assert (await serving.tensors.ModelReady(api.ModelReadyRequest(name=TENSORS))).ready
    metadata = await serving.tensors.ModelMetadata(api.ModelMetadataRequest(name=TENSORS))
    assert (metadata.platform, list(metadata.versions)) == ("onnxruntime_onnx", [VERSION])
    assert ("input_ids", "INT64", [-1, -1]) in [(one.name, one.datatype, list(one.shape)) for one in metadata.inputs]
    wanted = [api.ModelInferRequest.InferRequestedOutputTensor(name="logits")]
    said = await serving.tensors.ModelInfer(request_of(feeds(metadata), outputs=wanted))
    assert (said.id, said.model_version, [one.name for one in said.outputs]) == ("mine", VERSION, ["logits"])
    found = np.frombuffer(said.raw_output_contents[0], np.float32).reshape(said.outputs[0].shape)
    np.testing.assert_allclose(found[0], logits(serving.model), atol=1e-4)
    request = request_of(feeds(metadata), outputs=wanted, raw_input_contents=[])
    for tensor, array in zip(request.inputs, feeds(metadata).values(), strict=True):
        field = tensor.contents.int64_contents if tensor.datatype == "INT64" else tensor.contents.fp32_contents
        field.extend(array.ravel().tolist())
    again = await serving.tensors.ModelInfer(request)
    assert again.raw_output_contents == said.raw_output_contents


async def test_logits_over_http_are_those_of_the_model(serving):
    base = f"http://{serving.http_address}/v2"
    headers = {"authorization": f"Bearer {serving.token}"}
    async with httpx.AsyncClient(headers=headers) as client:
        assert (await client.get(f"{base}/health/live")).status_code == 200
        assert (await client.get(f"{base}/models/tensors/ready")).json() == {"ready": True}
        metadata = (await client.get(f"{base}/models/{TENSORS}")).json()
        assert metadata["inputs"][0]["name"] == "input_ids"
        arrays = feeds(await serving.tensors.ModelMetadata(api.ModelMetadataRequest(name=TENSORS)))
        inputs = [
            {"name": n, "shape": a.shape, "datatype": "INT64" if a.dtype == np.int64 else "FP32", "data": a.tolist()}
            for n, a in arrays.items()
        ]
        body = {"id": "x", "inputs": inputs, "outputs": [{"name": "logits"}]}
        said = (await client.post(f"{base}/models/tensors/infer", json=body)).json()
        (output,) = said["outputs"]
        values = np.array(output["data"]).reshape(output["shape"])[0]
        np.testing.assert_allclose(values, logits(serving.model), atol=1e-4)
        bad = [{"name": "input_ids", "shape": [1, 1], "datatype": "INT64", "data": ["word"]}]
        refused = await client.post(f"{base}/models/tensors/infer", json={"inputs": bad})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "inputs")
        assert (await client.get(f"{base}/models/nobody/ready")).status_code == 404
        client.headers.pop("authorization")
        assert (await client.get(f"{base}/models/tensors")).status_code == 401


async def test_tensors_that_do_not_fit_and_prompts_are_refused(serving):
    arrays = feeds(await serving.tensors.ModelMetadata(api.ModelMetadataRequest(name=TENSORS)))
    short = [array.tobytes() for array in arrays.values()]
    short[0] = short[0][:-1]
    for request, words in (
        (request_of(arrays, raw_input_contents=short), "bytes"),
        (request_of(arrays, raw_input_contents=short[1:]), "or none"),
        (request_of(arrays | {"nobody": np.zeros(1, np.float32)}), "no input"),
        (request_of({"input_ids": arrays["input_ids"]}), "ONNX Runtime"),
    ):
        error = await refusal(serving.tensors.ModelInfer(request))
        assert isinstance(error, InvalidRequest)
        assert words in error.message
    assert isinstance(await refusal(answer(serving, target=TENSORS)), Unimplemented)
    assert isinstance(await refusal(deploy(serving, export_job="projects/default/modelJobs/none")), NotFound)
    serving.train.jobs[f"{JOB}2"] = ModelJob(name=f"{JOB}2", export=ExportTask(format="gguf"))
    assert (await refusal(deploy(serving, export_job=f"{JOB}2"))).fields["field"] == "export_job"


async def test_killed_runtime_comes_back(serving):
    fleet = serving.fleet()
    (pid,) = serving.engines()
    os.kill(pid, signal.SIGKILL)
    await until(lambda: fleet.has(serving.deployment.name) and serving.engines() != [pid])
    assert (await serving.tensors.ModelReady(api.ModelReadyRequest(name=TENSORS))).ready
