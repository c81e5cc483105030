"""The lineage graph as two tables in the service's own database."""

from __future__ import annotations

from collections.abc import Collection

from bessemer.api.data.v1.lineage_service_pb2 import Lineage, LineageEdge, LineageNode
from bessemer.svckit.tables import METADATA
from bessemer.svckit.tx import Tx
from sqlalchemy import Column, Index, Table, Text, and_, insert, select, update
from sqlalchemy.sql.elements import ColumnElement

__all__ = ["TABLES", "LineageTables"]

NODES = Table(
    "lineage_nodes",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("sha256", Text, nullable=False),
)

EDGES = Table(
    "lineage_edges",
    METADATA,
    Column("source", Text, primary_key=True),
    Column("target", Text, primary_key=True),
    Column("relation", Text, primary_key=True),
    Index("lineage_edges_by_target", "target"),
)

TABLES = (NODES, EDGES)


class LineageTables:
    """See `LineageGraph`."""

    def add(self, tx: Tx, part: Lineage) -> None:
        """See `LineageGraph`."""
        known = {node.name: node for node in self.nodes(tx, [node.name for node in part.nodes])}
        for node in part.nodes:
            before = known.get(node.name)
            if before is None:
                tx.connection.execute(insert(NODES).values(name=node.name, kind=node.kind, sha256=node.sha256))
                known[node.name] = node
            elif node.sha256 and not before.sha256:
                tx.connection.execute(update(NODES).where(NODES.c.name == node.name).values(sha256=node.sha256))
        for edge in part.edges:
            same = and_(EDGES.c.source == edge.source, EDGES.c.target == edge.target, EDGES.c.relation == edge.relation)
            if tx.connection.execute(select(EDGES.c.source).where(same)).first() is None:
                values = {"source": edge.source, "target": edge.target, "relation": edge.relation}
                tx.connection.execute(insert(EDGES).values(values))

    def nodes(self, tx: Tx, names: Collection[str]) -> list[LineageNode]:
        """See `LineageGraph`."""
        rows = tx.connection.execute(select(NODES).where(NODES.c.name.in_(names)).order_by(NODES.c.name))
        return [LineageNode(**row) for row in rows.mappings()]

    def into(self, tx: Tx, names: Collection[str], limit: int) -> list[LineageEdge]:
        """See `LineageGraph`."""
        return _edges(tx, EDGES.c.target.in_(names), limit)

    def out_of(self, tx: Tx, names: Collection[str], limit: int) -> list[LineageEdge]:
        """See `LineageGraph`."""
        return _edges(tx, EDGES.c.source.in_(names), limit)


def _edges(tx: Tx, wanted: ColumnElement[bool], limit: int) -> list[LineageEdge]:
    order = (EDGES.c.source, EDGES.c.target, EDGES.c.relation)
    rows = tx.connection.execute(select(EDGES).where(wanted).order_by(*order).limit(limit))
    return [LineageEdge(**row) for row in rows.mappings()]
