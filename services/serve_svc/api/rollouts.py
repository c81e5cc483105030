"""RolloutService."""
# ruff: noqa: ARG002, N802 - methods are named and shaped by the contract

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from bessemer.api.serve.v1 import rollout_service_pb2 as api
from bessemer.api.serve.v1.rollout_pb2 import Rollout
from bessemer.api.serve.v1.rollout_service_pb2_grpc import RolloutServiceServicer
from bessemer.svckit.store import Store
from bessemer.svckit.watch import watch

from serve_svc.app.rollouts import Rollouts, is_over

__all__ = ["RolloutApi"]


class RolloutApi(RolloutServiceServicer):
    """Rollouts over gRPC."""

    def __init__(self, store: Store, rollouts: Rollouts) -> None:
        self._store = store
        self._rollouts = rollouts

    async def StartRollout(self, request: api.StartRolloutRequest, context: Any) -> Rollout:
        """Start a rollout."""
        return await self._rollouts.start(request)

    async def GetRollout(self, request: api.GetRolloutRequest, context: Any) -> Rollout:
        """Get a rollout with the evidence of now."""
        return await self._rollouts.get(request.name)

    async def ListRollouts(self, request: api.ListRolloutsRequest, context: Any) -> api.ListRolloutsResponse:
        """List the rollouts of an endpoint."""
        found, token = await self._store.read(
            lambda tx: tx.list(Rollout, request.parent, page_size=request.page_size, page_token=request.page_token)
        )
        return api.ListRolloutsResponse(rollouts=found, next_page_token=token)

    async def WatchRollout(
        self, request: api.WatchRolloutRequest, context: Any
    ) -> AsyncIterator[api.WatchRolloutResponse]:
        """Follow a rollout's steps to its end."""
        steps = watch(self._store, request.name, Rollout, request.resume_token, terminal=is_over)
        async for event, rollout, token in steps:
            yield api.WatchRolloutResponse(event=event, rollout=rollout, resume_token=token)

    async def AbortRollout(self, request: api.AbortRolloutRequest, context: Any) -> Rollout:
        """End a rollout in favour of the baseline."""
        return await self._rollouts.abort(request.name, request.reason)

    async def PromoteRollout(self, request: api.PromoteRolloutRequest, context: Any) -> Rollout:
        """End a rollout in favour of the candidate."""
        return await self._rollouts.promote(request.name, request.reason)

    async def ReportVerdict(self, request: api.ReportVerdictRequest, context: Any) -> api.ReportVerdictResponse:
        """Take a verifier's verdict."""
        return api.ReportVerdictResponse(counted=await self._rollouts.report(request))
