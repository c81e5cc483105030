"""Brings a database to the tables this program knows, one numbered step after another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import sqlalchemy
from sqlalchemy import inspect, text

from bessemer.kernel.errors import FailedPrecondition

__all__ = ["HEAD", "extend", "upgrade"]

HEAD = "0001"
VERSION_TABLE = "schema_version"


def upgrade(connection: sqlalchemy.Connection) -> None:
    """Run the missing steps inside the caller's transaction.

    Raises: FailedPrecondition if the database was made by a newer program.
    """
    if _current(connection) == HEAD:
        return
    from alembic import command  # costs 0.2 s, needed once in a database's life
    from alembic.config import Config
    from alembic.util.exc import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, HEAD)
    except CommandError as error:
        raise FailedPrecondition(
            f"the database has schema {_current(connection)!r}, this program knows {HEAD}; run the newer program"
        ) from error


def extend(connection: sqlalchemy.Connection, tables: Sequence[sqlalchemy.Table]) -> None:
    """Create a service's own tables and add the columns and indexes that they gained.

    Raises: FailedPrecondition for a new column that existing rows could not have.
    """
    existing = set(inspect(connection).get_table_names())
    for table in tables:
        if table.name not in existing:
            table.create(connection)
        else:
            _complete(connection, table)


def _complete(connection: sqlalchemy.Connection, table: sqlalchemy.Table) -> None:
    inspector = inspect(connection)
    columns = {column["name"] for column in inspector.get_columns(table.name)}
    indexes = {index["name"] for index in inspector.get_indexes(table.name)}
    for column in table.columns:
        if column.name in columns:
            continue
        if not column.nullable and column.server_default is None:
            raise FailedPrecondition(
                f"column {table.name}.{column.name} is new: make it nullable or give it a server_default"
            )
        from alembic.migration import MigrationContext
        from alembic.operations import Operations

        fresh = sqlalchemy.Column(
            column.name, column.type, nullable=column.nullable, server_default=column.server_default
        )
        Operations(MigrationContext.configure(connection)).add_column(table.name, fresh)
    for index in table.indexes:
        if index.name not in indexes:
            index.create(connection)


def _current(connection: sqlalchemy.Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608
    return found
