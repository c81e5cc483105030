"""What alembic runs: the caller's connection, in the caller's transaction."""

from __future__ import annotations

from alembic import context

from bessemer.svckit.migrations import VERSION_TABLE
from bessemer.svckit.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION_TABLE,
    transactional_ddl=False,  # the caller commits
)
context.run_migrations()
