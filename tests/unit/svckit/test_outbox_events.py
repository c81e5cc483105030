from __future__ import annotations

import asyncio

import pytest
from bessemer.api.common.v1.system_service_pb2 import EventRecord
from bessemer.api.train.v1.model_pb2 import Model
from bessemer.kernel.clock import SystemClock
from bessemer.kernel.errors import Internal, InvalidRequest
from bessemer.svckit import outbox
from bessemer.svckit.bus import Position
from bessemer.svckit.bus_nats import event_of, headers_of, subject_of
from bessemer.svckit.change import PAYLOAD_LIMIT_BYTES, event_payload, event_type, kind_of, kinds
from bessemer.svckit.page import open_page_token, page_token
from bessemer.svckit.store import Store
from hypothesis import given
from hypothesis import strategies as st

ids = st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True)


@given(
    project=ids,
    job=ids,
    sequence=st.integers(1, 2**62),
    revision=st.integers(1, 2**62),
    payload=st.binary(max_size=200),
    traceparent=st.sampled_from(["", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]),
)
def test_event_survives_the_bus_headers(project, job, sequence, revision, payload, traceparent):
    event = EventRecord(
        sequence=sequence,
        id="5e4b4a1c",
        type="bessemer.train.training_job.succeeded.v1",
        resource=f"projects/{project}/trainingJobs/{job}",
        revision=revision,
        time="2026-01-01T00:00:00.000000Z",
        payload=payload,
        traceparent=traceparent,
    )
    headers = headers_of(event)
    assert event_of(headers, event.payload) == event
    assert all(value.isascii() and value == value.strip() and "\n" not in value for value in headers.values())
    assert subject_of(event) == f"evt.v1.{project}.train.trainingJobs.{job}.succeeded"


@pytest.mark.parametrize("missing", ["ce-id", "ce-type", "ce-logsequence", "ce-sequence"])
def test_message_without_our_headers_is_no_event(missing):
    event = EventRecord(
        sequence=1, id="a", type="bessemer.train.model.x.v1", resource="projects/p/models/m", revision=1
    )
    headers = headers_of(event)
    del headers[missing]
    with pytest.raises(InvalidRequest):
        event_of(headers, b"")
    with pytest.raises(InvalidRequest):
        event_of(headers_of(event) | {"ce-sequence": "x"}, b"")


def test_names_in_subjects_cannot_add_levels():
    event = EventRecord(type="bessemer.train.model.x.v1", resource="projects/p/models/a.b>*")
    assert subject_of(event) == "evt.v1.p.train.models.a_b__.x"


def test_every_kind_is_the_first_field_of_its_event():
    assert {kind.field for kind in kinds().values()} >= {
        "training_job",
        "dataset_version",
        "gate_decision",
        "checkpoint",
    }
    for name, kind in kinds().items():
        assert kind.event.DESCRIPTOR.name == name.rsplit(".", 1)[1] + "Changed"
        assert event_type("train", kind, "made") == f"bessemer.train.{kind.field}.made.v1"


def test_message_that_is_no_kind_is_a_defect():
    with pytest.raises(Internal, match="EventRecord"):
        kind_of(EventRecord)


def test_payload_beyond_the_brokers_limit_is_refused():
    with pytest.raises(InvalidRequest):
        event_payload(kind_of(Model), Model(name="n", display_name="x" * PAYLOAD_LIMIT_BYTES), "")


@given(query=st.text(max_size=20), position=st.text(max_size=50), other=st.text(max_size=20))
def test_page_token_opens_for_its_own_query_only(query, position, other):
    token = page_token(b"k", query, position)
    assert open_page_token(b"k", query, token) == position
    for key, asked in ((b"k", other), (b"other", query)):
        if (key, asked) != (b"k", query):
            with pytest.raises(InvalidRequest):
                open_page_token(key, asked, token)


class CutStream:
    """A bus in memory whose stream a test may cut or replace; stands for what a damaged disk does to a broker."""

    def __init__(self):
        self.created, self.events = "1", []

    async def publish(self, batch):
        known = {event.id for event in self.events}
        self.events += [event for event in batch if event.id not in known]

    async def position(self):
        return Position(self.created, len(self.events))


@pytest.mark.parametrize("damage", ["cut", "replaced"])
async def test_relay_publishes_again_what_the_stream_lost(tmp_path, monkeypatch, damage):
    monkeypatch.setattr(outbox, "IDLE_S", 1.0)
    store = Store.open(f"sqlite:///{tmp_path}/a.db", service="train", clock=SystemClock())
    bus = CutStream()
    task = asyncio.create_task(outbox.relay(store, bus))
    try:
        for number in range(5):
            await store.write(lambda tx, n=number: tx.put(Model(name=f"projects/p/models/m{n}"), verb="created"))
        await until(lambda: len(bus.events) == 5)
        if damage == "cut":
            del bus.events[2:]
        else:
            bus.created, bus.events = "2", []
        await until(lambda: len(bus.events) == 5)
        assert {event.sequence for event in bus.events} == {1, 2, 3, 4, 5}
    finally:
        task.cancel()
        store.close()


async def until(condition, limit_s=10.0):
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110 - the store has no event for this
            await asyncio.sleep(0.02)


async def test_relay_notices_a_stream_replaced_while_it_publishes(tmp_path, monkeypatch):
    monkeypatch.setattr(outbox, "IDLE_S", 1.0)
    store = Store.open(f"sqlite:///{tmp_path}/a.db", service="train", clock=SystemClock())

    class ReplacedOnce(CutStream):
        async def publish(self, batch):
            await super().publish(batch)
            if batch[0].sequence == 2 and self.created == "1":
                self.created, self.events = "2", []

    bus = ReplacedOnce()
    task = asyncio.create_task(outbox.relay(store, bus))
    try:
        for number in range(2):
            await store.write(lambda tx, n=number: tx.put(Model(name=f"projects/p/models/m{n}"), verb="created"))
            await until(lambda: bus.created == "2" or len(bus.events) == 1)
        await until(lambda: {event.sequence for event in bus.events} == {1, 2})
    finally:
        task.cancel()
        store.close()
