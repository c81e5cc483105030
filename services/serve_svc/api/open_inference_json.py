"""The Open Inference Protocol over HTTP, with elements as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from bessemer.api.inference.v1 import open_inference_pb2 as api
from bessemer.kernel.errors import InvalidRequest

from serve_svc.api.open_inference import ELEMENTS, PLATFORM
from serve_svc.engine.tensor_protocol import Spec, Tensor

__all__ = ["metadata_json", "read_infer", "response_json"]


def read_infer(body: object) -> api.ModelInferRequest:
    """Return the request that a body describes; its model is set later.

    Raises: InvalidRequest naming what is wrong.
    """
    if not isinstance(body, dict) or not isinstance(body.get("inputs"), list):
        raise InvalidRequest("the body must be a JSON object with a list of inputs", field="inputs")
    request = api.ModelInferRequest(id=str(body.get("id", "")))
    for given in body["inputs"]:
        if not isinstance(given, dict) or given.get("datatype") not in ELEMENTS:
            text = f"an input has name, shape, data and a datatype of {', '.join(ELEMENTS)}"
            raise InvalidRequest(text, field="inputs")
        field, kind = ELEMENTS[given["datatype"]]
        try:
            tensor = request.inputs.add(
                name=str(given["name"]), datatype=given["datatype"], shape=[int(size) for size in given["shape"]]
            )
            getattr(tensor.contents, field).extend(np.array(given["data"]).astype(kind).ravel().tolist())
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            name = str(given.get("name"))[:80]
            raise InvalidRequest(
                f"input {name!r} has no numbers of {given['datatype']}: {error}", field="inputs"
            ) from None
    for wanted in body.get("outputs") or []:
        request.outputs.add(name=str(wanted.get("name", "")) if isinstance(wanted, dict) else str(wanted))
    return request


def response_json(model: str, version: str, request_id: str, tensors: Sequence[Tensor]) -> dict[str, Any]:
    """Return the body of an answer."""
    outputs = [
        {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": list(tensor.shape),
            "data": np.frombuffer(tensor.data, _kind(tensor.datatype)).tolist(),
        }
        for tensor in tensors
    ]
    return {"model_name": model, "model_version": version, "id": request_id, "outputs": outputs}


def metadata_json(model: str, version: str, inputs: Sequence[Spec], outputs: Sequence[Spec]) -> dict[str, Any]:
    """Return what a model takes and gives."""
    sides = {"inputs": inputs, "outputs": outputs}
    specs = {
        side: [{"name": s.name, "datatype": s.datatype, "shape": list(s.shape)} for s in specs]
        for side, specs in sides.items()
    }
    return {"name": model, "versions": [version], "platform": PLATFORM, **specs}


def _kind(datatype: str) -> str:
    return "<f2" if datatype == "FP16" else ELEMENTS[datatype][1]
