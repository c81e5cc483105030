"""A service's database: one writer with group commit, readers in threads, migrations at opening."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

import sqlalchemy
from sqlalchemy import insert, select

from bessemer.kernel.clock import Clock
from bessemer.kernel.errors import DataLoss
from bessemer.svckit import database, migrations
from bessemer.svckit.change_signal import ChangeSignal
from bessemer.svckit.tables import METADATA, SETTINGS
from bessemer.svckit.tx import StoreFacts, Tx, recorded_key
from bessemer.svckit.writer import Call, Writer

__all__ = ["METADATA", "ChangeSignal", "Store", "Tx"]

T = TypeVar("T")

NUM_READERS = 4
POLL_S = 1.0  # how late changes of another replica are seen


class Store:
    """Transactions over a service's resources, events and own tables."""

    def __init__(self, engine: sqlalchemy.Engine, facts: StoreFacts) -> None:
        self.facts = facts
        self._engine = engine
        self._signal = ChangeSignal()
        self._readers = ThreadPoolExecutor(NUM_READERS, thread_name_prefix=f"{facts.service}-reader")
        self._writer = Writer(engine, facts, self._signal)
        self._polled = 0.0
        self._draining = False

    @staticmethod
    def open(url: str, *, service: str, clock: Clock, extra: Sequence[sqlalchemy.Table] = ()) -> Store:
        """Open a database, after bringing its tables up to date.

        Raises: FailedPrecondition if it cannot keep what it acknowledges, or is newer than this program;
        Unavailable if it does not answer; LimitReached if its disk is full.
        """
        engine = database.connect(url, num_readers=NUM_READERS)
        try:
            with engine.connect().execution_options(**{database.WRITE: True}) as connection, connection.begin():
                database.lock_for_write(connection, service)
                migrations.upgrade(connection)
                migrations.extend(connection, extra)
                store_id = _setting(connection, "store_id", secrets.token_hex(4))
                page_key = bytes.fromhex(_setting(connection, "page_key", secrets.token_hex(32)))
        except Exception as error:
            engine.dispose()
            raise database.translate(error) from error
        store = Store(engine, StoreFacts(service=service, clock=clock, store_id=store_id, page_key=page_key))
        store._refresh()
        return store

    async def read(self, fn: Callable[[Tx], T]) -> T:
        """Run a function in a read transaction, on another thread."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, copy_context().run, self._read, fn)

    async def write(self, fn: Callable[[Tx], T]) -> T:
        """Run a function in a write transaction, on the writer's thread; return after COMMIT.

        The function may run again if nothing was committed. What it raises undoes its own writes only.
        """
        future: Future[tuple[T, Tx]] = Future()
        self._writer.submit(Call(fn, copy_context(), future))
        value, tx = await asyncio.wrap_future(future)
        if tx.recorded is not None:
            recorded_key.set(tx.recorded)
        return value

    def changed(self) -> ChangeSignal:
        """Return the signal that wakes on every commit of this process."""
        return self._signal

    async def poll(self) -> int:
        """Look for changes of other replicas, at most once a second; return the newest sequence number known."""
        now = time.monotonic()
        if now - self._polled >= POLL_S:
            self._polled = now
            self._signal.advance(await self.read(lambda tx: tx.head()))
        return self._signal.head

    @property
    def failure(self) -> DataLoss | None:
        """Why nothing can be written any more until the process restarts; None while all is well."""
        return self._writer.failure

    @property
    def draining(self) -> bool:
        """Say whether watches must end."""
        return self._draining

    def drain(self) -> None:
        """End all watches: the service is stopping."""
        self._draining = True
        self._signal.wake()

    def close(self) -> None:
        """Finish queued writes and let go of the database."""
        self.drain()
        self._writer.close()
        self._readers.shutdown()
        self._engine.dispose()

    def _refresh(self) -> None:
        self._signal.advance(self._read(lambda tx: tx.head()))

    def _read(self, fn: Callable[[Tx], T]) -> T:
        try:
            with self._engine.connect() as connection, connection.begin():
                return fn(Tx(connection, self.facts))
        except Exception as error:
            translated = database.translate(error)
            if translated is error:
                raise
            raise translated from error


def _setting(connection: sqlalchemy.Connection, key: str, fresh: str) -> str:
    """Return a setting of the database, made when it was created."""
    found: Any = connection.execute(select(SETTINGS.c.value).where(SETTINGS.c.key == key)).scalar()
    if found is None:
        connection.execute(insert(SETTINGS).values(key=key, value=fresh))
        return fresh
    return str(found)
