"""What the bus must do over a real broker, and what outbox and consumers make of it when the broker fails."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time

import nats
import pytest
from bessemer.api.common.v1.system_service_pb2 import EventRecord
from bessemer.api.event.v1.train_events_pb2 import ModelChanged
from bessemer.api.train.v1.model_pb2 import Model
from bessemer.kernel.errors import Unavailable
from bessemer.local.servers import free_ports
from bessemer.svckit.bus_nats import NatsBus
from bessemer.svckit.consumer import EventConsumer
from bessemer.svckit.outbox import relay


def event(sequence):
    payload = ModelChanged(model=Model(name="projects/p/models/m", display_name="Größe 100 %")).SerializeToString()
    return EventRecord(
        sequence=sequence,
        id=f"id-{sequence}",
        type="bessemer.train.model.renamed.v1",
        resource="projects/p/models/m",
        revision=sequence,
        time="2026-01-01T00:00:00.000000Z",
        payload=payload,
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )


async def until(condition, limit_s=20.0):
    deadline = time.monotonic() + limit_s
    while not await condition():
        assert time.monotonic() < deadline, "did not happen in time"
        await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def running(*coroutines):
    tasks = [asyncio.create_task(each) for each in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        crashed = [each for each in results if not isinstance(each, asyncio.CancelledError)]
        assert not crashed, crashed


@pytest.fixture
async def bus(nats_server):
    bus = NatsBus(nats_server.url, service="train")
    yield bus
    await bus.close()


@contextlib.asynccontextmanager
async def opened(bus):
    try:
        yield bus
    finally:
        await bus.close()


async def stored(server, stream="EVT_TRAIN"):
    client = await nats.connect(server.url)
    try:
        return (await client.jetstream().stream_info(stream)).state.messages
    finally:
        await client.close()


async def test_published_events_arrive_complete_and_in_order(bus):
    got = []

    async def handler(record):
        got.append(record)

    async with running(bus.subscribe("train", "eval--test--v1", handler)):
        await until(lambda: publishes(bus, [event(n) for n in range(1, 51)]))
        await until(lambda: asyncio.sleep(0, len(got) == 50))
    assert got == [event(n) for n in range(1, 51)]


async def test_event_published_twice_is_stored_once(bus, nats_server):
    await bus.position()
    await bus.publish([event(1), event(2)])
    await bus.publish([event(2), event(3)])
    assert await stored(nats_server) == 3
    assert (await bus.position()).last == 3


async def test_messages_are_cloud_events_with_the_documented_subject(bus, nats_server):
    await bus.position()
    await bus.publish([event(1)])
    client = await nats.connect(nats_server.url)
    message = await client.jetstream().get_msg("EVT_TRAIN", 1)
    info = await client.jetstream().stream_info("EVT_TRAIN")
    await client.close()
    assert message.subject == "evt.v1.p.train.models.m.renamed"
    assert message.headers["ce-specversion"] == "1.0"
    assert message.headers["Nats-Msg-Id"] == message.headers["ce-id"] == "id-1"
    assert ModelChanged.FromString(message.data).model.display_name == "Größe 100 %"
    assert (info.config.max_age, info.config.duplicate_window) == (30 * 86400, 7200)


async def test_handler_that_fails_gets_the_event_again(bus):
    tries = []

    async def handler(record):
        tries.append(record.sequence)
        if len(tries) == 1:
            raise RuntimeError("not yet")

    await bus.position()
    await bus.publish([event(1)])
    async with running(bus.subscribe("train", "eval--test--v1", handler)):
        await until(lambda: asyncio.sleep(0, tries == [1, 1]))


async def test_durable_goes_on_where_it_stopped(bus):
    got = []

    async def handler(record):
        got.append(record.sequence)

    await bus.position()
    for batch in ([event(1)], [event(2)]):
        await bus.publish(batch)
        async with running(bus.subscribe("train", "eval--test--v1", handler)):
            await until(lambda n=batch[0].sequence: asyncio.sleep(0, len(got) == n))
    assert got == [1, 2]


async def test_message_that_is_no_event_is_dropped(bus, nats_server):
    got = []

    async def handler(record):
        got.append(record.sequence)

    await bus.position()
    client = await nats.connect(nats_server.url)
    await client.jetstream().publish("evt.v1.p.train.models.m.renamed", b"garbage")
    await client.close()
    await bus.publish([event(1)])
    async with running(bus.subscribe("train", "eval--test--v1", handler)):
        await until(lambda: asyncio.sleep(0, got == [1]))


async def test_no_broker_is_unavailable_soon():
    bus = NatsBus(f"nats://127.0.0.1:{free_ports(1)[0]}", service="train")
    began = time.monotonic()
    with pytest.raises(Unavailable):
        await bus.position()
    assert time.monotonic() - began < 10
    await bus.close()


@pytest.mark.parametrize("wipe", [False, True], ids=["kept", "wiped"])
async def test_subscription_survives_a_killed_broker(bus, nats_server, wipe):
    got = set()

    async def handler(record):
        got.add(record.sequence)

    async with running(bus.subscribe("train", "eval--test--v1", handler)):
        await until(lambda: publishes(bus, [event(1)]))
        await until(lambda: asyncio.sleep(0, got == {1}))
        nats_server.kill()
        if wipe:
            shutil.rmtree(nats_server.folder)
        nats_server.start()
        await until(lambda: publishes(bus, [event(2)]), 30)
        await until(lambda: asyncio.sleep(0, 2 in got), 30)


async def publishes(bus, batch):
    try:
        await bus.position()
        await bus.publish(batch)
    except Unavailable:
        return False
    return True


def put(number):
    return lambda tx: tx.put(Model(name=f"projects/p/models/m{number}"), verb="created")


async def relayed(store, sequence):
    return await store.read(lambda tx: tx.cursor("relay")) >= sequence


async def test_relay_publishes_the_outbox(bus, nats_server, sqlite_stores):
    store = sqlite_stores("train")
    for number in range(120):
        await store.write(put(number))
    async with running(relay(store, bus)):
        await until(lambda: relayed(store, 120))
        await store.write(put(120))
        await until(lambda: relayed(store, 121))
    assert await stored(nats_server) == 121


async def test_relay_waits_for_a_broker_that_comes_late(nats_server, sqlite_stores):
    nats_server.kill()
    store = sqlite_stores("train")
    async with opened(NatsBus(nats_server.url, service="train")) as bus, running(relay(store, bus)):
        await store.write(put(1))  # writing never waits for the broker
        await asyncio.sleep(0.5)
        nats_server.start()
        await until(lambda: relayed(store, 1), 30)
    assert await stored(nats_server) == 1


@pytest.mark.parametrize("wipe", [False, True], ids=["kept", "wiped"])
async def test_killed_broker_holds_every_event_after_restart(bus, nats_server, sqlite_stores, wipe):
    store = sqlite_stores("train")
    async with running(relay(store, bus)):
        for number in range(10):
            await store.write(put(number))
        await until(lambda: relayed(store, 10))
        nats_server.kill()
        if wipe:
            shutil.rmtree(nats_server.folder)
        await store.write(put(10))
        nats_server.start()

        async def complete():
            try:
                return await stored(nats_server) == 11
            except (nats.errors.Error, OSError):  # not up yet, or up and still without the stream
                return False

        await until(complete, 30)


def consumer(store, producer_store, bus, handler, *, up=lambda: True):
    async def read_events(after):
        if not up():
            raise Unavailable("producer is down")
        return await producer_store.read(lambda tx: tx.changes(after, limit=7))

    return EventConsumer(store, producer="train", consumer="test", handler=handler, bus=bus, read_events=read_events)


async def test_consumer_hears_of_new_events_through_the_bus(nats_server, sqlite_stores):
    train, eval_ = sqlite_stores("train"), sqlite_stores("eval")
    seen, asked = [], []

    def up():
        asked.append(1)
        return len(asked) <= 2  # the first catch-up may ask; afterwards only the bus brings news

    async with (
        opened(NatsBus(nats_server.url, service="train")) as out,
        opened(NatsBus(nats_server.url, service="eval")) as inn,
    ):
        listener = consumer(eval_, train, inn, lambda _tx, record: seen.append(record.sequence), up=up)
        async with running(relay(train, out), listener.run()):
            await until(lambda: asyncio.sleep(0, bool(asked)))
            for number in range(20):
                await train.write(put(number))
            await until(lambda: asyncio.sleep(0, len(seen) == 20))
    assert seen == list(range(1, 21))


async def test_consumer_without_a_bus_catches_up_by_asking(sqlite_stores):
    train, eval_ = sqlite_stores("train"), sqlite_stores("eval")
    seen = []
    for number in range(20):
        await train.write(put(number))
    listener = consumer(eval_, train, None, lambda _tx, record: seen.append(record.sequence))
    await listener.catch_up()
    await listener.catch_up()
    assert seen == list(range(1, 21))


async def test_consumer_effect_and_inbox_are_one_transaction(sqlite_stores):
    train, eval_ = sqlite_stores("train"), sqlite_stores("eval")
    await train.write(put(1))
    failures = iter([Unavailable("database"), None])

    def handler(tx, record):
        tx.put(Model(name="projects/p/models/copy", display_name=str(record.sequence)), verb="created")
        if (failure := next(failures)) is not None:
            raise failure

    listener = consumer(eval_, train, None, handler)
    with pytest.raises(Unavailable):
        await listener.catch_up()
    assert await eval_.read(lambda tx: tx.head()) == 0
    await listener.catch_up()
    assert await eval_.read(lambda tx: (tx.head(), tx.consumed("test", "train"))) == (1, 1)


async def test_poisonous_event_is_put_aside_after_eight_tries(sqlite_stores, monkeypatch):
    monkeypatch.setattr("bessemer.svckit.consumer.RETRY_S", 0.001)
    train, eval_ = sqlite_stores("train"), sqlite_stores("eval")
    for number in range(3):
        await train.write(put(number))
    seen = []

    def handler(_tx, record):
        seen.append(record.sequence)
        if record.sequence == 2:
            raise ValueError("poison")

    await consumer(eval_, train, None, handler).catch_up()
    assert seen == [1, *[2] * 8, 3]
    letters = await eval_.read(
        lambda tx: tx.connection.exec_driver_sql("SELECT sequence, tries, dead, reason FROM dead_letters").all()
    )
    assert [tuple(letter) for letter in letters] == [(2, 8, 1, "ValueError: poison")]


async def test_consumer_skips_what_the_producer_forgot(sqlite_stores):
    train, eval_ = sqlite_stores("train"), sqlite_stores("eval")
    for number in range(5):
        await train.write(put(number))
    await train.write(lambda tx: tx.connection.exec_driver_sql("DELETE FROM changes WHERE sequence < 3"))
    seen = []
    await consumer(eval_, train, None, lambda _tx, record: seen.append(record.sequence)).catch_up()
    assert seen == [3, 4, 5]
    assert await eval_.read(lambda tx: tx.consumed("test", "train")) == 5
