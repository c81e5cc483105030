"""What every database behind the store must do."""

from __future__ import annotations

import asyncio
import sqlite3
import uuid
from pathlib import Path

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from bessemer.api.data.v1.project_service_pb2 import Project
from bessemer.api.event.v1.train_events_pb2 import ModelChanged
from bessemer.api.train.v1.model_pb2 import Model, ModelVersion
from bessemer.api.train.v1.training_job_pb2 import Checkpoint
from bessemer.kernel.clock import SystemClock
from bessemer.kernel.errors import (
    AlreadyExists,
    Conflict,
    DataLoss,
    FailedPrecondition,
    Internal,
    InvalidRequest,
    NotFound,
    Unavailable,
)
from bessemer.kernel.ids import event_id
from bessemer.svckit import audit, context
from bessemer.svckit.outbox import prune
from bessemer.svckit.store import METADATA, Store
from bessemer.svckit.tables import SHARED
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

NAME = "projects/p/models/m"


def create(name=NAME, **fields):
    return lambda tx: tx.put(Model(name=name, **fields), verb="created")


async def test_put_new_resource_fills_the_servers_fields(store):
    made = await store.write(create(display_name="M", uid="forged", revision=7, creator="forged"))
    assert (made.revision, made.creator, made.display_name) == (1, "system", "M")
    assert made.uid != "forged"
    assert made.etag
    assert made.create_time == made.update_time
    assert await store.read(lambda tx: tx.get(NAME, Model)) == made


async def test_put_again_keeps_origin_and_counts_revisions(store):
    first = await store.write(create())
    second = await store.write(lambda tx: tx.put(Model(name=NAME, display_name="new"), verb="renamed"))
    assert (second.uid, second.create_time, second.revision) == (first.uid, first.create_time, 2)
    assert second.etag != first.etag


async def test_put_created_twice_is_refused(store):
    await store.write(create())
    with pytest.raises(AlreadyExists):
        await store.write(create())
    with pytest.raises(AlreadyExists):
        await store.write(lambda tx: tx.put(ModelVersion(name=NAME), verb="created"))


async def test_put_with_old_etag_conflicts(store):
    first = await store.write(create())
    await store.write(lambda tx: tx.put(first, verb="renamed", etag=first.etag))
    with pytest.raises(Conflict) as caught:
        await store.write(lambda tx: tx.put(first, verb="renamed", etag=first.etag))
    assert caught.value.reason == "ETAG_MISMATCH"


async def test_put_kind_with_name_only_is_stored(store):
    name = "projects/p/trainingJobs/j/checkpoints/step-000020"
    made = await store.write(lambda tx: tx.put(Checkpoint(name=name, step=20), verb="created"))
    assert made == Checkpoint(name=name, step=20)
    assert await store.read(lambda tx: tx.get(name, Checkpoint)) == made


async def test_put_without_event_message_is_a_defect(store):
    from bessemer.api.train.v1.training_job_pb2 import TrainingInputs

    with pytest.raises(Internal):
        await store.write(lambda tx: tx.put(TrainingInputs(), verb="created"))


async def test_find_missing_or_of_another_kind_is_none(store):
    await store.write(create())
    assert await store.read(lambda tx: tx.find(NAME, ModelVersion)) is None
    with pytest.raises(NotFound):
        await store.read(lambda tx: tx.get("projects/p/models/none", Model))


async def test_delete_leaves_an_event_with_the_last_state(store):
    made = await store.write(create())
    await store.write(lambda tx: tx.delete(NAME, Model))
    assert await store.read(lambda tx: tx.find(NAME, Model)) is None
    last = (await store.read(lambda tx: tx.changes(1)))[0]
    assert (last.type, last.revision) == ("bessemer.train.model.deleted.v1", 2)
    assert ModelChanged.FromString(last.payload).model == made
    with pytest.raises(NotFound):
        await store.write(lambda tx: tx.delete(NAME, Model))


async def test_changes_carry_type_id_and_payload(store):
    made = await store.write(lambda tx: tx.put(Model(name=NAME), verb="created", previous_state="NONE"))
    (record,) = await store.read(lambda tx: tx.changes(0))
    assert (record.sequence, record.type, record.resource) == (1, "bessemer.train.model.created.v1", NAME)
    assert record.id == event_id(made.uid, 1)
    assert ModelChanged.FromString(record.payload) == ModelChanged(model=made, previous_state="NONE")


