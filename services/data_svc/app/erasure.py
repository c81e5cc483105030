"""Erasure: what a worker must know to take documents out of a version and to tell who saw them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

from bessemer.api.data.v1.artifact_service_pb2 import Upload
from bessemer.api.data.v1.dataset_job_pb2 import DatasetJob, EraseSubjectTask, PinnedVersion
from bessemer.api.data.v1.dataset_pb2 import DatasetVersion
from bessemer.api.data.v1.lineage_service_pb2 import Lineage, LineageEdge
from bessemer.kernel.errors import InvalidRequest, LimitReached
from bessemer.kernel.ids import parent_of
from bessemer.svckit.tx import Tx

from data_svc import codec
from data_svc.app.dataset_jobs import Planned, pinned_version
from data_svc.app.datasets import live_versions, seal_version
from data_svc.app.uploads import incoming_key
from data_svc.domain.erasure import selector_of_task
from data_svc.ports import LineageGraph

__all__ = ["erasure_task"]

IDENTIFIERS_BYTES_MAX = 256 * 1024
EDGES_MAX = 4000  # more would not fit into the job, which is an event too
_MADE = frozenset({"curated_from", "erased_from"})
_SAW = frozenset({"trained_on", "trained_from", "deploys", "cases_of"})


def erasure_task(graph: LineageGraph) -> Planned:
    """Return how erasure jobs begin and end."""
    return Planned(partial(_plan, graph), partial(_finish, graph))


def _plan(graph: LineageGraph, tx: Tx, job: DatasetJob, given: DatasetJob) -> None:
    task = given.erase
    selector_of_task(task.sources, task.documents, task.identifiers)
    version = pinned_version(tx, job, task.dataset_version, "dataset_job.erase.dataset_version")
    job.erase.CopyFrom(
        EraseSubjectTask(
            dataset_version=version.name,
            sources=task.sources,
            documents=task.documents,
            identifiers=task.identifiers,
        )
    )
    if task.identifiers:
        _pin_identifiers(tx, job, task.identifiers)
    others = [other for other in live_versions(tx, parent_of(job.name)) if other.name != version.name]
    job.inputs.related.extend(PinnedVersion(name=other.name, manifest=other.manifest) for other in others)
    job.inputs.lineage.CopyFrom(_relatives(graph, tx, version.name, {other.name for other in others}))


def _pin_identifiers(tx: Tx, job: DatasetJob, name: str) -> None:
    field = "dataset_job.erase.identifiers"
    upload = tx.get(name, Upload)
    if parent_of(name) != parent_of(job.name):
        raise InvalidRequest(f"{field} must lie in {parent_of(job.name)}; got {name}", field=field)
    if upload.complete:
        raise InvalidRequest(
            f"{name} was completed, so its bytes stay; PUT the identifiers to an upload and do not complete it",
            field=field,
        )
    if upload.artifact.size_bytes > IDENTIFIERS_BYTES_MAX:
        raise InvalidRequest(
            f"{field} may have {IDENTIFIERS_BYTES_MAX} bytes; {name} has {upload.artifact.size_bytes}", field=field
        )
    job.inputs.identifiers.CopyFrom(upload.artifact)
    job.inputs.identifiers.key = incoming_key(name)


def _finish(graph: LineageGraph, tx: Tx, job: DatasetJob) -> None:
    job.result.dataset_version = job.erase.dataset_version
    if job.result.HasField("sealed"):
        old = tx.get(job.erase.dataset_version, DatasetVersion)
        version = codec.erased_version(old, job.result.sealed)
        made = seal_version(tx, parent_of(old.name), version, codec.lineage_of_erased_version, graph)
        job.result.dataset_version = made.name
        job.result.ClearField("sealed")


def _relatives(graph: LineageGraph, tx: Tx, name: str, others: set[str]) -> Lineage:
    """Return what the version was made from, and what saw that, the version or one of the others."""
    edges: dict[tuple[str, str, str], LineageEdge] = {}
    ancestors = _walk(edges, {name}, partial(graph.into, tx), _MADE, upstream=True)
    names = _walk(edges, ancestors | others, partial(graph.out_of, tx), _SAW, upstream=False)
    return Lineage(nodes=graph.nodes(tx, names), edges=[edges[key] for key in sorted(edges)])


def _walk(
    edges: dict[tuple[str, str, str], LineageEdge],
    start: Collection[str],
    step: Callable[[Collection[str], int], list[LineageEdge]],
    relations: Collection[str],
    *,
    upstream: bool,
) -> set[str]:
    """Add the edges of the given relations within reach to `edges`; return the names reached, `start` included."""
    seen, frontier = set(start), set(start)
    while frontier:
        found = [edge for edge in step(frontier, EDGES_MAX + 1) if edge.relation in relations]
        edges |= {(edge.source, edge.target, edge.relation): edge for edge in found}
        if len(edges) > EDGES_MAX:
            raise LimitReached(f"more than {EDGES_MAX} edges of the lineage lead away from the project's versions")
        frontier = {edge.source if upstream else edge.target for edge in found} - seen
        seen |= frontier
    return seen
