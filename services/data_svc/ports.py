"""What the use cases need from outside."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from bessemer.api.data.v1.lineage_service_pb2 import Lineage, LineageEdge, LineageNode
from bessemer.svckit.tx import Tx

__all__ = ["LineageGraph"]


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
