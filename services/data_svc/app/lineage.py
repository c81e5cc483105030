"""Where everything came from and what became of it: a walk through the graph that events build."""

from __future__ import annotations

from bessemer.api.data.v1.lineage_service_pb2 import GetLineageRequest, Lineage, LineageDirection, LineageEdge
from bessemer.kernel.errors import NotFound
from bessemer.kernel.ids import project_of
from bessemer.svckit.context import Principal, current_principal
from bessemer.svckit.store import Store
from bessemer.svckit.tx import Tx

from data_svc.ports import LineageGraph

__all__ = ["Ancestry"]

DEPTH = 10
NODES_MAX = 1000
EDGES_MAX = 4000


class Ancestry:
    """Use case of lineage."""

    def __init__(self, store: Store, graph: LineageGraph) -> None:
        self._store = store
        self._graph = graph

    async def get(self, request: GetLineageRequest) -> Lineage:
        """Return what lies within `depth` steps, projects that the caller may not enter left out."""
        caller = current_principal()

        def load(tx: Tx) -> Lineage:
            if not self._graph.nodes(tx, [request.name]):
                raise NotFound(
                    f"nothing is known about the origin of {request.name}; only sealed versions, finished runs, "
                    "decisions and deployments have one",
                    resource=request.name,
                )
            return self._walk(tx, request, caller)

        return await self._store.read(load)

    def _walk(self, tx: Tx, request: GetLineageRequest, caller: Principal) -> Lineage:
        """Walk breadth first, each way on its own: siblings by a common parent are not relatives."""
        names = {request.name}
        edges: dict[tuple[str, str, str], LineageEdge] = {}
        for upstream in (True, False):
            away = (
                LineageDirection.LINEAGE_DIRECTION_DOWNSTREAM
                if upstream
                else LineageDirection.LINEAGE_DIRECTION_UPSTREAM
            )
            if request.direction == away:
                continue
            seen = frontier = {request.name}
            for _ in range(request.depth or DEPTH):
                step = self._graph.into if upstream else self._graph.out_of
                found = [edge for edge in step(tx, frontier, EDGES_MAX) if _may_see(edge, caller)]
                reached = {edge.source if upstream else edge.target for edge in found}
                room = NODES_MAX - len(names)
                kept = set(sorted(reached - seen - names)[: max(0, room)]) | (reached & names)
                edges |= {
                    (edge.source, edge.target, edge.relation): edge
                    for edge in found
                    if (edge.source if upstream else edge.target) in kept
                }
                frontier = kept - seen
                seen = seen | frontier
                names |= frontier
                if not frontier:
                    break
        return Lineage(nodes=self._graph.nodes(tx, names), edges=[edges[key] for key in sorted(edges)])


def _may_see(edge: LineageEdge, caller: Principal) -> bool:
    names = (name for name in (edge.source, edge.target) if name.startswith("projects/"))
    return all(caller.may_enter(project_of(name)) for name in names)
