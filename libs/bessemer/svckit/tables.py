"""Tables that every service's database has; services add their own to the same metadata."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, MetaData, Table, Text

__all__ = [
    "AUDIT",
    "CHANGES",
    "CURSORS",
    "DEAD_LETTERS",
    "IDEMPOTENCY",
    "INBOX",
    "METADATA",
    "RESOURCES",
    "SETTINGS",
    "SHARED",
]

METADATA = MetaData()

RESOURCES = Table(
    "resources",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("parent", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("uid", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Index("resources_by_parent", "kind", "parent", "uid"),
)

# The outbox: what happened, in order, contiguous from 1.
CHANGES = Table(
    "changes",
    METADATA,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("resource", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("time", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("traceparent", Text, nullable=False),
    Index("changes_by_resource", "resource", "sequence"),
)

IDEMPOTENCY = Table(
    "idempotency",
    METADATA,
    Column("principal", Text, primary_key=True),
    Column("method", Text, primary_key=True),
    Column("request_id", Text, primary_key=True),
    Column("request_sha256", Text, nullable=False),
    Column("resource", Text, nullable=False),
    Column("created", Text, nullable=False),
    Index("idempotency_by_created", "created"),
)

AUDIT = Table(
    "audit",
    METADATA,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("time", Text, nullable=False),
    Column("principal", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("resource", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
)

INBOX = Table(
    "inbox",
    METADATA,
    Column("consumer", Text, primary_key=True),
    Column("producer", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
)

# Events whose handling failed: waiting for the next try, or dead.
DEAD_LETTERS = Table(
    "dead_letters",
    METADATA,
    Column("consumer", Text, primary_key=True),
    Column("producer", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("tries", Integer, nullable=False),
    Column("dead", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("event", LargeBinary, nullable=False),
    Column("time", Text, nullable=False),
)

CURSORS = Table(
    "cursors",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
)

SETTINGS = Table(
    "settings",
    METADATA,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

SHARED = (RESOURCES, CHANGES, IDEMPOTENCY, AUDIT, INBOX, DEAD_LETTERS, CURSORS, SETTINGS)
