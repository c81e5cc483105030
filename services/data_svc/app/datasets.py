"""Datasets and their sealed versions."""

from __future__ import annotations

from collections.abc import Iterator

from bessemer.api.data.v1 import dataset_service_pb2 as pb
from bessemer.api.data.v1.dataset_pb2 import CurationJob, CurationResult, Dataset, DatasetKind, DatasetVersion
from bessemer.api.data.v1.project_service_pb2 import Project
from bessemer.kernel.errors import InvalidRequest
from bessemer.svckit.store import Store
from bessemer.svckit.tx import Tx

from data_svc import codec
from data_svc.ports import LineageGraph

__all__ = ["Datasets", "seal"]


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
        """Return a version."""
        return await self._store.read(lambda tx: tx.get(name, DatasetVersion))

    async def list_versions(self, request: pb.ListDatasetVersionsRequest) -> pb.ListDatasetVersionsResponse:
        """Return a page of a dataset's versions, newest last."""
        parent, size, page = request.parent, request.page_size, request.page_token
        found, token = await self._store.read(
            lambda tx: tx.list(DatasetVersion, parent, page_size=size, page_token=page)
        )
        return pb.ListDatasetVersionsResponse(dataset_versions=found, next_page_token=token)


def seal(tx: Tx, job: CurationJob, result: CurationResult, graph: LineageGraph) -> DatasetVersion:
    """Return the version that holds a job's result; one with the same digest is found again, not made twice."""
    count = 0
    for version in _versions(tx, job.dataset):
        if version.manifest.sha256 == result.manifest.sha256:
            return version
        count += 1
    version = codec.dataset_version(f"{job.dataset}/versions/v{count + 1}", job, result)
    graph.add(tx, codec.lineage_of_dataset_version(version))
    return tx.put(version, verb="created")


def _versions(tx: Tx, dataset: str) -> Iterator[DatasetVersion]:
    token = ""
    while True:
        page, token = tx.list(DatasetVersion, dataset, page_size=1000, page_token=token)
        yield from page
        if not token:
            return