async def test_changes_filter_by_name_and_limit(store):
    for number in range(4):
        await store.write(
            create(f"projects/p/models/m{number % 2}") if number < 2 else create(f"projects/p/models/x{number}")
        )
    await store.write(lambda tx: tx.put(Model(name="projects/p/models/m0"), verb="renamed"))
    assert [r.sequence for r in await store.read(lambda tx: tx.changes(0, name="projects/p/models/m0"))] == [1, 5]
    assert [r.sequence for r in await store.read(lambda tx: tx.changes(1, limit=2))] == [2, 3]
    assert await store.read(lambda tx: tx.head()) == 5


async def test_write_that_raises_leaves_nothing_and_spares_its_neighbours(store):
    def bad(tx):
        tx.put(Model(name="projects/p/models/bad"), verb="created")
        raise FailedPrecondition("no")

    calls = [create(f"projects/p/models/m{number}") if number % 3 else bad for number in range(60)]
    results = await asyncio.gather(*(store.write(call) for call in calls), return_exceptions=True)
    assert all(isinstance(r, FailedPrecondition) == (n % 3 == 0) for n, r in enumerate(results))
    assert await store.read(lambda tx: tx.find("projects/p/models/bad", Model)) is None
    sequences = [r.sequence for r in await store.read(lambda tx: tx.changes(0, limit=100))]
    assert sequences == list(range(1, 41))
    await store.read(lambda tx: audit.verify(tx.connection))


async def test_write_in_a_read_is_a_defect(store):
    with pytest.raises(Internal):
        await store.read(create())


async def test_two_replicas_share_one_contiguous_log(store, database_url):
    other = Store.open(database_url, service="train", clock=SystemClock())
    try:
        await asyncio.gather(
            *((store if number % 2 else other).write(create(f"projects/p/models/m{number}")) for number in range(80))
        )
        sequences = [r.sequence for r in await other.read(lambda tx: tx.changes(0))]
        assert sequences == list(range(1, 81))
        await store.read(lambda tx: audit.verify(tx.connection))
    finally:
        other.close()


async def test_reopened_store_has_everything_and_migrates_nothing(store, database_url):
    made = await store.write(create())
    again = Store.open(database_url, service="train", clock=SystemClock())
    try:
        assert await again.read(lambda tx: tx.get(NAME, Model)) == made
        assert again.facts.store_id == store.facts.store_id
        assert again.changed().head == 1
    finally:
        again.close()


async def test_newer_schema_is_refused(store, database_url):
    await store.write(
        lambda tx: tx.connection.execute(sqlalchemy.text("UPDATE schema_version SET version_num = '9999'"))
    )
    with pytest.raises(FailedPrecondition, match="9999"):
        Store.open(database_url, service="train", clock=SystemClock())


async def test_extra_tables_gain_columns(database_url):
    old = sqlalchemy.Table(
        "notes", sqlalchemy.MetaData(), sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True)
    )
    Store.open(database_url, service="train", clock=SystemClock(), extra=[old]).close()
    new = sqlalchemy.Table(
        "notes",
        sqlalchemy.MetaData(),
        sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True),
        sqlalchemy.Column("text", sqlalchemy.Text, index=True),
        sqlalchemy.Column("rank", sqlalchemy.Integer, nullable=False, server_default="3"),
    )
    store = Store.open(database_url, service="train", clock=SystemClock(), extra=[new])
    try:
        await store.write(lambda tx: tx.connection.execute(new.insert().values(id=1, text="a")))
        assert (await store.read(lambda tx: tx.connection.execute(new.select()).one())) == (1, "a", 3)
    finally:
        store.close()
    impossible = sqlalchemy.Table(
        "notes",
        sqlalchemy.MetaData(),
        sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True),
        sqlalchemy.Column("must", sqlalchemy.Text, nullable=False),
    )
    with pytest.raises(FailedPrecondition, match=r"notes\.must"):
        Store.open(database_url, service="train", clock=SystemClock(), extra=[impossible])


def test_migrated_tables_are_those_the_program_uses(store):
    def compare(tx):
        options = {"include_object": lambda _, name, kind, *__: kind != "table" or name in {t.name for t in SHARED}}
        return compare_metadata(MigrationContext.configure(tx.connection, opts=options), METADATA)

    assert asyncio.run(store.read(compare)) == []


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(1, 9)), missing=st.integers(1, 9))
def test_consumed_is_the_contiguous_part_of_what_was_handled(store, order, missing):
    consumer = uuid.uuid4().hex  # the examples share one store

    async def handle():
        for sequence in order:
            if sequence != missing:
                assert await store.write(lambda tx, n=sequence: tx.consume(consumer, "data", n))
        return await store.read(lambda tx: tx.consumed(consumer, "data"))

    assert asyncio.run(handle()) == missing - 1


