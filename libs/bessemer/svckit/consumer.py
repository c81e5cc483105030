"""Handles another service's events exactly once and in order: woken by the bus, made sure by asking."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from opentelemetry import context as otel_context
from opentelemetry import propagate
from sqlalchemy import ColumnElement, and_, delete, insert, select, update

from bessemer.api.common.v1.system_service_pb2 import EventRecord
from bessemer.kernel.errors import LimitReached, Unavailable
from bessemer.svckit.bus import Bus
from bessemer.svckit.store import Store
from bessemer.svckit.tables import DEAD_LETTERS
from bessemer.svckit.tx import Tx

__all__ = ["TRIES_MAX", "EventConsumer"]

TRIES_MAX = 8
ANTI_ENTROPY_S = 30.0
RETRY_S = 0.1

_log = logging.getLogger(__name__)


class EventConsumer:
    """Runs `handler` for every event of `producer`, in the transaction that notes it as handled."""

    def __init__(
        self,
        store: Store,
        *,
        producer: str,
        consumer: str,
        handler: Callable[[Tx, EventRecord], None],
        bus: Bus | None,
        read_events: Callable[[int], Awaitable[Sequence[EventRecord]]],
    ) -> None:
        self._store, self._bus = store, bus
        self._producer, self.name = producer, consumer
        self._handler, self._read_events = handler, read_events
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Handle events for ever; outages of bus, producer and database only delay."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._ask_again_and_again())
            if self._bus is not None:
                durable = f"{self._store.facts.service}--{self.name}--v1"
                group.create_task(self._bus.subscribe(self._producer, durable, self._on_bus))

    async def catch_up(self) -> None:
        """Handle everything that the producer has and we have not handled.

        Raises: Unavailable if the producer or the database does not answer.
        """
        async with self._turn:
            await self._catch_up()

    async def _ask_again_and_again(self) -> None:
        wait_s = RETRY_S
        while True:
            try:
                await self.catch_up()
                wait_s = ANTI_ENTROPY_S
            except (Unavailable, LimitReached) as error:
                _log.info("consumer %s: events of %s wait (%s)", self.name, self._producer, error.message)
                wait_s = min(ANTI_ENTROPY_S, max(1.0, wait_s * 2) if wait_s != ANTI_ENTROPY_S else 1.0)
            await asyncio.sleep(wait_s)

    async def _on_bus(self, record: EventRecord) -> None:
        async with self._turn:
            done = await self._consumed()
            if record.sequence == done + 1:
                await self._handle(record)
            elif record.sequence > done:
                await self._catch_up()

    async def _catch_up(self) -> None:
        done = await self._consumed()
        while records := await self._read_events(done):
            for record in records:
                if record.sequence > done + 1:  # the producer's log begins later: what lies between is gone for ever
                    _log.warning("consumer %s: events %d to %d are gone", self.name, done + 1, record.sequence - 1)
                    await self._store.write(lambda tx, at=record.sequence - 1: self._skip(tx, at))  # type: ignore[misc]
                if record.sequence > done:
                    await self._handle(record)
                    done = record.sequence

    async def _handle(self, record: EventRecord) -> None:
        """Handle one event, or give it up after eight tries, so that those behind it get their turn."""
        while True:
            try:
                await self._store.write(lambda tx: self._apply(tx, record))
            except (Unavailable, LimitReached):
                raise  # not the event's fault
            except Exception as error:  # noqa: BLE001 - a handler may fail in any way
                reason = f"{type(error).__name__}: {error}"[:2000]
            else:
                return
            tries = await self._store.write(lambda tx: self._note_failure(tx, record, reason))  # noqa: B023
            _log.warning("consumer %s: try %d of event %s failed: %s", self.name, tries, record.id, reason)
            if tries >= TRIES_MAX:
                return
            await asyncio.sleep(RETRY_S * 2 ** (tries - 1))

    def _apply(self, tx: Tx, record: EventRecord) -> None:
        if not tx.consume(self.name, self._producer, record.sequence):
            return
        cause = propagate.extract({"traceparent": record.traceparent}) if record.traceparent else otel_context.Context()
        token = otel_context.attach(cause)
        try:
            self._handler(tx, record)
        finally:
            otel_context.detach(token)
        tx.connection.execute(delete(DEAD_LETTERS).where(self._letter(record)))

    def _note_failure(self, tx: Tx, record: EventRecord, reason: str) -> int:
        """Count a failed try; the last one makes the event a dead letter and counts it as handled."""
        before = tx.connection.execute(select(DEAD_LETTERS.c.tries).where(self._letter(record))).scalar()
        tries = (before or 0) + 1
        dead = tries >= TRIES_MAX
        values = {"tries": tries, "dead": dead, "reason": reason, "time": tx.clock.now().isoformat()}
        if before is None:
            key = {"consumer": self.name, "producer": self._producer, "sequence": record.sequence}
            tx.connection.execute(insert(DEAD_LETTERS).values(**key, **values, event=record.SerializeToString()))
        else:
            tx.connection.execute(update(DEAD_LETTERS).where(self._letter(record)).values(values))
        if dead:
            tx.consume(self.name, self._producer, record.sequence)
        return tries

    def _letter(self, record: EventRecord) -> ColumnElement[bool]:
        return and_(
            DEAD_LETTERS.c.consumer == self.name,
            DEAD_LETTERS.c.producer == self._producer,
            DEAD_LETTERS.c.sequence == record.sequence,
        )

    def _skip(self, tx: Tx, sequence: int) -> None:
        tx.set_cursor(f"inbox:{self.name}:{self._producer}", sequence)

    async def _consumed(self) -> int:
        return await self._store.read(lambda tx: tx.consumed(self.name, self._producer))
