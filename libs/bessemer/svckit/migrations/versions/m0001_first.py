"""The first tables: resources, outbox, idempotency, audit, inbox, dead letters, cursors, settings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create them."""
    _create_resources()
    op.create_table(
        "changes",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("id", "type", "resource", "project")),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("time", sa.Text, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("traceparent", sa.Text, nullable=False),
    )
    op.create_index("changes_by_resource", "changes", ["resource", "sequence"])
    op.create_table(
        "idempotency",
        *(sa.Column(name, sa.Text, primary_key=True) for name in ("principal", "method", "request_id")),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("request_sha256", "resource", "created")),
    )
    op.create_index("idempotency_by_created", "idempotency", ["created"])
    op.create_table(
        "audit",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("time", "principal", "method", "resource")),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
    )
    _create_consumer_tables()
    op.create_table(
        "settings", sa.Column("key", sa.Text, primary_key=True), sa.Column("value", sa.Text, nullable=False)
    )


def _create_resources() -> None:
    op.create_table(
        "resources",
        sa.Column("name", sa.Text, primary_key=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("kind", "parent", "project", "uid")),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
    )
    op.create_index("resources_by_parent", "resources", ["kind", "parent", "uid"])


def _create_consumer_tables() -> None:
    op.create_table(
        "inbox",
        *(sa.Column(name, sa.Text, primary_key=True) for name in ("consumer", "producer")),
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    )
    op.create_table(
        "dead_letters",
        *(sa.Column(name, sa.Text, primary_key=True) for name in ("consumer", "producer")),
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("dead", sa.Boolean, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("event", sa.LargeBinary, nullable=False),
        sa.Column("time", sa.Text, nullable=False),
    )
    op.create_table(
        "cursors",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("sequence", sa.BigInteger, nullable=False),
    )
