"""The suites that curation has to keep clear of, as a table in the service's own database."""

from __future__ import annotations

from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.data.v1.dataset_pb2 import ContaminationSet
from bessemer.kernel.ids import project_of
from bessemer.svckit.tables import METADATA
from bessemer.svckit.tx import Tx
from sqlalchemy import Column, Index, LargeBinary, Table, Text, delete, insert, select

__all__ = ["SUITES", "SuiteTable"]

SUITES = Table(
    "contamination_sets",
    METADATA,
    Column("suite", Text, primary_key=True),
    Column("project", Text, nullable=False),
    Column("hashes", LargeBinary, nullable=False),
    Index("contamination_sets_by_project", "project"),
)


class SuiteTable:
    """See `KnownSuites`."""

    def add(self, tx: Tx, suite: str, hashes: ArtifactRef) -> None:
        """See `KnownSuites`."""
        self.remove(tx, suite)
        values = {"suite": suite, "project": project_of(suite), "hashes": hashes.SerializeToString()}
        tx.connection.execute(insert(SUITES).values(values))

    def remove(self, tx: Tx, suite: str) -> None:
        """See `KnownSuites`."""
        tx.connection.execute(delete(SUITES).where(SUITES.c.suite == suite))

    def of_project(self, tx: Tx, project: str) -> list[ContaminationSet]:
        """See `KnownSuites`."""
        rows = tx.connection.execute(select(SUITES).where(SUITES.c.project == project).order_by(SUITES.c.suite))
        return [ContaminationSet(suite=row.suite, hashes=ArtifactRef.FromString(row.hashes)) for row in rows]
