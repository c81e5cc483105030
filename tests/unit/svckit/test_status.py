from __future__ import annotations

import inspect

import grpc
import pytest
from bessemer.api.common.v1.error_reason_pb2 import ErrorReason
from bessemer.kernel import errors
from bessemer.kernel.errors import BessemerError, InvalidRequest, Unavailable
from bessemer.svckit.status import from_rpc_error, from_status, retry_after_ms, to_status
from google.rpc import error_details_pb2

CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, BessemerError)]


@pytest.mark.parametrize("cls", CLASSES)
def test_error_survives_the_wire(cls):
    back = from_status(to_status(cls("what is wrong", resource="projects/p")))
    assert type(back) is (errors.Internal if cls is BessemerError else cls)
    assert (back.message, back.fields) == ("what is wrong", {"resource": "projects/p"})
    assert back.reason == cls.default_reason


@pytest.mark.parametrize("cls", CLASSES)
def test_error_has_a_code_and_a_documented_reason(cls):
    assert cls.code in grpc.StatusCode.__members__
    assert ErrorReason.Value(f"ERROR_REASON_{cls.default_reason}") > 0


@pytest.mark.parametrize("text", ["a" * 100_000, "ü" * 100_000, "\U0001f525" * 5_000, ""])
def test_long_error_is_cut_to_4_kib(text):
    fields = {f"field_{number}": text for number in range(100)}
    status = to_status(InvalidRequest(text, field=text, **fields))
    assert status.ByteSize() * 4 / 3 + len(grpc.StatusCode.OK.name) < 4096
    assert from_status(status).reason == "FIELD_INVALID"


def test_retry_time_becomes_retry_info():
    error = Unavailable("busy", retry_after_s=1.25)
    info = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(info) for detail in to_status(error).details)
    assert (info.retry_delay.seconds, info.retry_delay.nanos) == (1, 250_000_000)
    assert retry_after_ms(error) == 1250
    assert retry_after_ms(Unavailable("busy")) is None
    assert retry_after_ms(Unavailable("busy", retry_after_s="nan")) is None


def test_status_of_another_domain_keeps_its_code_only():
    status = to_status(InvalidRequest("bad"))
    status.details[0].Pack(error_details_pb2.ErrorInfo(reason="OTHER", domain="elsewhere"))
    assert from_status(status).reason == "FIELD_INVALID"


class _Failed(grpc.RpcError):
    def __init__(self, code):
        self._code = code

    def code(self):
        return self._code

    def details(self):
        return "why"

    def trailing_metadata(self):
        return None


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_failed_call_without_details_becomes_an_error_of_its_code(code):
    error = from_rpc_error(_Failed(code))
    expected = {"CANCELLED": "UNAVAILABLE", "UNKNOWN": "INTERNAL", "UNIMPLEMENTED": "FAILED_PRECONDITION"}
    assert error.code == expected.get(code.name, code.name)
    assert "why" in error.message
