"""The Open Inference Protocol over gRPC: tensors in, tensors out."""
# ruff: noqa: ARG002, N802 - methods are named and shaped by the contract

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from bessemer.api.inference.v1 import open_inference_pb2 as api
from bessemer.api.inference.v1.open_inference_pb2_grpc import GRPCInferenceServiceServicer
from bessemer.kernel.errors import InvalidRequest
from bessemer.svckit.store import Store

from serve_svc.app.inference import Inference
from serve_svc.engine.tensor_protocol import Spec, Tensor

__all__ = ["ELEMENTS", "PLATFORM", "OpenInferenceApi", "read_tensors"]

PLATFORM = "onnxruntime_onnx"
# Where elements of a type lie when they are not raw, and what they are to numpy.
ELEMENTS = {
    "BOOL": ("bool_contents", "?"),
    "INT8": ("int_contents", "<i1"),
    "INT16": ("int_contents", "<i2"),
    "INT32": ("int_contents", "<i4"),
    "INT64": ("int64_contents", "<i8"),
    "UINT8": ("uint_contents", "<u1"),
    "UINT16": ("uint_contents", "<u2"),
    "UINT32": ("uint_contents", "<u4"),
    "UINT64": ("uint64_contents", "<u8"),
    "FP32": ("fp32_contents", "<f4"),
    "FP64": ("fp64_contents", "<f8"),
}
assert sys.byteorder == "little"  # raw contents are handed on as they come


class OpenInferenceApi(GRPCInferenceServiceServicer):
    """Tensors over gRPC."""

    def __init__(self, store: Store, inference: Inference) -> None:
        self._store = store
        self._inference = inference

    async def ServerLive(self, request: api.ServerLiveRequest, context: Any) -> api.ServerLiveResponse:
        """Tell that the server lives."""
        return api.ServerLiveResponse(live=True)

    async def ServerReady(self, request: api.ServerReadyRequest, context: Any) -> api.ServerReadyResponse:
        """Tell whether the server takes requests."""
        return api.ServerReadyResponse(ready=not self._store.draining)

    async def ModelReady(self, request: api.ModelReadyRequest, context: Any) -> api.ModelReadyResponse:
        """Tell whether a model answers."""
        return api.ModelReadyResponse(ready=await self._inference.is_ready(request.name))

    async def ModelMetadata(self, request: api.ModelMetadataRequest, context: Any) -> api.ModelMetadataResponse:
        """Tell what a model takes and gives."""
        inputs, outputs, version = await self._inference.tensors(request.name)
        return api.ModelMetadataResponse(
            name=request.name, versions=[version], platform=PLATFORM, inputs=_specs(inputs), outputs=_specs(outputs)
        )

    async def ModelInfer(self, request: api.ModelInferRequest, context: Any) -> api.ModelInferResponse:
        """Compute tensors of tensors."""
        wanted = [output.name for output in request.outputs]
        found, version = await self._inference.infer(request.model_name, read_tensors(request), wanted)
        return api.ModelInferResponse(
            model_name=request.model_name,
            model_version=version,
            id=request.id,
            outputs=[
                api.ModelInferResponse.InferOutputTensor(name=t.name, datatype=t.datatype, shape=t.shape) for t in found
            ],
            raw_output_contents=[tensor.data for tensor in found],
        )


def read_tensors(request: api.ModelInferRequest) -> list[Tensor]:
    """Return the tensors of a request.

    Raises: InvalidRequest for types, shapes and contents that contradict each other.
    """
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        text = f"raw_input_contents must hold all {len(request.inputs)} inputs or none; got {len(raw)}"
        raise InvalidRequest(text, field="raw_input_contents")
    tensors = []
    for number, given in enumerate(request.inputs):
        data = raw[number] if raw else _elements(given)
        tensor = Tensor(given.name, given.datatype, tuple(given.shape), data)
        tensor.check()
        tensors.append(tensor)
    return tensors


def _elements(given: api.ModelInferRequest.InferInputTensor) -> bytes:
    if given.datatype not in ELEMENTS:
        text = f"elements of {given.datatype[:20]!r} have to be raw, or are not served"
        raise InvalidRequest(text, field="inputs.datatype")
    field, kind = ELEMENTS[given.datatype]
    try:
        return np.array(getattr(given.contents, field), kind).tobytes()
    except OverflowError as error:
        raise InvalidRequest(f"{given.name[:80]}: {error}", field="inputs.contents") from None


def _specs(specs: Sequence[Spec]) -> list[api.ModelMetadataResponse.TensorMetadata]:
    return [
        api.ModelMetadataResponse.TensorMetadata(name=one.name, datatype=one.datatype, shape=one.shape) for one in specs
    ]
