"""What one transaction can do: resources, their events, the audit trail, the inbox."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeAlias, TypeVar

import sqlalchemy
from google.protobuf.message import Message
from sqlalchemy import and_, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from bessemer.api.common.v1.system_service_pb2 import EventRecord
from bessemer.kernel.clock import Clock
from bessemer.kernel.errors import AlreadyExists, Conflict, Internal, InvalidRequest, NotFound, Unavailable
from bessemer.kernel.ids import event_id, new_uid, parent_of, project_of
from bessemer.svckit import audit, change, page
from bessemer.svckit.context import IdempotencyKey, current_principal, current_traceparent, idempotency
from bessemer.svckit.tables import AUDIT, CHANGES, CURSORS, IDEMPOTENCY, INBOX, RESOURCES

__all__ = ["Heads", "StoreFacts", "Tx", "etag_of", "recorded_key"]

M = TypeVar("M", bound=Message)
Events: TypeAlias = list[EventRecord]  # named, because inside Tx `list` is the method
Page: TypeAlias = tuple[list[M], str]

# Built once: putting a statement together costs more than running it.
_HEAD = select(func.max(CHANGES.c.sequence))
_TAIL = select(func.min(CHANGES.c.sequence))
_AUDIT_END = select(AUDIT.c.sequence, AUDIT.c.sha256).order_by(AUDIT.c.sequence.desc()).limit(1)
_FIND = select(RESOURCES.c.uid, RESOURCES.c.revision, RESOURCES.c.payload).where(
    RESOURCES.c.name == bindparam("key"), RESOURCES.c.kind == bindparam("of")
)
_FIND_LOCKED = _FIND.with_for_update()
_UPDATE = (
    update(RESOURCES)
    .where(RESOURCES.c.name == bindparam("key"))
    .values(revision=bindparam("revision"), payload=bindparam("payload"))
)
_INSERT = insert(RESOURCES)
_INSERT_CHANGE = insert(CHANGES)
_INSERT_AUDIT = insert(AUDIT)
_CHANGES = select(CHANGES).where(CHANGES.c.sequence > bindparam("after")).order_by(CHANGES.c.sequence)
_CURSOR = select(CURSORS.c.sequence).where(CURSORS.c.name == bindparam("key"))

# The key that an earlier transaction of the same call recorded: its own row must not look like a racing twin.
recorded_key: ContextVar[IdempotencyKey | None] = ContextVar("recorded_key", default=None)


@dataclass(frozen=True)
class StoreFacts:
    """What a transaction knows about its store."""

    service: str
    clock: Clock
    store_id: str
    page_key: bytes


@dataclass
class Heads:
    """Ends of the two logs inside a write transaction; restored when a savepoint is rolled back."""

    sequence: int
    audit_sequence: int
    audit_sha256: str

    @staticmethod
    def load(connection: sqlalchemy.Connection) -> Heads:
        """Read both ends."""
        sequence = connection.execute(_HEAD).scalar() or 0
        last = connection.execute(_AUDIT_END).first()
        return Heads(sequence, *(last or (0, audit.START)))

    def copy(self) -> Heads:
        """Return the same values in another object."""
        return replace(self)


class Tx:
    """One transaction; reads see its own writes. Valid only inside the function it was given to."""

    def __init__(self, connection: sqlalchemy.Connection, facts: StoreFacts, heads: Heads | None = None) -> None:
        self.connection = connection
        self.clock = facts.clock
        self.facts = facts
        self.recorded: IdempotencyKey | None = None  # set when this transaction wrote the idempotency row
        self._heads = heads  # None in a read

    def get(self, name: str, kind: type[M]) -> M:
        """Return a resource.

        Raises: NotFound.
        """
        found = self.find(name, kind)
        if found is None:
            raise NotFound(f"{name} does not exist", resource=name)
        return found

    def find(self, name: str, kind: type[M]) -> M | None:
        """Return a resource, or None."""
        row = self._row(name, kind)
        return kind.FromString(row.payload) if row else None

    def put(self, resource: M, *, verb: str, previous_state: str = "", etag: str | None = None) -> M:
        """Create or update a resource, with its event, audit and idempotency rows; return it with the server's fields.

        Raises: AlreadyExists when `verb` is "created" and it exists; Conflict when `etag` is not the stored one.
        """
        kind = change.kind_of(type(resource))
        name = _name_of(resource)
        self._record_call(name)
        row = self._row(name, type(resource), lock=True)
        if row and verb == "created":
            raise AlreadyExists(f"{name} exists already", resource=name)
        if etag and (row is None or etag != etag_of(row.uid, row.revision)):
            raise Conflict(f"{name} changed since you read it; read it again and repeat the change", resource=name)
        now = self.clock.now()
        stored = type(resource)()
        stored.CopyFrom(resource)
        uid, revision = (row.uid, row.revision + 1) if row else (new_uid(), 1)
        _fill(stored, type(resource).FromString(row.payload) if row else None, uid, revision, now)
        values = {"revision": revision, "payload": stored.SerializeToString(deterministic=True)}
        if row:
            self.connection.execute(_UPDATE, {"key": name, **values})
        else:
            place = {
                "name": name,
                "kind": kind.name,
                "parent": parent_of(name),
                "project": project_of(name),
                "uid": uid,
            }
            self._insert_resource(place | values)
        self._log(kind, stored, uid, revision, verb=verb, previous_state=previous_state)
        return stored

    def delete(self, name: str, kind: type[M], *, verb: str = "deleted") -> None:
        """Remove a resource; its event carries it as it was.

        Raises: NotFound.
        """
        last = self.get(name, kind)
        self._record_call(name)
        row = self._row(name, kind, lock=True)
        self.connection.execute(delete(RESOURCES).where(RESOURCES.c.name == name))
        self._log(change.kind_of(kind), last, row.uid, row.revision + 1, verb=verb, previous_state="")

    def forget(self, name: str, left: Message) -> None:
        """Replace what earlier events of a resource carry by what is left of it; their order and number stay."""
        self._writing()
        payload = change.event_payload(change.kind_of(type(left)), left, "")
        self.connection.execute(update(CHANGES).where(CHANGES.c.resource == name).values(payload=payload))

    def list(self, kind: type[M], parent: str, *, page_size: int, page_token: str = "") -> Page[M]:
        """Return a page of the resources right under `parent`, oldest first, and the token of the next page.

        Raises: InvalidRequest with reason PAGE_TOKEN_INVALID.
        """
        name = kind.DESCRIPTOR.full_name
        query = f"{name}|{parent}"
        after = page.open_page_token(self.facts.page_key, query, page_token) if page_token else ""
        limit = page.page_rows(page_size)
        mine = and_(RESOURCES.c.kind == name, RESOURCES.c.parent == parent, RESOURCES.c.uid > after)
        statement = select(RESOURCES.c.uid, RESOURCES.c.payload).where(mine).order_by(RESOURCES.c.uid).limit(limit + 1)
        rows = self.connection.execute(statement).all()
        more = page.page_token(self.facts.page_key, query, rows[limit - 1].uid) if len(rows) > limit else ""
        return [kind.FromString(row.payload) for row in rows[:limit]], more

    def every_of(self, kind: type[M]) -> Sequence[M]:
        """Return all resources of a kind, oldest first; for kinds of which there are few."""
        mine = RESOURCES.c.kind == kind.DESCRIPTOR.full_name
        rows = self.connection.execute(select(RESOURCES.c.payload).where(mine).order_by(RESOURCES.c.uid))
        return [kind.FromString(row.payload) for row in rows]

    def newest(self, kind: type[M], parent: str, count: int) -> Sequence[M]:
        """Return the last `count` resources made right under `parent`, newest first."""
        mine = and_(RESOURCES.c.kind == kind.DESCRIPTOR.full_name, RESOURCES.c.parent == parent)
        statement = select(RESOURCES.c.payload).where(mine).order_by(RESOURCES.c.uid.desc()).limit(count)
        return [kind.FromString(row.payload) for row in self.connection.execute(statement)]

    def changes(self, after: int, *, limit: int = 256, name: str | None = None) -> Events:
        """Return events past a sequence number, oldest first; only those of one resource if `name` is given."""
        statement = _CHANGES.limit(limit)
        if name is not None:
            statement = statement.where(CHANGES.c.resource == name)
        rows = self.connection.execute(statement, {"after": after})
        return [
            EventRecord(**{key: value for key, value in row.items() if key != "project"}) for row in rows.mappings()
        ]

    def head(self) -> int:
        """Return the sequence number of the newest event; 0 before the first."""
        return self.connection.execute(_HEAD).scalar() or 0

    def tail(self) -> int:
        """Return the sequence number of the oldest event kept; 0 before the first."""
        return self.connection.execute(_TAIL).scalar() or 0

    def replayed(self, key: IdempotencyKey) -> tuple[str, str] | None:
        """Return the request's digest and the resource that an earlier call with this key recorded."""
        mine = and_(
            IDEMPOTENCY.c.principal == key.principal,
            IDEMPOTENCY.c.method == key.method,
            IDEMPOTENCY.c.request_id == key.request_id,
        )
        row = self.connection.execute(select(IDEMPOTENCY.c.request_sha256, IDEMPOTENCY.c.resource).where(mine)).first()
        return (row.request_sha256, row.resource) if row else None

    def consume(self, consumer: str, producer: str, sequence: int) -> bool:
        """Note that `consumer` handles an event in this transaction; False if it did before."""
        self._writing()
        if sequence <= self.consumed(consumer, producer):
            return False
        mine = and_(INBOX.c.consumer == consumer, INBOX.c.producer == producer)
        if self.connection.execute(select(INBOX).where(mine, INBOX.c.sequence == sequence)).first():
            return False
        self.connection.execute(insert(INBOX).values(consumer=consumer, producer=producer, sequence=sequence))
        self._compact(consumer, producer)
        return True

    def consumed(self, consumer: str, producer: str) -> int:
        """Return the sequence number up to which `consumer` has handled every event."""
        return self.cursor(f"inbox:{consumer}:{producer}")

    def cursor(self, name: str) -> int:
        """Return a stored position; 0 if it was never set."""
        return self.connection.execute(_CURSOR, {"key": name}).scalar() or 0

    def set_cursor(self, name: str, sequence: int) -> None:
        """Store a position."""
        self._writing()
        done = self.connection.execute(update(CURSORS).where(CURSORS.c.name == name).values(sequence=sequence))
        if not done.rowcount:
            self.connection.execute(insert(CURSORS).values(name=name, sequence=sequence))

    def _compact(self, consumer: str, producer: str) -> None:
        """Move the cursor over what is contiguous and forget those rows, so that the inbox stays small."""
        mine = and_(INBOX.c.consumer == consumer, INBOX.c.producer == producer)
        before = reached = self.consumed(consumer, producer)
        for sequence in self.connection.execute(
            select(INBOX.c.sequence).where(mine).order_by(INBOX.c.sequence)
        ).scalars():
            if sequence != reached + 1:
                break
            reached = sequence
        if reached > before:
            self.set_cursor(f"inbox:{consumer}:{producer}", reached)
            self.connection.execute(delete(INBOX).where(mine, INBOX.c.sequence <= reached))

    def _row(self, name: str, kind: type[Message], *, lock: bool = False) -> Any:
        statement = _FIND_LOCKED if lock else _FIND
        return self.connection.execute(statement, {"key": name, "of": kind.DESCRIPTOR.full_name}).first()

    def _insert_resource(self, values: dict[str, Any]) -> None:
        try:
            self.connection.execute(_INSERT, values)
        except IntegrityError as error:  # a resource of another kind has the name
            raise AlreadyExists(f"{values['name']} exists already", resource=values["name"]) from error

    def _record_call(self, name: str) -> None:
        """Write the idempotency row of the call that is being served, once."""
        self._writing()
        key = idempotency.get()
        if key is None or self.recorded == key or recorded_key.get() is key:
            return
        earlier = self.replayed(key)
        if earlier and earlier[0] != key.request_sha256:
            raise Conflict(
                f"request_id {key.request_id} was used with another request; take a new one for a new request",
                reason="REQUEST_ID_REUSED",
                field="request_id",
            )
        if earlier:
            raise Unavailable(
                f"the same request was just carried out and made {earlier[1]}; retry to get it", resource=earlier[1]
            )
        self.connection.execute(
            insert(IDEMPOTENCY).values(
                principal=key.principal,
                method=key.method,
                request_id=key.request_id,
                request_sha256=key.request_sha256,
                resource=name,
                created=_text(self.clock.now()),
            )
        )
        self.recorded = key

    def _log(
        self, kind: change.Kind, resource: Message, uid: str, revision: int, *, verb: str, previous_state: str
    ) -> None:
        """Append the event and the audit record."""
        heads, name, time = self._writing(), _name_of(resource), _text(self.clock.now())
        heads.sequence += 1
        event = {
            "sequence": heads.sequence,
            "id": event_id(uid, revision),
            "type": change.event_type(self.facts.service, kind, verb),
            "resource": name,
            "project": project_of(name),
            "revision": revision,
            "time": time,
            "payload": change.event_payload(kind, resource, previous_state),
            "traceparent": current_traceparent(),
        }
        self.connection.execute(_INSERT_CHANGE, event)
        key = idempotency.get()
        heads.audit_sequence += 1
        record = audit.Record(
            sequence=heads.audit_sequence,
            time=time,
            principal=current_principal().subject,
            method=f"{key.method} {verb}" if key else verb,
            resource=name,
            revision=revision,
        )
        heads.audit_sha256 = audit.digest(heads.audit_sha256, record)
        self.connection.execute(_INSERT_AUDIT, vars(record) | {"sha256": heads.audit_sha256})

    def _writing(self) -> Heads:
        if self._heads is None:
            raise Internal("a function given to Store.read tried to write; give it to Store.write")
        return self._heads


def etag_of(uid: str, revision: int) -> str:
    """Return the etag of a revision."""
    return f"{uid[-12:]}-{revision}"


def _text(time: datetime) -> str:
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _name_of(resource: Message) -> str:
    name: str = resource.name  # type: ignore[attr-defined]
    if not name:
        raise InvalidRequest(f"a {resource.DESCRIPTOR.name} without a name cannot be stored", field="name")
    return name


def _fill(resource: Any, before: Any, uid: str, revision: int, now: datetime) -> None:
    """Set what the server decides, whatever the caller put there."""
    fields = resource.DESCRIPTOR.fields_by_name
    values = {
        "uid": uid,
        "revision": revision,
        "etag": etag_of(uid, revision),
        "creator": before.creator if before and "creator" in fields else current_principal().subject,
    }
    for field in values.keys() & fields.keys():
        setattr(resource, field, values[field])
    if "update_time" in fields:
        resource.update_time.FromDatetime(now)
    if "create_time" in fields:
        resource.create_time.CopyFrom(before.create_time) if before else resource.create_time.FromDatetime(now)
