"""A service as its wiring describes it, and the process around it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from os import EX_CONFIG
from typing import TYPE_CHECKING, Any, TypeAlias

from bessemer.kernel.errors import BessemerError, InvalidRequest
from bessemer.svckit import log, telemetry
from bessemer.svckit.bus import Bus
from bessemer.svckit.config import ServiceConfig, load
from bessemer.svckit.store import Store

if TYPE_CHECKING:
    from starlette.applications import Starlette

__all__ = ["Service", "run"]


Build: TypeAlias = "Callable[[ServiceConfig], Service]"


async def _nothing() -> None:
    """Close nothing."""


@dataclass(kw_only=True)
class Service:
    """What `wiring.build(config)` returns; `background` coroutines run until the process ends."""

    name: str
    servicers: Sequence[tuple[Callable[[Any, Any], None], Any]]  # (add_XServicer_to_server, servicer)
    store: Store
    background: Sequence[Callable[[], Awaitable[None]]] = ()
    http: Starlette | None = None  # served on `http_listen`, in the same event loop
    bus: Bus | None = None  # where events are published; opened from the configuration when None
    capabilities: Sequence[str] = ()
    on_close: Callable[[], Awaitable[None]] = field(default=_nothing)

    async def close(self) -> None:
        """Let go of everything but the store."""
        await self.on_close()


def run(name: str, build: Build | None = None) -> int:
    """Run the service called `name` until it is told to stop; return the exit status of the process."""
    from bessemer.svckit.lifecycle import Process

    log.setup(name)
    try:
        config = load(name)
        build = build or _installed(name)
        stop_telemetry = telemetry.setup(
            name,
            config.otlp_endpoint,
            scraped=config.http_listen is not None,
            version=metadata.version("bessemer"),
        )
    except BessemerError as error:
        log.error("refused_to_start", reason=error.message)
        return EX_CONFIG
    config.home.joinpath(name).mkdir(parents=True, exist_ok=True)

    async def serve() -> None:
        await Process(build(config), config).run()

    try:
        asyncio.run(serve())
    except Exception as error:  # noqa: BLE001 (the last frame of the process: log it and say so to the parent)
        log.error("failed", exc=error)
        return 1
    finally:
        stop_telemetry()
    return 0


def _installed(name: str) -> Build:
    known = {point.name: point for point in metadata.entry_points(group="bessemer.services")}
    if name not in known:
        raise InvalidRequest(f"unknown service {name!r}; installed: {', '.join(sorted(known)) or 'none'}", field="name")
    build: Build = known[name].load()
    return build
