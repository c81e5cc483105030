"""API keys: made, shown once, found again by the digest of their secret.

Secrets are 256 random bits, so that their plain SHA-256 tells nobody anything; a slow hash would only cost time.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from datetime import UTC

from bessemer.api.serve.v1.api_key_pb2 import ApiKey
from bessemer.api.serve.v1.api_key_service_pb2 import CreateApiKeyRequest, SetApiKeyLimitsRequest
from bessemer.kernel.errors import FailedPrecondition, Unauthenticated
from bessemer.kernel.ids import project_of
from bessemer.svckit.context import Principal
from bessemer.svckit.store import Store, Tx
from sqlalchemy import insert, select

from serve_svc.app.meter import Meter
from serve_svc.app.tables import API_KEYS

__all__ = ["PREFIX", "ApiKeys"]

PREFIX = "bsk_"  # tells a key from a token, to people and to scanners of leaked secrets
_HINT = len(PREFIX) + 6
_LOOK_EVERY_S = 2.0  # how late another replica hears of a key, or of its end


class ApiKeys:
    """Keys of all projects, kept in memory as well, since every request asks for one."""

    def __init__(self, store: Store, meter: Meter) -> None:
        self._store = store
        self._meter = meter
        self._known: dict[str, ApiKey] = {}  # by digest
        self._head = -1

    async def create(self, request: CreateApiKeyRequest) -> ApiKey:
        """Make a key and return it with its secret."""
        secret = PREFIX + secrets.token_urlsafe(32)
        given = request.api_key
        key = ApiKey(
            name=f"{request.parent}/apiKeys/{request.api_key_id}",
            display_name=given.display_name,
            limits=given.limits,
            expire_time=given.expire_time if given.HasField("expire_time") else None,
            hint=secret[:_HINT],
        )

        def write(tx: Tx) -> ApiKey:
            stored = tx.put(key, verb="created")
            tx.connection.execute(insert(API_KEYS).values(sha256=_digest(secret), api_key=key.name))
            return stored

        stored = await self._store.write(write)
        await self.refresh()
        stored.secret = secret
        return stored

    async def set_limits(self, request: SetApiKeyLimitsRequest) -> ApiKey:
        """Replace the limits of a key that is still good."""

        def write(tx: Tx) -> ApiKey:
            key = tx.get(request.name, ApiKey)
            if key.HasField("revoke_time"):
                raise FailedPrecondition(f"{key.name} was revoked; create another key", resource=key.name)
            key.limits.CopyFrom(request.limits)
            return tx.put(key, verb="updated")

        stored = await self._store.write(write)
        await self.refresh()
        return stored

    async def revoke(self, name: str) -> ApiKey:
        """Make a key useless; one that is so already stays as it is."""

        def write(tx: Tx) -> ApiKey:
            key = tx.get(name, ApiKey)
            if key.HasField("revoke_time"):
                return key
            key.revoke_time.FromDatetime(tx.clock.now())
            return tx.put(key, verb="revoked")

        stored = await self._store.write(write)
        await self.refresh()
        return stored

    def principal(self, token: str) -> Principal | None:
        """Return who holds a key; None for what is no key.

        Raises: Unauthenticated for a key that is unknown, revoked or has expired.
        """
        if not token.startswith(PREFIX):
            return None
        key = self._known.get(_digest(token))
        if key is None:
            raise Unauthenticated("the API key is not known; ask for a new one")
        if key.HasField("revoke_time"):
            raise Unauthenticated(f"the API key {key.hint}… was revoked; ask for a new one")
        if key.HasField("expire_time") and key.expire_time.ToDatetime(UTC).timestamp() <= time.time():
            raise Unauthenticated(f"the API key {key.hint}… has expired; ask for a new one")
        return Principal(key.name, frozenset({"inference"}), frozenset({project_of(key.name)}))

    async def refresh(self) -> None:
        """Read all keys again."""

        def read(tx: Tx) -> dict[str, ApiKey]:
            rows = tx.connection.execute(select(API_KEYS)).all()
            return {row.sha256: tx.get(row.api_key, ApiKey) for row in rows}

        self._known = await self._store.read(read)
        self._meter.set_keys({key.name: key for key in self._known.values()})

    async def run(self) -> None:
        """Follow what other replicas do, and write down what was used, until cancelled."""
        try:
            while True:
                head = await self._store.poll()
                if head != self._head:
                    await self.refresh()
                    self._head = head
                await self._meter.flush()
                await asyncio.sleep(_LOOK_EVERY_S)
        finally:
            await asyncio.shield(self._meter.flush())


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
