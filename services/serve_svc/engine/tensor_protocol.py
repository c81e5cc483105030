"""What the server and an engine for tensors say to each other: frames of a JSON header and bytes.

A frame is the length of its header and of its body, 32 bits each, little endian, then both. First the server sends
`{"folder", "threads"}` and hears `{"inputs", "outputs"}` of the model or `{"error"}`; then each request `{"id",
"tensors", "wanted"}` is answered by `{"id", "tensors"}` or `{"id", "error"}`. Bodies are the elements of all tensors
one after the other. Standard library only, because the server imports it too.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bessemer.kernel.errors import BessemerError, InvalidRequest, error_class

__all__ = ["HEAD", "SIZES", "Spec", "Tensor", "error_of", "failure", "frame", "pack", "unpack"]

HEAD = struct.Struct("<II")
# Bytes of an element by the protocol's names of types; texts have no size and are not served.
SIZES: Mapping[str, int] = {
    "BOOL": 1,
    "INT8": 1,
    "INT16": 2,
    "INT32": 4,
    "INT64": 8,
    "UINT8": 1,
    "UINT16": 2,
    "UINT32": 4,
    "UINT64": 8,
    "FP16": 2,
    "FP32": 4,
    "FP64": 8,
}


@dataclass(frozen=True, slots=True)
class Spec:
    """Name, type and shape of a tensor; sizes of -1 may vary."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor; `data` holds its elements row by row, little endian."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes

    def check(self) -> None:
        """Raise InvalidRequest if type, shape and number of bytes contradict each other."""
        if self.datatype not in SIZES:
            text = f"tensor {self.name[:80]!r} is {self.datatype[:20]!r}; types are {', '.join(SIZES)}"
            raise InvalidRequest(text, field="inputs.datatype")
        wanted = math.prod(self.shape) * SIZES[self.datatype]
        if min(self.shape, default=0) < 0 or len(self.data) != wanted:
            text = f"tensor {self.name[:80]!r} of shape {list(self.shape)} has {len(self.data)} bytes, not {wanted}"
            raise InvalidRequest(text, field="inputs.contents")


def frame(header: Mapping[str, Any], body: bytes = b"") -> bytes:
    """Return a frame."""
    text = json.dumps(header, separators=(",", ":")).encode()
    return HEAD.pack(len(text), len(body)) + text + body


def pack(tensors: Sequence[Tensor]) -> tuple[list[dict[str, Any]], bytes]:
    """Return what a header says of tensors, and the body."""
    specs = [{"name": t.name, "datatype": t.datatype, "shape": list(t.shape)} for t in tensors]
    return specs, b"".join(tensor.data for tensor in tensors)


def unpack(specs: Sequence[Mapping[str, Any]], body: bytes) -> list[Tensor]:
    """Return the tensors of a frame."""
    tensors, at = list[Tensor](), 0
    for spec in specs:
        size = math.prod(spec["shape"]) * SIZES[spec["datatype"]]
        tensors.append(Tensor(spec["name"], spec["datatype"], tuple(spec["shape"]), body[at : at + size]))
        at += size
    return tensors


def failure(error: BessemerError) -> dict[str, Any]:
    """Return what a header says of an error."""
    return {"code": error.code, "reason": error.reason, "message": error.message, "fields": error.fields}


def error_of(told: Mapping[str, Any]) -> BessemerError:
    """Return the error to raise on the other side."""
    return error_class(told["code"])(told["message"], reason=told["reason"], **told["fields"])
