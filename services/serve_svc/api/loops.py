"""LoopService."""
# ruff: noqa: ARG002, N802 - methods are named and shaped by the contract

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from bessemer.api.serve.v1 import loop_service_pb2 as api
from bessemer.api.serve.v1.loop_pb2 import Loop
from bessemer.api.serve.v1.loop_service_pb2_grpc import LoopServiceServicer
from bessemer.svckit.store import Store
from bessemer.svckit.watch import watch

from serve_svc.app.loops import Loops, is_over

__all__ = ["LoopApi"]


class LoopApi(LoopServiceServicer):
    """Loops over gRPC."""

    def __init__(self, store: Store, loops: Loops) -> None:
        self._store = store
        self._loops = loops

    async def CreateLoop(self, request: api.CreateLoopRequest, context: Any) -> Loop:
        """Create a loop."""
        return await self._loops.create(request)

    async def GetLoop(self, request: api.GetLoopRequest, context: Any) -> Loop:
        """Get a loop."""
        return await self._store.read(lambda tx: tx.get(request.name, Loop))

    async def ListLoops(self, request: api.ListLoopsRequest, context: Any) -> api.ListLoopsResponse:
        """List the loops of an endpoint."""
        return await self._loops.list(request)

    async def StopLoop(self, request: api.StopLoopRequest, context: Any) -> Loop:
        """Stop a loop."""
        return await self._loops.stop(request.name)

    async def ResumeLoop(self, request: api.ResumeLoopRequest, context: Any) -> Loop:
        """Let a loop go on."""
        return await self._loops.resume(request.name)

    async def WatchLoop(self, request: api.WatchLoopRequest, context: Any) -> AsyncIterator[api.WatchLoopResponse]:
        """Follow a loop until it does not run any more."""
        steps = watch(self._store, request.name, Loop, request.resume_token, terminal=is_over)
        async for event, loop, token in steps:
            yield api.WatchLoopResponse(event=event, loop=loop, resume_token=token)
