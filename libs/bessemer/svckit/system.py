"""What every service says about itself, and its events by sequence."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from typing import Any

import grpc.aio

from bessemer.api.common.v1 import system_service_pb2, system_service_pb2_grpc
from bessemer.svckit.methods import contract_sha256
from bessemer.svckit.store import Store

__all__ = ["SystemApi", "version"]

_EVENTS = 256


def version() -> str:
    """Return the version of the suite."""
    return metadata.version("bessemer")


class SystemApi(system_service_pb2_grpc.SystemServiceServicer):
    """Serves `SystemService` for any service."""

    def __init__(self, service: str, store: Store, capabilities: Sequence[str] = ()) -> None:
        self._service = service
        self._store = store
        self._capabilities = capabilities

    async def GetSystemInfo(  # noqa: N802 (the contract's spelling)
        self,
        request: system_service_pb2.GetSystemInfoRequest,  # noqa: ARG002
        context: grpc.aio.ServicerContext[Any, Any],  # noqa: ARG002
    ) -> system_service_pb2.SystemInfo:
        """Say what this server is."""
        return system_service_pb2.SystemInfo(
            service=self._service,
            version=version(),
            contract_sha256=contract_sha256(),
            capabilities=self._capabilities,
        )

    async def ReadEvents(  # noqa: N802
        self,
        request: system_service_pb2.ReadEventsRequest,
        context: grpc.aio.ServicerContext[Any, Any],  # noqa: ARG002
    ) -> system_service_pb2.ReadEventsResponse:
        """Return the events after a sequence number, oldest first."""
        limit = request.page_size or _EVENTS
        events, head = await self._store.read(lambda tx: (tx.changes(request.after_sequence, limit=limit), tx.head()))
        return system_service_pb2.ReadEventsResponse(events=events, head_sequence=head)
