"""Engines that answer right now, and how many answers each is giving."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bessemer.kernel.errors import Unavailable

from serve_svc.ports import Engine

__all__ = ["Fleet", "Load"]


@dataclass(frozen=True, slots=True)
class Load:
    """How many answers an engine is giving, and how many it gives together; 0 if nobody knows."""

    in_flight: int
    capacity: int


class Fleet:
    """Engines by the name of their deployment."""

    def __init__(self) -> None:
        self._engines: dict[str, Engine] = {}
        self._known: set[str] = set()
        self._num_in_flight: dict[str, int] = {}
        self._drained: dict[str, asyncio.Event] = {}

    def add(self, deployment: str, engine: Engine) -> None:
        """Let an engine take answers."""
        self._engines[deployment] = engine
        self._known.add(deployment)

    def remove(self, deployment: str) -> None:
        """Send no more answers to an engine."""
        self._engines.pop(deployment, None)

    def has(self, deployment: str) -> bool:
        """Say whether an engine takes answers."""
        return deployment in self._engines

    def knows(self, deployment: str) -> bool:
        """Say whether an engine has taken answers since the service started; before, it is not to blame for none."""
        return deployment in self._known

    def num_in_flight(self, deployment: str) -> int:
        """Return how many answers an engine is giving, those that wait for a slot included."""
        return self._num_in_flight.get(deployment, 0)

    def in_flight(self) -> int:
        """Return how many answers all engines are giving."""
        return sum(self._num_in_flight.values())

    def loads(self) -> dict[str, Load]:
        """Return the same for every engine, with what it can give at a time."""
        return {name: Load(self.num_in_flight(name), engine.capacity) for name, engine in self._engines.items()}

    @contextmanager
    def use(self, deployment: str) -> Iterator[Engine]:
        """Hold an engine for one answer.

        Raises: Unavailable MODEL_LOADING if there is none.
        """
        engine = self._engines.get(deployment)
        if engine is None:
            text = f"{deployment} is loading its model; try again in some seconds"
            raise Unavailable(text, reason="MODEL_LOADING", resource=deployment, retry_after_s=2)
        self._num_in_flight[deployment] = self._num_in_flight.get(deployment, 0) + 1
        try:
            yield engine
        finally:
            self._num_in_flight[deployment] -= 1
            if not self._num_in_flight[deployment]:
                del self._num_in_flight[deployment]
                if deployment in self._drained:
                    self._drained[deployment].set()

    async def drain(self, deployment: str, timeout_s: float) -> None:
        """Wait until an engine gives no answer, at most so long."""
        if deployment not in self._num_in_flight:
            return
        event = self._drained[deployment] = asyncio.Event()
        try:
            async with asyncio.timeout(timeout_s):
                await event.wait()
        except TimeoutError:
            return
        finally:
            del self._drained[deployment]
