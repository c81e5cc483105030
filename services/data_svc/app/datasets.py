"""Datasets and their sealed versions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from bessemer.api.data.v1 import dataset_service_pb2 as pb
from bessemer.api.data.v1.dataset_pb2 import CurationJob, CurationResult, Dataset, DatasetKind, DatasetVersion
from bessemer.api.data.v1.lineage_service_pb2 import Lineage
from bessemer.api.data.v1.project_service_pb2 import Project
from bessemer.kernel.errors import InvalidRequest, NotFound
from bessemer.kernel.ids import id_of, parent_of
from bessemer.svckit.store import Store
from bessemer.svckit.tx import Tx
from google.protobuf.message import Message

from data_svc import codec
from data_svc.ports import LineageGraph

__all__ = ["Datasets", "every", "find_version", "live_version", "live_versions", "seal", "seal_version", "versions_of"]


M = TypeVar("M", bound=Message)


class Datasets:
    """Use cases of datasets."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def create(self, request: pb.CreateDatasetRequest) -> Dataset:
        """Create an empty dataset."""
        given = request.dataset
        if given.kind == DatasetKind.DATASET_KIND_UNSPECIFIED:
            raise InvalidRequest("dataset.kind must be TEXT, CHAT or PREFERENCE", field="dataset.kind")
        dataset = Dataset(
            name=f"{request.parent}/datasets/{request.dataset_id}",
            kind=given.kind,
            display_name=given.display_name,
            labels=given.labels,
        )

        def commit(tx: Tx) -> Dataset:
            tx.get(request.parent, Project)
            return tx.put(dataset, verb="created")

        return await self._store.write(commit)

    async def get(self, name: str) -> Dataset:
        """Return a dataset."""
        return await self._store.read(lambda tx: tx.get(name, Dataset))

    async def list(self, request: pb.ListDatasetsRequest) -> pb.ListDatasetsResponse:
        """Return a page of a project's datasets."""
        found, token = await self._store.read(
            lambda tx: tx.list(Dataset, request.parent, page_size=request.page_size, page_token=request.page_token)
        )
        return pb.ListDatasetsResponse(datasets=found, next_page_token=token)

    async def get_version(self, name: str) -> DatasetVersion:
        """Return a version by id or alias."""
        return await self._store.read(lambda tx: find_version(tx, name))

    async def list_versions(self, request: pb.ListDatasetVersionsRequest) -> pb.ListDatasetVersionsResponse:
        """Return a page of a dataset's versions, newest last."""
        parent, size, page = request.parent, request.page_size, request.page_token
        found, token = await self._store.read(
            lambda tx: tx.list(DatasetVersion, parent, page_size=size, page_token=page)
        )
        return pb.ListDatasetVersionsResponse(dataset_versions=found, next_page_token=token)

    async def set_alias(self, request: pb.SetDatasetVersionAliasRequest) -> Dataset:
        """Point an alias at a version of the same dataset, or remove it."""
        if not request.etag:
            raise InvalidRequest("etag must be that of the dataset as you read it", field="etag")
        if request.dataset_version and parent_of(request.dataset_version) != request.name:
            raise InvalidRequest(
                f"dataset_version must be a version of {request.name}; got {request.dataset_version}",
                field="dataset_version",
            )

        def commit(tx: Tx) -> Dataset:
            dataset = tx.get(request.name, Dataset)
            if request.dataset_version:
                dataset.aliases[request.alias] = live_version(tx, request.dataset_version).name
            elif request.alias in dataset.aliases:
                del dataset.aliases[request.alias]
            return tx.put(dataset, verb="updated", etag=request.etag)

        return await self._store.write(commit)


def find_version(tx: Tx, name: str) -> DatasetVersion:
    """Return a version by id, or by alias as `.../versions/@stable`.

    Raises: NotFound.
    """
    if not id_of(name).startswith("@"):
        return tx.get(name, DatasetVersion)
    dataset = tx.get(parent_of(name), Dataset)
    alias = id_of(name).removeprefix("@")
    if alias not in dataset.aliases:
        known = ", ".join(sorted(dataset.aliases)) or "none"
        raise NotFound(f"{dataset.name} has no alias {alias!r}; it has {known}", resource=name)
    return tx.get(dataset.aliases[alias], DatasetVersion)


def live_version(tx: Tx, name: str) -> DatasetVersion:
    """Return a version whose bytes are there, by id or alias.

    Raises: NotFound.
    """
    version = find_version(tx, name)
    if version.HasField("delete_time"):
        when = version.delete_time.ToJsonString()
        raise NotFound(f"{version.name} was deleted at {when}; only its name and digest are kept", resource=name)
    return version


def seal(tx: Tx, job: CurationJob, result: CurationResult, graph: LineageGraph) -> DatasetVersion:
    """Return the version that holds a curation job's result."""
    version = codec.dataset_version(job, result)
    return seal_version(tx, job.dataset, version, codec.lineage_of_dataset_version, graph)


def seal_version(
    tx: Tx, dataset: str, version: DatasetVersion, lineage: Callable[[DatasetVersion], Lineage], graph: LineageGraph
) -> DatasetVersion:
    """Return the dataset's version with this content; one with the same digest is found again, not made twice."""
    count = 0
    for known in versions_of(tx, dataset):
        if known.manifest.sha256 == version.manifest.sha256 and not known.HasField("delete_time"):
            return known
        count += 1
    version.name = f"{dataset}/versions/v{count + 1}"
    graph.add(tx, lineage(version))
    return tx.put(version, verb="created")


def live_versions(tx: Tx, project: str) -> Iterator[DatasetVersion]:
    """Yield the versions of a project whose bytes are there."""
    for dataset in every(tx, Dataset, project):
        for version in versions_of(tx, dataset.name):
            if not version.HasField("delete_time"):
                yield version


def versions_of(tx: Tx, dataset: str) -> Iterator[DatasetVersion]:
    """Yield the versions of a dataset, deleted ones too, oldest first."""
    return every(tx, DatasetVersion, dataset)


def every(tx: Tx, kind: type[M], parent: str) -> Iterator[M]:
    """Yield all resources of a kind below `parent`, page by page."""
    token = ""
    while True:
        page, token = tx.list(kind, parent, page_size=1000, page_token=token)
        yield from page
        if not token:
            return
