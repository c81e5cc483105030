"""Carries events between services. It may lose everything: the outbox can send it again, and consumers can ask."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from bessemer.api.common.v1.system_service_pb2 import EventRecord

__all__ = ["Bus", "Handler", "Position"]

Handler = Callable[[EventRecord], Awaitable[None]]  # returning acknowledges; raising asks for the event again, later


@dataclass(frozen=True)
class Position:
    """How far a stream is, and which one it is: another `created` or a smaller `last` means that events are gone."""

    created: str
    last: int


class Bus(Protocol):
    """The events of one service go out, those of any service come in."""

    async def publish(self, batch: Sequence[EventRecord]) -> None:
        """Send events in order; returns when all are stored. Sending one twice stores it once.

        Raises: Unavailable; any part of the batch may then have been stored.
        """

    async def position(self) -> Position:
        """Return where the stream of the own service is; makes the stream if it is gone.

        Raises: Unavailable.
        """

    async def subscribe(self, service: str, durable: str, handler: Handler) -> None:
        """Hand the events of a service to `handler`, one by one, until cancelled; outages only delay."""

    async def close(self) -> None:
        """Disconnect."""
