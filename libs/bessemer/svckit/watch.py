"""Follow one resource: a snapshot or the rest of a story, every change, and a sign of life now and then."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import TypeAlias, TypeVar, cast

from google.protobuf.message import Message

from bessemer.api.common.v1.system_service_pb2 import EventRecord
from bessemer.api.common.v1.watch_pb2 import (
    WATCH_EVENT_BOOKMARK,
    WATCH_EVENT_CHANGE,
    WATCH_EVENT_SNAPSHOT,
    WatchEvent,
)
from bessemer.kernel.errors import Expired, NotFound, Unavailable
from bessemer.svckit import change, page
from bessemer.svckit.store import POLL_S, Store
from bessemer.svckit.tx import Tx

__all__ = ["watch"]

M = TypeVar("M", bound=Message)
Step: TypeAlias = "tuple[WatchEvent, M | None, str]"

PAGE_CHANGES = 256


async def watch(
    store: Store,
    name: str,
    kind: type[M],
    resume_token: str,
    *,
    terminal: Callable[[M], bool],
    bookmark_s: float = 20,
) -> AsyncIterator[tuple[WatchEvent, M | None, str]]:
    """Yield event, resource and resume token: a snapshot first, or what followed the token; end after a terminal state.

    Raises: NotFound if the resource is not there or goes away; Expired if the token is older than the log;
    Unavailable with reason DRAINING when the service stops.
    """
    store_id = store.facts.store_id
    resource, after, snapshot = await store.read(lambda tx: _begin(tx, name, kind, resume_token))
    if snapshot:
        yield WATCH_EVENT_SNAPSHOT, resource, page.resume_token(store_id, after)
    if resource is not None and terminal(resource):
        return
    spoken = time.monotonic()
    while True:
        records, after = await store.read(lambda tx, after=after: _next(tx, name, after))  # type: ignore[misc]
        for record in records:
            changed = _resource(record, kind)
            yield WATCH_EVENT_CHANGE, changed, page.resume_token(store_id, record.sequence)
            if terminal(changed):
                return
            if record.type.split(".")[-2] == "deleted":
                raise NotFound(f"{name} was deleted", resource=name)
            spoken = time.monotonic()
        if len(records) == PAGE_CHANGES:
            continue
        while await _idle(store, after, spoken + bookmark_s) <= after:
            if time.monotonic() - spoken >= bookmark_s:
                yield WATCH_EVENT_BOOKMARK, None, page.resume_token(store_id, after)
                spoken = time.monotonic()


async def _idle(store: Store, after: int, bookmark_at: float) -> int:
    """Wait for a change, another replica's change or the next bookmark; return the newest sequence number known."""
    if store.draining:
        raise Unavailable("the service is stopping; resume the watch with the last token", reason="DRAINING")
    wait_s = min(POLL_S, max(0.0, bookmark_at - time.monotonic()))
    head = await store.changed().wait_after(after, wait_s)
    return head if head > after else await store.poll()


def _begin(tx: Tx, name: str, kind: type[M], token: str) -> tuple[M | None, int, bool]:
    """Return the resource if the watch begins with it, the position to go on from, and whether to send the resource."""
    if not token:
        return tx.get(name, kind), tx.head(), True
    after = page.open_resume_token(tx.facts.store_id, token)
    if after > tx.head() or after + 1 < tx.tail():
        raise Expired("resume_token is older than the log; start the watch again without it", resource=name)
    if tx.changes(after, limit=1, name=name):
        return None, after, False
    current = tx.get(name, kind)
    return current, tx.head(), False


def _next(tx: Tx, name: str, after: int) -> tuple[list[EventRecord], int]:
    """Return the changes past a position and the position behind them."""
    head = tx.head()
    records = tx.changes(after, limit=PAGE_CHANGES, name=name)
    return records, records[-1].sequence if len(records) == PAGE_CHANGES else head


def _resource(record: EventRecord, kind: type[M]) -> M:
    return cast("M", change.event_message(change.kind_of(kind), record.payload)[0])
