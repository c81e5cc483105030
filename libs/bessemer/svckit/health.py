"""Health of the process (service "") and readiness of each service, as the standard health service tells them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio as health_aio

from bessemer.svckit import log

__all__ = ["Health"]

_PERIOD_S = 5.0
_PROBE_S = 3.0
_FAILURES_MAX = 3
_LAG_S = 0.2
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Health:
    """Serves health; a service is not ready after three failed probes in a row, and ready again after one good one."""

    def __init__(self, services: Sequence[str], probe: Callable[[], Awaitable[object]]) -> None:
        self.servicer = health_aio.HealthServicer()
        self._services = services
        self._probe = probe
        self._failures = 0

    async def start(self) -> None:
        """Say that the process is alive and no service is ready yet."""
        await self.servicer.set("", _SERVING)
        await self._set(_NOT_SERVING)

    async def ready(self) -> None:
        """Say that all services are ready."""
        await self._set(_SERVING)

    async def drain(self) -> None:
        """Say that nothing here is to be called any more, for good."""
        await self.servicer.enter_graceful_shutdown()

    async def run(self) -> None:
        """Probe for ever, and note when the event loop was blocked."""
        while True:
            asleep = time.monotonic()
            await asyncio.sleep(_PERIOD_S)
            lag_s = time.monotonic() - asleep - _PERIOD_S
            if lag_s > _LAG_S:
                log.warning("loop_blocked", seconds=round(lag_s, 3))
            await self.check()

    async def check(self) -> None:
        """Probe once."""
        try:
            async with asyncio.timeout(_PROBE_S):
                await self._probe()
        except Exception as error:  # noqa: BLE001 (a probe may fail in any way; what counts is that it did)
            self._failures += 1
            log.warning("probe_failed", failures=self._failures, reason=repr(error))
            if self._failures == _FAILURES_MAX:
                await self._set(_NOT_SERVING)
            return
        if self._failures >= _FAILURES_MAX:
            await self._set(_SERVING)
        self._failures = 0

    async def _set(self, state: int) -> None:
        for service in self._services:
            await self.servicer.set(service, state)