async def test_list_pages_in_order_of_creation(store):
    names = [f"projects/p/models/{letter}" for letter in "zyxwv"]
    for name in names:
        await store.write(create(name))
        await asyncio.sleep(0.002)  # ids sort by millisecond
    await store.write(create("projects/other/models/a"))
    seen, token = [], ""
    while True:
        page, token = await store.read(
            lambda tx, token=token: tx.list(Model, "projects/p", page_size=2, page_token=token)
        )
        seen += [model.name for model in page]
        if not token:
            break
    assert seen == names


async def test_page_token_of_another_list_is_refused(store):
    for number in range(3):
        await store.write(create(f"projects/p/models/m{number}"))
    _, token = await store.read(lambda tx: tx.list(Model, "projects/p", page_size=1))
    for parent, wrong in (
        ("projects/q", token),
        ("projects/p", token[:-2]),
        ("projects/p", "garbage"),
        ("projects/p", "é"),
    ):
        with pytest.raises(InvalidRequest) as caught:
            await store.read(lambda tx, p=parent, w=wrong: tx.list(Model, p, page_size=1, page_token=w))
        assert caught.value.reason == "PAGE_TOKEN_INVALID"


async def test_project_lists_at_the_top(store):
    await store.write(lambda tx: tx.put(Project(name="projects/p"), verb="created"))
    page, _ = await store.read(lambda tx: tx.list(Project, "", page_size=0))
    assert [project.name for project in page] == ["projects/p"]


def key(request_id="r1", sha256="a" * 64):
    return context.IdempotencyKey("ann", "/train/CreateModel", request_id, sha256)


async def in_call(coroutine_function, call_key):
    """Run as a gRPC handler would: in a task of its own, with the key set."""

    async def run():
        context.idempotency.set(call_key)
        return await coroutine_function()

    return await asyncio.create_task(run())


async def test_first_put_of_a_call_records_its_key(store):
    async def handler():
        await store.write(create())
        await store.write(create("projects/p/models/second"))  # the same call may write twice

    await in_call(handler, key())
    assert await store.read(lambda tx: tx.replayed(key())) == ("a" * 64, NAME)
    assert await store.read(lambda tx: tx.replayed(key("r2"))) is None


async def test_racing_twin_of_a_call_is_told_to_retry(store):
    await in_call(lambda: store.write(create()), key())
    with pytest.raises(Unavailable):
        await in_call(lambda: store.write(create("projects/p/models/twin")), key())
    with pytest.raises(Conflict) as caught:
        await in_call(lambda: store.write(create("projects/p/models/twin")), key(sha256="b" * 64))
    assert caught.value.reason == "REQUEST_ID_REUSED"
    assert await store.read(lambda tx: tx.find("projects/p/models/twin", Model)) is None


async def test_failed_call_records_no_key(store):
    def fail(tx):
        create()(tx)
        raise FailedPrecondition("no")

    with pytest.raises(FailedPrecondition):
        await in_call(lambda: store.write(fail), key())
    assert await store.read(lambda tx: tx.replayed(key())) is None


async def test_principal_of_the_call_becomes_creator_and_stands_in_the_audit(store):
    async def handler():
        context.principal.set(context.Principal("ann"))
        return await store.write(create())

    made = await in_call(handler, key())
    assert made.creator == "ann"
    rows = await store.read(
        lambda tx: tx.connection.execute(sqlalchemy.text("SELECT principal, method FROM audit")).all()
    )
    assert [tuple(row) for row in rows] == [("ann", "/train/CreateModel created")]


async def test_audit_edit_is_found(store):
    for number in range(5):
        await store.write(create(f"projects/p/models/m{number}"))
    first = await store.read(lambda tx: audit.verify(tx.connection))
    assert first != audit.START
    edit = sqlalchemy.text("UPDATE audit SET principal = 'mallory' WHERE sequence = 3")
    await store.write(lambda tx: tx.connection.execute(edit))
    with pytest.raises(DataLoss) as caught:
        await store.read(lambda tx: audit.verify(tx.connection))
    assert caught.value.fields["record"] == "3"


