from __future__ import annotations

import asyncio

import pytest
import sqlalchemy
from bessemer.api.common.v1.watch_pb2 import WATCH_EVENT_BOOKMARK, WATCH_EVENT_CHANGE, WATCH_EVENT_SNAPSHOT
from bessemer.api.train.v1.model_pb2 import Model
from bessemer.kernel.clock import SystemClock
from bessemer.kernel.errors import Expired, InvalidRequest, NotFound, Unavailable
from bessemer.svckit.store import Store
from bessemer.svckit.watch import watch

NAME = "projects/p/models/m"


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/a.db"


@pytest.fixture
def store(url):
    store = Store.open(url, service="train", clock=SystemClock())
    yield store
    store.close()


def rename(display_name, verb="renamed"):
    return lambda tx: tx.put(Model(name=NAME, display_name=display_name), verb=verb)


def follow(store, token="", **options):
    return watch(store, NAME, Model, token, terminal=lambda model: model.display_name == "end", **options)


async def collect(stream):
    return [(event, model.display_name if model else None) async for event, model, _ in stream]


async def test_watch_begins_with_a_snapshot_and_ends_after_the_terminal_state(store):
    await store.write(rename("a"))
    stream = follow(store)
    event, model, _ = await anext(stream)
    assert (event, model.display_name) == (WATCH_EVENT_SNAPSHOT, "a")
    for display_name in ("b", "c", "end", "after"):
        await store.write(rename(display_name))
    assert await collect(stream) == [(WATCH_EVENT_CHANGE, "b"), (WATCH_EVENT_CHANGE, "c"), (WATCH_EVENT_CHANGE, "end")]


async def test_watch_of_a_finished_resource_is_its_snapshot(store):
    await store.write(rename("end"))
    assert await collect(follow(store)) == [(WATCH_EVENT_SNAPSHOT, "end")]


async def test_watch_resumed_anywhere_misses_and_repeats_nothing(store):
    await store.write(rename("a"))
    stream = follow(store)
    tokens = [(await anext(stream))[2]]
    for display_name in ("b", "c"):
        await store.write(rename(display_name))
        await store.write(lambda tx: tx.put(Model(name="projects/p/models/other"), verb="renamed"))
        tokens.append((await anext(stream))[2])
    await store.write(rename("end"))
    tokens.append((await anext(stream))[2])
    story = [(WATCH_EVENT_CHANGE, "b"), (WATCH_EVENT_CHANGE, "c"), (WATCH_EVENT_CHANGE, "end")]
    for number, token in enumerate(tokens):
        assert await asyncio.wait_for(collect(follow(store, token)), 5) == story[number:]


async def test_watch_sends_bookmarks_with_fresh_tokens(store):
    await store.write(rename("a"))
    stream = follow(store, bookmark_s=0.05)
    await anext(stream)
    await store.write(lambda tx: tx.put(Model(name="projects/p/models/other"), verb="created"))
    event, model, token = await anext(stream)
    assert (event, model) == (WATCH_EVENT_BOOKMARK, None)
    while not token.endswith("-2"):  # the change of the other resource may come after the first bookmark
        _, _, token = await anext(stream)
    await store.write(rename("end"))
    assert await collect(follow(store, token)) == [(WATCH_EVENT_CHANGE, "end")]


async def test_watch_sees_changes_of_another_replica(store, url):
    await store.write(rename("a"))
    other = Store.open(url, service="train", clock=SystemClock())
    try:
        stream = follow(store)
        await anext(stream)
        await other.write(rename("end"))
        assert await asyncio.wait_for(collect(stream), 5) == [(WATCH_EVENT_CHANGE, "end")]
    finally:
        other.close()


async def test_watch_of_a_missing_or_deleted_resource_is_not_found(store):
    with pytest.raises(NotFound):
        await anext(follow(store))
    await store.write(rename("a"))
    stream = follow(store)
    await anext(stream)
    await store.write(lambda tx: tx.delete(NAME, Model))
    assert (await anext(stream))[0] == WATCH_EVENT_CHANGE
    with pytest.raises(NotFound):
        await anext(stream)


async def test_watch_ends_when_the_service_drains(store):
    await store.write(rename("a"))
    stream = follow(store)
    await anext(stream)
    waiting = asyncio.create_task(anext(stream))
    await asyncio.sleep(0.05)
    store.drain()
    with pytest.raises(Unavailable) as caught:
        await asyncio.wait_for(waiting, 2)
    assert caught.value.reason == "DRAINING"


async def test_token_before_the_log_or_of_another_database_has_expired(store):
    for display_name in "abcd":
        await store.write(rename(display_name))
    token = f"{store.facts.store_id}-1"
    await store.write(lambda tx: tx.connection.execute(sqlalchemy.text("DELETE FROM changes WHERE sequence < 3")))
    for expired in (token, f"{store.facts.store_id}-5", "00000000-1"):
        with pytest.raises(Expired) as caught:
            await anext(follow(store, expired))
        assert caught.value.reason == "RESUME_TOKEN_EXPIRED"
    for garbage in ("x", f"{store.facts.store_id}-", "-", f"{store.facts.store_id}-٣"):
        with pytest.raises(InvalidRequest):
            await anext(follow(store, garbage))


async def test_many_watches_wake_together(store):
    await store.write(rename("a"))
    streams = [follow(store) for _ in range(50)]
    for stream in streams:
        await anext(stream)
    ends = [asyncio.create_task(collect(stream)) for stream in streams]
    await asyncio.sleep(0)
    await store.write(rename("end"))
    assert await asyncio.wait_for(asyncio.gather(*ends), 10) == [[(WATCH_EVENT_CHANGE, "end")]] * 50
