"""`python -m serve_svc.engine.tensors FD`: run one ONNX model over the inherited socket until the server goes away."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnxruntime
from bessemer.kernel.errors import BessemerError, FailedPrecondition, InvalidRequest
from bessemer.kernel.processes import die_with_parent

from serve_svc.engine.tensor_protocol import HEAD, Tensor, failure, frame, pack, unpack

__all__ = ["Model", "main"]

# Types by ONNX Runtime's names and by numpy's.
_TYPES = {
    "tensor(bool)": ("BOOL", np.bool_),
    "tensor(int8)": ("INT8", np.int8),
    "tensor(int16)": ("INT16", np.int16),
    "tensor(int32)": ("INT32", np.int32),
    "tensor(int64)": ("INT64", np.int64),
    "tensor(uint8)": ("UINT8", np.uint8),
    "tensor(uint16)": ("UINT16", np.uint16),
    "tensor(uint32)": ("UINT32", np.uint32),
    "tensor(uint64)": ("UINT64", np.uint64),
    "tensor(float16)": ("FP16", np.float16),
    "tensor(float)": ("FP32", np.float32),
    "tensor(double)": ("FP64", np.float64),
}
_NUMPY = dict(_TYPES.values())
_NAMES = {np.dtype(kind): name for name, kind in _TYPES.values()}


class Model:
    """A session of ONNX Runtime."""

    def __init__(self, folder: Path, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        try:
            self._session = onnxruntime.InferenceSession(folder / "model.onnx", options, ["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001 - it has a class of its own for each of its error codes
            raise FailedPrecondition(
                f"ONNX Runtime does not load the model: {error}", reason="SOURCE_INVALID"
            ) from None
        self.inputs, self.outputs = map(_specs, (self._session.get_inputs(), self._session.get_outputs()))

    def run(self, tensors: list[Tensor], wanted: list[str]) -> list[Tensor]:
        """Return the tensors that are wanted, or all.

        Raises: InvalidRequest for names, types and shapes that the model does not have.
        """
        given = {spec["name"]: spec["datatype"] for spec in self.inputs}
        for tensor in tensors:
            if given.get(tensor.name) != tensor.datatype:
                known = ", ".join(f"{name} {kind}" for name, kind in list(given.items())[:20])
                text = f"the model has no input {tensor.name[:80]!r} of {tensor.datatype}; it has {known}"
                raise InvalidRequest(text, field="inputs")
        names = wanted or [spec["name"] for spec in self.outputs]
        feeds: dict[str, Any] = {t.name: np.frombuffer(t.data, _NUMPY[t.datatype]).reshape(t.shape) for t in tensors}
        try:
            values = self._session.run(names, feeds)
        except Exception as error:  # noqa: BLE001 - of the runtime, and always about what was asked
            raise InvalidRequest(f"ONNX Runtime: {str(error)[:500]}", field="inputs") from None
        arrays = [np.ascontiguousarray(value) for value in values]
        return [Tensor(n, _NAMES[a.dtype], a.shape, a.tobytes()) for n, a in zip(names, arrays, strict=True)]


def main(fd: int) -> None:
    """Load, say so, then answer until the other end of the socket closes."""
    die_with_parent()
    connection = socket.socket(fileno=fd)
    lines = connection.makefile("rb")
    load = _read(lines)
    if load is None:
        return
    try:
        model = Model(Path(load[0]["folder"]), load[0]["threads"])
    except BessemerError as error:
        connection.sendall(frame({"error": failure(error)}))
        return
    connection.sendall(frame({"inputs": model.inputs, "outputs": model.outputs}))
    while (asked := _read(lines)) is not None:
        header, body = asked
        try:
            specs, data = pack(model.run(unpack(header["tensors"], body), header["wanted"]))
            connection.sendall(frame({"id": header["id"], "tensors": specs}, data))
        except BessemerError as error:
            connection.sendall(frame({"id": header["id"], "error": failure(error)}))


def _read(lines: BinaryIO) -> tuple[Mapping[str, Any], bytes] | None:
    head = lines.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    header, body = HEAD.unpack(head)
    return json.loads(lines.read(header)), lines.read(body)


def _specs(nodes: Any) -> list[dict[str, Any]]:
    unknown = [node.type for node in nodes if node.type not in _TYPES]
    if unknown:
        raise FailedPrecondition(f"models with {unknown[0]} are not served", reason="NOT_SUPPORTED")
    return [
        {
            "name": node.name,
            "datatype": _TYPES[node.type][0],
            "shape": [size if isinstance(size, int) else -1 for size in node.shape],
        }
        for node in nodes
    ]


if __name__ == "__main__":
    main(int(sys.argv[1]))
