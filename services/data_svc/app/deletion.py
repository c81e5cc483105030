"""Deletion of a version's bytes; without it an erasure would prove nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.data.v1 import dataset_service_pb2 as pb
from bessemer.api.data.v1.artifact_service_pb2 import Upload
from bessemer.api.data.v1.dataset_job_pb2 import DatasetJob
from bessemer.api.data.v1.dataset_pb2 import Dataset, DatasetVersion
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import read_manifest
from bessemer.jobs import tasks
from bessemer.kernel.errors import FailedPrecondition, InvalidRequest, NotFound
from bessemer.kernel.ids import parent_of, project_of
from bessemer.svckit.objects import ObjectStore
from bessemer.svckit.store import Store
from bessemer.svckit.tx import Tx

from data_svc.app.datasets import every, live_versions
from data_svc.domain.partitions import work_prefix

__all__ = ["Deletion"]


@dataclass(frozen=True)
class _References:
    """What else the project keeps, and what was made as a mere copy of the version."""

    manifests: list[ArtifactRef]  # of all other versions
    keys: set[str]  # of uploads and receipts
    copies: set[str]  # exports


class Deletion:
    """Use case of deleting a version."""

    def __init__(self, store: Store, objects: ObjectStore) -> None:
        self._store = store
        self._objects = objects

    async def delete(self, request: pb.DeleteDatasetVersionRequest) -> DatasetVersion:
        """Mark the version as deleted, then remove what nothing else refers to; repeated, it goes on.

        Raises: InvalidRequest without etag; FailedPrecondition while an alias names it or jobs of the project run.
        """
        if not request.etag:
            raise InvalidRequest("etag must be that of the version as you read it", field="etag")

        def commit(tx: Tx) -> tuple[DatasetVersion, _References]:
            version = tx.get(request.name, DatasetVersion)
            _check_unused(tx, version)
            if not version.HasField("delete_time"):
                version.delete_time.FromDatetime(tx.clock.now())
                version = tx.put(version, verb="deleted", etag=request.etag)
            return version, _references(tx, version)

        version, references = await self._store.write(commit)
        await asyncio.to_thread(self._remove, version, references)
        return version

    def _remove(self, version: DatasetVersion, references: _References) -> None:
        project = project_of(version.name)
        blobs = Blobs(self._objects, project)
        kept_results = list(self._objects.list(work_prefix(project)))  # of curation: texts that it may make again
        for key in [*(references.copies - references.keys), *kept_results]:
            self._objects.delete(key)
        try:
            mine = read_manifest(blobs, version.manifest).files
        except NotFound:  # an earlier call came to its end; the manifest goes last
            return
        kept = set(references.keys)
        for manifest in references.manifests:
            kept |= {manifest.key, *(entry.key for entry in read_manifest(blobs, manifest).files)}
        for entry in mine:
            if entry.key not in kept and entry.size_bytes:  # no bytes tell nothing, and anybody may refer to them
                self._objects.delete(entry.key)
        self._objects.delete(version.manifest.key)


def _check_unused(tx: Tx, version: DatasetVersion) -> None:
    """Refuse while somebody needs the version.

    Any running job of the project counts: it may be about to seal files that the version shares.
    """
    aliases = tx.get(parent_of(version.name), Dataset).aliases
    if naming := [alias for alias, name in aliases.items() if name == version.name]:
        raise FailedPrecondition(
            f"{version.name} is named by the alias {', '.join(sorted(naming))}; point it elsewhere first",
            reason="RESOURCE_IN_USE",
            resource=version.name,
        )
    project = f"projects/{project_of(version.name)}/"
    if running := [task.name for task in tasks.live(tx.connection) if task.name.startswith(project)]:
        raise FailedPrecondition(
            f"{len(running)} jobs of the project still run, such as {running[0]}; delete when they have ended",
            reason="RESOURCE_IN_USE",
            resource=version.name,
        )


def _references(tx: Tx, version: DatasetVersion) -> _References:
    project = f"projects/{project_of(version.name)}"
    manifests = [other.manifest for other in live_versions(tx, project) if other.name != version.name]
    jobs = list(every(tx, DatasetJob, project))
    keys = {upload.artifact.key for upload in every(tx, Upload, project) if upload.complete}
    keys |= {job.result.receipt.receipt_artifact.key for job in jobs}
    copies = {job.result.archive.key for job in jobs if job.export.dataset_version == version.name}
    return _References(manifests, keys, copies - {""})
