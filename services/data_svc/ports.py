"""What the use cases need from outside."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.data.v1.dataset_pb2 import ContaminationSet
from bessemer.api.data.v1.lineage_service_pb2 import Lineage, LineageEdge, LineageNode
from bessemer.svckit.tx import Tx

__all__ = ["KnownSuites", "LineageGraph"]


class LineageGraph(Protocol):
    """A graph of resource names that only grows."""

    def add(self, tx: Tx, part: Lineage) -> None:
        """Add nodes and edges; what is there already stays, a digest is filled in when it becomes known."""

    def nodes(self, tx: Tx, names: Collection[str]) -> list[LineageNode]:
        """Return the known nodes among the names, by name."""

    def into(self, tx: Tx, names: Collection[str], limit: int) -> list[LineageEdge]:
        """Return edges whose target is among the names, by source and relation."""

    def out_of(self, tx: Tx, names: Collection[str], limit: int) -> list[LineageEdge]:
        """Return edges whose source is among the names, by target and relation."""


class KnownSuites(Protocol):
    """The evaluation suites that eval_svc told of, by their hashes."""

    def add(self, tx: Tx, suite: str, hashes: ArtifactRef) -> None:
        """Add a suite; one that is there already is replaced."""

    def remove(self, tx: Tx, suite: str) -> None:
        """Forget a suite; one that is not there stays forgotten."""

    def of_project(self, tx: Tx, project: str) -> list[ContaminationSet]:
        """Return a project's suites by name; `project` is its id."""
