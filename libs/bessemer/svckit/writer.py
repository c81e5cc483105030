"""The one thread that writes: it gathers waiting calls into one transaction, so that one fsync serves them all."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context
from dataclasses import dataclass
from typing import Any

import sqlalchemy

from bessemer.kernel.errors import DataLoss, LimitReached, Unavailable
from bessemer.svckit.change_signal import ChangeSignal
from bessemer.svckit.database import WRITE, is_fatal, lock_for_write, translate
from bessemer.svckit.tx import Heads, StoreFacts, Tx

__all__ = ["Call", "Writer"]

BATCH_MAX = 256

_log = logging.getLogger(__name__)


@dataclass
class Call:
    """A function that waits for its turn, and where its result goes: the value and the transaction it ran in."""

    function: Callable[[Tx], Any]
    context: Context
    future: Future[tuple[Any, Tx]]


class _CallBrokeTransaction(Exception):
    """The database refused a statement so that the whole transaction is gone; one call is to blame."""

    def __init__(self, call: Call, error: BaseException) -> None:
        super().__init__(str(error))
        self.call, self.error = call, error


class Writer:
    """Runs calls in order; each gets its answer only after the commit that holds it."""

    def __init__(self, engine: sqlalchemy.Engine, facts: StoreFacts, signal: ChangeSignal) -> None:
        self._engine, self._facts, self._signal = engine, facts, signal
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._closed = False
        self._door = threading.Lock()  # nothing may slip in behind the end mark
        self.failure: DataLoss | None = None  # set when a commit could not be made durable
        self._thread = threading.Thread(target=self._run, name=f"{facts.service}-writer", daemon=True)
        self._thread.start()

    def submit(self, call: Call) -> None:
        """Queue a call."""
        with self._door:
            if self._closed:
                raise Unavailable("the store is closed; the service is stopping", reason="DRAINING")
            self._calls.put(call)

    def close(self) -> None:
        """Finish what is queued and stop."""
        with self._door:
            self._closed = True
            self._calls.put(None)
        self._thread.join(timeout=30)

    def _run(self) -> None:
        open_for_more = True
        while open_for_more:
            batch, open_for_more = self._gather()
            calls = [call for call in batch if call.future.set_running_or_notify_cancel()]
            while calls:
                try:
                    calls = self._commit(calls)
                except Exception as error:  # noqa: BLE001 - those who wait must hear of it
                    _log.exception("the writer has a defect; the process must restart")
                    self.failure = DataLoss(f"the writer failed with {type(error).__name__}; the service must restart")
                    _answer([call for call in calls if not call.future.done()], self.failure)
                    calls = []

    def _gather(self) -> tuple[list[Call], bool]:
        """Wait for one call and take those that are queued behind it; False after the last."""
        item, batch = self._calls.get(), []
        while item is not None:
            batch.append(item)
            if len(batch) == BATCH_MAX:
                return batch, True
            try:
                item = self._calls.get_nowait()
            except queue.Empty:
                return batch, True
        return batch, False

    def _commit(self, calls: list[Call]) -> list[Call]:
        """Run calls in one transaction and answer them; return those that must run again as nothing was committed."""
        if self.failure is not None:
            _answer(calls, self.failure)
            return []
        try:
            values, errors, head = self._transact(calls)
        except _CallBrokeTransaction as broken:
            self._note(broken.error)
            broken.call.future.set_exception(translate(broken.error))
            return [call for call in calls if call is not broken.call]
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to those who wait
            self._note(error)
            ours = self.failure or translate(error)
            if isinstance(ours, LimitReached) and len(calls) > 1:  # a full disk may yet hold some of them
                for call in calls:
                    self._commit([call])
            else:
                _answer(calls, ours)
            return []
        for call, failed in errors:
            call.future.set_exception(failed)
        for call, value in values:
            call.future.set_result(value)
        self._signal.advance(head)
        return []

    def _transact(
        self, calls: list[Call]
    ) -> tuple[list[tuple[Call, tuple[Any, Tx]]], list[tuple[Call, BaseException]], int]:
        values: list[tuple[Call, tuple[Any, Tx]]] = []
        errors: list[tuple[Call, BaseException]] = []
        with self._engine.connect().execution_options(**{WRITE: True}) as connection, connection.begin():
            lock_for_write(connection, self._facts.service)
            heads = Heads.load(connection)
            for call in calls:
                attempt = heads.copy()
                savepoint = connection.begin_nested()
                tx = Tx(connection, self._facts, attempt)
                try:
                    value = call.context.copy().run(call.function, tx)
                    savepoint.commit()
                except BaseException as error:
                    if translate(error) is not error:
                        raise _CallBrokeTransaction(call, error) from error
                    savepoint.rollback()
                    errors.append((call, error))
                else:
                    heads = attempt
                    values.append((call, (value, tx)))
        return values, errors, heads.sequence

    def _note(self, error: BaseException) -> None:
        if is_fatal(error):
            self.failure = DataLoss("the disk failed to keep a commit; the service must restart and recover")
        _log.warning("transaction failed: %s", error)


def _answer(calls: list[Call], error: BaseException) -> None:
    for call in calls:
        call.future.set_exception(error)
