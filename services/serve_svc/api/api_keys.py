"""ApiKeyService."""
# ruff: noqa: ARG002, N802 - methods are named and shaped by the contract

from __future__ import annotations

from typing import Any

from bessemer.api.serve.v1 import api_key_service_pb2 as api
from bessemer.api.serve.v1.api_key_pb2 import ApiKey
from bessemer.api.serve.v1.api_key_service_pb2_grpc import ApiKeyServiceServicer
from bessemer.svckit.store import Store

from serve_svc.app.api_keys import ApiKeys
from serve_svc.app.meter import Meter

__all__ = ["ApiKeyApi"]

_DAYS_DEFAULT = 30


class ApiKeyApi(ApiKeyServiceServicer):
    """Keys over gRPC."""

    def __init__(self, store: Store, keys: ApiKeys, meter: Meter) -> None:
        self._store = store
        self._keys = keys
        self._meter = meter

    async def CreateApiKey(self, request: api.CreateApiKeyRequest, context: Any) -> ApiKey:
        """Create a key and show its secret, this once."""
        return await self._keys.create(request)

    async def GetApiKey(self, request: api.GetApiKeyRequest, context: Any) -> ApiKey:
        """Get a key, without its secret."""
        return await self._store.read(lambda tx: tx.get(request.name, ApiKey))

    async def ListApiKeys(self, request: api.ListApiKeysRequest, context: Any) -> api.ListApiKeysResponse:
        """List the keys of a project, revoked ones too."""
        found, token = await self._store.read(
            lambda tx: tx.list(ApiKey, request.parent, page_size=request.page_size, page_token=request.page_token)
        )
        return api.ListApiKeysResponse(api_keys=found, next_page_token=token)

    async def SetApiKeyLimits(self, request: api.SetApiKeyLimitsRequest, context: Any) -> ApiKey:
        """Replace the limits of a key."""
        return await self._keys.set_limits(request)

    async def RevokeApiKey(self, request: api.RevokeApiKeyRequest, context: Any) -> ApiKey:
        """Make a key useless for ever."""
        return await self._keys.revoke(request.name)

    async def GetApiKeyUsage(self, request: api.GetApiKeyUsageRequest, context: Any) -> api.GetApiKeyUsageResponse:
        """Tell what a key used, newest day first."""
        await self._store.read(lambda tx: tx.get(request.name, ApiKey))
        return api.GetApiKeyUsageResponse(days=await self._meter.usage(request.name, request.days or _DAYS_DEFAULT))