async def test_consume_is_true_once_in_any_order(store):
    for sequence in (1, 3, 2, 5):
        assert await store.write(lambda tx, n=sequence: tx.consume("c", "data", n))
    for sequence in (1, 2, 3, 5):
        assert not await store.write(lambda tx, n=sequence: tx.consume("c", "data", n))
    assert await store.read(lambda tx: tx.consumed("c", "data")) == 3
    assert await store.write(lambda tx: tx.consume("c", "eval", 1))


async def test_prune_keeps_new_unpublished_and_last_events(store):
    for number in range(4):
        await store.write(create(f"projects/p/models/m{number}"))
    old = sqlalchemy.text("UPDATE changes SET time = '2020-01-01T00:00:00Z'")
    await store.write(lambda tx: tx.connection.execute(old))
    await store.write(prune)
    assert await store.read(lambda tx: tx.tail()) == 1  # nothing is published
    await store.write(lambda tx: tx.set_cursor("relay", 4))
    await store.write(prune)
    assert await store.read(lambda tx: (tx.tail(), tx.head())) == (4, 4)
    await store.write(create())
    assert await store.read(lambda tx: tx.head()) == 5


async def test_cancelled_call_is_not_run(store):
    gate, ran = asyncio.Event(), []
    loop = asyncio.get_running_loop()

    def hold(_tx):
        loop.call_soon_threadsafe(gate.set)
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0.2), loop).result(5)

    first = asyncio.create_task(store.write(hold))
    await gate.wait()
    second = asyncio.create_task(store.write(lambda _tx: ran.append(1)))
    await asyncio.sleep(0)
    second.cancel()
    await first
    await store.write(lambda tx: tx.head())
    assert ran == []


async def test_changed_wakes_on_commit(store):
    waiting = asyncio.create_task(store.changed().wait_after(0, 5.0))
    await store.write(create())
    assert await asyncio.wait_for(waiting, 2) == 1
    assert await store.changed().wait_after(1, 0.01) == 1


async def test_write_after_close_is_unavailable(database_url):
    store = Store.open(database_url, service="train", clock=SystemClock())
    store.close()
    with pytest.raises(Unavailable):
        await store.write(create())


@pytest.mark.parametrize("setting", ["OFF", "NORMAL", "0", "1"])
def test_sqlite_with_lower_synchronous_is_refused(tmp_path, setting):
    with pytest.raises(FailedPrecondition, match="synchronous"):
        Store.open(f"sqlite:///{tmp_path}/a.db?synchronous={setting}", service="train", clock=SystemClock())


def test_database_in_memory_or_of_unknown_kind_is_refused():
    for url in ("sqlite://", "sqlite:///:memory:", "mysql://host/db"):
        with pytest.raises(FailedPrecondition):
            Store.open(url, service="train", clock=SystemClock())


def test_metadata_holds_the_shared_tables():
    assert {"resources", "changes", "audit", "inbox"} <= set(METADATA.tables)


async def test_sqlite_locked_by_another_program_is_unavailable(tmp_path, monkeypatch):
    monkeypatch.setattr("bessemer.svckit.database.BUSY_TIMEOUT_MS", 50)
    path = tmp_path / "a.db"
    store = Store.open(f"sqlite:///{path}", service="train", clock=SystemClock())
    thief = sqlite3.connect(path, isolation_level=None)
    try:
        thief.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable):
            await store.write(create())
        thief.execute("ROLLBACK")
        assert (await store.write(create())).revision == 1
    finally:
        thief.close()
        store.close()


def test_sqlite_damaged_file_is_data_loss(tmp_path):
    path = Path(tmp_path / "a.db")
    path.write_bytes(b"this is not a database, whatever its name says" * 100)
    with pytest.raises(DataLoss):
        Store.open(f"sqlite:///{path}", service="train", clock=SystemClock())


async def test_postgres_lost_connections_are_unavailable_then_heal(postgres):
    store = Store.open(postgres, service="lost", clock=SystemClock())
    admin = sqlalchemy.create_engine(postgres, isolation_level="AUTOCOMMIT")
    cut = sqlalchemy.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")

    def lose_connection(tx):
        with admin.connect() as connection:
            connection.execute(cut)
        tx.head()

    try:
        with pytest.raises(Unavailable):
            await store.write(lose_connection)
        assert (await store.write(create("projects/lost/models/m"))).revision == 1
    finally:
        admin.dispose()
        store.close()
