"""From the outbox to the bus, and from other services' outboxes to our handlers, whatever the bus does."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from datetime import timedelta
from typing import NoReturn

from sqlalchemy import delete, insert, select, update

from bessemer.kernel.errors import BessemerError, Unavailable
from bessemer.svckit.bus import Bus, Position
from bessemer.svckit.consumer import EventConsumer
from bessemer.svckit.store import Store
from bessemer.svckit.tables import CHANGES, IDEMPOTENCY, SETTINGS
from bessemer.svckit.tx import Tx

__all__ = ["EventConsumer", "prune", "relay", "upkeep"]

CURSOR = "relay"
POSITION = "relay_position"
BATCH = 100
IDLE_S = 5.0
RETRY_MAX_S = 5.0
KEEP_EVENTS = timedelta(days=30)
KEEP_REQUESTS = timedelta(hours=24)
UPKEEP_EVERY_S = 3600.0

_log = logging.getLogger(__name__)


async def relay(store: Store, bus: Bus) -> NoReturn:
    """Publish every event of the store in order, for ever; an unreachable bus only delays."""
    wait_s = 0.1
    while True:
        try:
            await _relay_batch(store, bus)
            wait_s = 0.1
        except Unavailable as error:
            _log.log(logging.WARNING if wait_s == RETRY_MAX_S else logging.INFO, "relay: %s", error.message)
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.5))
            wait_s = min(RETRY_MAX_S, wait_s * 2)


async def upkeep(store: Store) -> NoReturn:
    """Forget old events and request ids every hour; end with an error as soon as the disk fails to keep a commit.

    Raises: DataLoss when the process must restart.
    """
    due = 0.0
    while True:
        if store.failure is not None:
            raise store.failure
        now = asyncio.get_running_loop().time()
        if now >= due:
            due = now + UPKEEP_EVERY_S
            try:
                await store.write(prune)
            except BessemerError:
                _log.exception("upkeep: old rows stay for now")
        await asyncio.sleep(1.0)


def prune(tx: Tx) -> None:
    """Delete events that are published and older than 30 days, and request ids older than a day."""
    events, requests = ((tx.clock.now() - keep).isoformat() for keep in (KEEP_EVENTS, KEEP_REQUESTS))
    published = min(tx.cursor(CURSOR), tx.head() - 1)  # the last one stays, it holds the sequence
    tx.connection.execute(delete(CHANGES).where(CHANGES.c.sequence <= published, CHANGES.c.time < events))
    tx.connection.execute(delete(IDEMPOTENCY).where(IDEMPOTENCY.c.created < requests))


async def _relay_batch(store: Store, bus: Bus) -> None:
    stream = await bus.position()
    cursor = await store.read(lambda tx: _resume(tx, stream))
    records = await store.read(lambda tx: tx.changes(cursor, limit=BATCH))
    if not records:
        await _await_change(store, cursor)
        return
    await bus.publish(records)
    after = await bus.position()
    # Saving where a stream is that was wiped or cut in between would hide that from the next look.
    if after.created == stream.created and after.last >= stream.last:
        await store.write(lambda tx: _save(tx, records[-1].sequence, after))


async def _await_change(store: Store, cursor: int) -> None:
    for _ in range(int(IDLE_S)):  # the bus is looked at every few seconds, other replicas' changes every second
        if await store.changed().wait_after(cursor, 1.0) > cursor or await store.poll() > cursor:
            return


def _resume(tx: Tx, stream: Position) -> int:
    """Return where to go on: at the cursor, or at the beginning if the stream lost what was published."""
    saved = tx.connection.execute(select(SETTINGS.c.value).where(SETTINGS.c.key == POSITION)).scalar()
    if saved is None:
        return 0
    before = Position(**json.loads(saved))
    if before.created == stream.created and before.last <= stream.last:
        return tx.cursor(CURSOR)
    _log.warning("relay: the stream was wiped or cut (%s, now %s); publishing everything kept again", before, stream)
    return 0


def _save(tx: Tx, sequence: int, stream: Position) -> None:
    tx.set_cursor(CURSOR, sequence)
    value = json.dumps(vars(stream))
    done = tx.connection.execute(update(SETTINGS).where(SETTINGS.c.key == POSITION).values(value=value))
    if not done.rowcount:
        tx.connection.execute(insert(SETTINGS).values(key=POSITION, value=value))
