"""The life of a service process: NEW, STARTING, SERVING, DRAINING, STOPPED, or FAILED at any point.

Start: server, relay, background, HTTP door, ready. Stop: refuse changes, tell health checks, let load balancers
notice, end watches, finish calls, stop the background, publish what is left, close the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable
from enum import Enum

import grpc.aio
from google.protobuf.message import Message

from bessemer.api.common.v1 import system_service_pb2_grpc
from bessemer.kernel.errors import Internal
from bessemer.svckit import log
from bessemer.svckit.auth import Authenticator
from bessemer.svckit.authorization import Authorizer
from bessemer.svckit.bus_nats import NatsBus
from bessemer.svckit.config import ServiceConfig
from bessemer.svckit.context import IdempotencyKey
from bessemer.svckit.health import Health
from bessemer.svckit.http import HttpDoor, metrics_route
from bessemer.svckit.interceptors import Admission, Chain, Replay
from bessemer.svckit.outbox import CURSOR, relay, upkeep
from bessemer.svckit.server import build_server, collect
from bessemer.svckit.service import Service
from bessemer.svckit.store import Store, Tx
from bessemer.svckit.system import SystemApi

__all__ = ["Process", "State"]

_RELAY_S = 2.0
_ECHO_S = 0.5  # a signal to the process and its group arrives twice; that is no second wish
_LAST_S = 10.0  # after the grace, for the relay and the store; then the process ends hard


class State(Enum):
    """Where in its life a process stands."""

    NEW = "new"
    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


class Process:
    """Runs one service; `address` is where it listens once it serves."""

    def __init__(self, service: Service, config: ServiceConfig) -> None:
        self.state = State.NEW
        self.address = ""
        self.service = service
        self._config = config
        self._admission = Admission()
        self._stopping = asyncio.Event()
        self._signalled = 0.0
        self._tasks: dict[asyncio.Task[None], str] = {}
        servicers = (
            *service.servicers,
            (
                system_service_pb2_grpc.add_SystemServiceServicer_to_server,
                SystemApi(service.name, service.store, service.capabilities),
            ),
        )
        self._handlers = collect(servicers)
        self._health = Health(list(self._handlers), _probe(service.store))
        self._server: grpc.aio.Server | None = None
        self._door: HttpDoor | None = None
        self._bus = service.bus or (NatsBus(config.nats_url, service=service.name) if config.nats_url else None)

    async def start(self) -> None:
        """Start serving; ready when this returns.

        Raises: Internal if a method has no access rule; Unavailable if a port is taken.
        """
        self._enter(State.STARTING)
        chain = Chain(
            Authenticator(self._config.auth), Authorizer(), self._admission, replay=replay_from(self.service.store)
        )
        self._server, port = build_server(
            self._config.listen, self._handlers, chain=chain, health=self._health, tls=self._config.tls
        )
        self.address = f"{self._config.listen.rpartition(':')[0]}:{port}"
        await self._health.start()
        await self._server.start()
        self._spawn("health", self._health.run)
        self._spawn("upkeep", lambda: upkeep(self.service.store))
        if self._bus is not None:
            bus = self._bus
            self._spawn("relay", lambda: relay(self.service.store, bus))
        for number, background in enumerate(self.service.background):
            self._spawn(getattr(background, "__qualname__", f"background-{number}"), background)
        if self.service.http is not None and self._config.http_listen is not None:
            self.service.http.router.routes.insert(0, metrics_route(Authenticator(self._config.auth), Authorizer()))
            self._door = HttpDoor(self.service.http, self._config.http_listen, self._config.tls)
            self._spawn("http", self._door.run_here)
        await self._health.ready()
        self._enter(State.SERVING, address=self.address, http=self._config.http_listen or "")

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, or until something in the background fails.

        Raises: what failed.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        try:
            await self.start()
            await self._until_stop_or_failure()
        except BaseException:
            self._enter(State.FAILED)
            with contextlib.suppress(Exception):
                await self.stop()
            raise
        await self.stop()

    async def stop(self) -> None:
        """Drain and end; the process ends hard when it takes longer than the grace allows."""
        failed = self.state is State.FAILED
        self._enter(State.DRAINING)
        limit_s = self._config.drain_wait_s + self._config.grace_s + _LAST_S
        hard_end = asyncio.get_running_loop().call_later(limit_s, _end_hard, "grace is over")
        try:
            await self._drain()
        finally:
            hard_end.cancel()
            self._enter(State.FAILED if failed else State.STOPPED)

    async def _drain(self) -> None:
        self._admission.drain()
        await self._health.drain()
        await asyncio.sleep(self._config.drain_wait_s)
        self.service.store.drain()
        self._admission.end_followers()
        if self._door is not None:
            self._door.stop()
        if self._server is not None:
            await self._server.stop(self._config.grace_s)
        await self._end_background(but="relay")
        if self._bus is not None and self._server is not None:
            await self._relay_the_rest()
            await self._end_background()
            await self._bus.close()
        await self.service.close()
        await asyncio.to_thread(self.service.store.close)

    async def _end_background(self, *, but: str = "") -> None:
        door = [task for task, name in self._tasks.items() if name == "http"]
        if door:
            await asyncio.wait(door, timeout=self._config.grace_s)
        tasks = [task for task, name in self._tasks.items() if name != but]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _relay_the_rest(self) -> None:
        """Give the relay a moment for its last events; what it leaves is published after the next start."""
        store = self.service.store
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_RELAY_S):
                while await store.read(lambda tx: tx.cursor(CURSOR) < tx.head()):
                    await store.changed().wait_after(await store.poll(), _RELAY_S / 40)

    async def _until_stop_or_failure(self) -> None:
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            while not stopping.done():
                running = [task for task in self._tasks if not task.done()]
                await asyncio.wait([stopping, *running], return_when=asyncio.FIRST_COMPLETED)
                for task in list(self._tasks):
                    if task.done() and (error := task.exception()) is not None:
                        log.error("background_failed", exc=error, task=self._tasks[task])
                        raise Internal(f"{self._tasks[task]} of service {self.service.name} failed") from error
        finally:
            stopping.cancel()

    def _spawn(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        async def body() -> None:
            await run()

        self._tasks[asyncio.create_task(body(), name=name)] = name

    def _on_signal(self) -> None:
        now = time.monotonic()
        if not self._stopping.is_set():
            self._signalled = now
            self._stopping.set()
        elif now - self._signalled > _ECHO_S:
            _end_hard("second signal")

    def _enter(self, state: State, **fields: object) -> None:
        log.info("state", state=state.value, before=self.state.value, **fields)
        self.state = state


def replay_from(store: Store) -> Replay:
    """Return what looks up in a store whether a request was served before."""

    async def replay(key: IdempotencyKey, kind: type[Message]) -> tuple[str, Message | None] | None:
        def find(tx: Tx) -> tuple[str, Message | None] | None:
            found = tx.replayed(key)
            return None if found is None else (found[0], tx.find(found[1], kind))

        return await store.read(find)

    return replay


def _probe(store: Store) -> Callable[[], Awaitable[object]]:
    async def probe() -> None:
        await store.read(lambda tx: tx.head())
        if store.failure is not None:
            raise store.failure

    return probe


def _end_hard(why: str) -> None:
    log.error("ended_hard", reason=why)
    os._exit(1)
