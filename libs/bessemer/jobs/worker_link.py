"""A worker's connection to the service that launched it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

import grpc
from google.protobuf.message import Message

from bessemer.api.worker.v1 import worker_service_pb2 as pb
from bessemer.api.worker.v1 import worker_service_pb2_grpc
from bessemer.kernel.errors import BessemerError, Conflict, InvalidRequest, NotFound
from bessemer.svckit.client import sync_channel
from bessemer.svckit.config import TlsConfig
from bessemer.svckit.status import from_rpc_error

__all__ = ["LINK_TIMEOUT_S", "Link", "is_fenced", "is_refused"]

LINK_TIMEOUT_S = 10.0
Request: TypeAlias = pb.AcquireTaskRequest | pb.HeartbeatRequest | pb.ReportAttemptRequest
R = TypeVar("R", bound=Message)


@dataclass(frozen=True)
class _Open:
    channel: grpc.Channel
    stub: worker_service_pb2_grpc.WorkerServiceStub


class Link:
    """Calls the service; connects anew after a failure, as gRPC's own back-off would outlast the lease."""

    def __init__(self, address: str, token_file: Path | None, tls: TlsConfig | None = None) -> None:
        self._address = address
        self._token = token_file or ""
        self._tls = tls
        self._lock = threading.Lock()
        self._open: _Open | None = None

    def acquire(self, request: pb.AcquireTaskRequest) -> pb.AcquireTaskResponse:
        """Claim a task."""
        current = self._connect()
        try:
            return current.stub.AcquireTask(request, timeout=LINK_TIMEOUT_S)
        except grpc.RpcError as error:
            raise self._failed(current, error) from error

    def beat(self, request: pb.HeartbeatRequest) -> pb.HeartbeatResponse:
        """Renew the lease."""
        current = self._connect()
        try:
            return current.stub.Heartbeat(request, timeout=LINK_TIMEOUT_S)
        except grpc.RpcError as error:
            raise self._failed(current, error) from error

    def report(self, request: pb.ReportAttemptRequest) -> None:
        """End the attempt; verification of its files takes a while."""
        current = self._connect()
        try:
            current.stub.ReportAttempt(request, timeout=6 * LINK_TIMEOUT_S)
        except grpc.RpcError as error:
            raise self._failed(current, error) from error

    def close(self) -> None:
        """Disconnect."""
        with self._lock:
            if self._open is not None:
                self._open.channel.close()
                self._open = None

    def _connect(self) -> _Open:
        with self._lock:
            if self._open is None:
                channel = sync_channel(self._address, token=self._token, tls=self._tls)
                self._open = _Open(channel, worker_service_pb2_grpc.WorkerServiceStub(channel))
            return self._open

    def _failed(self, current: _Open, error: grpc.RpcError) -> BessemerError:
        mapped = from_rpc_error(error)
        if not is_fenced(mapped) and not is_refused(mapped):
            with self._lock:
                if self._open is current:
                    self._open = None
            current.channel.close()
        return mapped


def is_fenced(error: BessemerError) -> bool:
    """Return whether an answer means that this worker must stop."""
    return isinstance(error, NotFound) or (isinstance(error, Conflict) and error.reason == "STALE_LEASE")


def is_refused(error: BessemerError) -> bool:
    """Return whether the same call would be refused again."""
    return isinstance(error, InvalidRequest)
