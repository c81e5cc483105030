"""Errors on the wire: the kernel's tree to `google.rpc.Status` and back.

Source: AIP-193; gRPC metadata is refused at random above 8 KiB, so that everything an error says fits into 4 KiB.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import grpc
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2, status_pb2

from bessemer.kernel.errors import BessemerError, FailedPrecondition, Internal, Unavailable, error_class

__all__ = ["DETAILS_KEY", "DOMAIN", "from_rpc_error", "from_status", "retry_after_ms", "to_status"]

DOMAIN = "bessemer"
_SIZE_MAX = 4_096
_FIELD_MAX = 256
DETAILS_KEY = "grpc-status-details-bin"
_CODES: dict[str, int] = {code.name: code.value[0] for code in grpc.StatusCode}
_NAMES: dict[int, str] = {number: name for name, number in _CODES.items()}


def to_status(error: BessemerError) -> status_pb2.Status:
    """Return the error as clients get it, cut down to 4 KiB on the wire."""
    length = 1_000
    status = _build(error, length)
    while _size_on_wire(status) > _SIZE_MAX and length > 1:
        length //= 2
        status = _build(error, length)
    return status


def retry_after_ms(error: BessemerError) -> int | None:
    """Return the milliseconds after which to retry, from the error's field `retry_after_s`; None if it has none."""
    try:
        return int(float(error.fields["retry_after_s"]) * 1_000)
    except (KeyError, ValueError, OverflowError):
        return None


def from_status(status: status_pb2.Status) -> BessemerError:
    """Return the error that a status describes; `Internal` for what nobody knows."""
    cls, reason, fields = error_class(_NAMES.get(status.code, "")), None, dict[str, str]()
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Is(info.DESCRIPTOR) and detail.Unpack(info) and info.domain == DOMAIN:
            reason, fields = info.reason, dict(info.metadata)
    return cls(status.message, reason=reason, **fields)


def from_rpc_error(error: grpc.RpcError) -> BessemerError:
    """Return the error of a failed call; without details from us the gRPC code alone decides its class."""
    code: grpc.StatusCode = error.code()
    text = str(error.details() or "")
    metadata: Any = error.trailing_metadata()
    for key, value in metadata or ():
        if key == DETAILS_KEY:
            status = status_pb2.Status()
            status.ParseFromString(value if isinstance(value, bytes) else value.encode())
            return from_status(status)
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return FailedPrecondition(f"the server does not know this method; update it ({text})")
    if code is grpc.StatusCode.CANCELLED:
        return Unavailable(f"the call was cancelled: {text}")
    cls = error_class(code.name)
    return cls(f"{code.name}: {text}" if cls is Internal else text)


def _build(error: BessemerError, length: int) -> status_pb2.Status:
    message = _cut(error.message, length)
    status = status_pb2.Status(code=_CODES[error.code], message=message)
    limit = min(_FIELD_MAX, length)
    fields = {key: _cut(value, limit) for key, value in list(error.fields.items())[: max(1, length // 50)]}
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=fields))
    if "field" in fields:
        violation = error_details_pb2.BadRequest.FieldViolation(field=fields["field"], reason=error.reason)
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    if (delay_ms := retry_after_ms(error)) is not None:
        delay = duration_pb2.Duration(seconds=delay_ms // 1_000, nanos=delay_ms % 1_000 * 1_000_000)
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return status


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _size_on_wire(status: status_pb2.Status) -> int:
    return len(quote(status.message)) + len(status.SerializeToString()) * 4 // 3
