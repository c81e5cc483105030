"""The events of a peer, asked for by sequence."""

from __future__ import annotations

import grpc

from bessemer.api.common.v1.system_service_pb2 import EventRecord, ReadEventsRequest
from bessemer.api.common.v1.system_service_pb2_grpc import SystemServiceStub
from bessemer.svckit.status import from_rpc_error

__all__ = ["PeerEvents"]


class PeerEvents:
    """The log of one service."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = SystemServiceStub(channel)

    async def read(self, after: int) -> list[EventRecord]:
        """Return a page of events past a sequence number.

        Raises: Unavailable, Expired.
        """
        try:
            page = await self._stub.ReadEvents(ReadEventsRequest(after_sequence=after))
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        return list(page.events)
