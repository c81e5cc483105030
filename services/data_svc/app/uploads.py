"""Bytes in and out: announced and verified here, carried by signed URLs."""

from __future__ import annotations

import asyncio
import tempfile
from datetime import timedelta
from pathlib import Path

from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.data.v1 import artifact_service_pb2 as pb
from bessemer.api.data.v1.project_service_pb2 import Project
from bessemer.artifacts.blobs import Blobs, sha256_of
from bessemer.kernel.clock import Clock
from bessemer.kernel.errors import FailedPrecondition, InvalidRequest, NotFound
from bessemer.kernel.ids import id_of, new_id
from bessemer.svckit.objects import ObjectStore
from bessemer.svckit.store import Store
from bessemer.svckit.tx import Tx

__all__ = ["Uploads", "check_artifact"]

MEDIA_TYPE = "application/octet-stream"


class Uploads:
    """Use cases of uploads and downloads."""

    def __init__(self, store: Store, objects: ObjectStore, clock: Clock, *, scratch: Path, url_lifetime_s: int) -> None:
        self._store = store
        self._objects = objects
        self._clock = clock
        self._scratch = scratch
        self._url_lifetime_s = url_lifetime_s

    async def create(self, request: pb.CreateUploadRequest) -> pb.Upload:
        """Announce an upload; it is complete at once when the project holds these very bytes already."""
        artifact = ArtifactRef(
            key=Blobs(self._objects, id_of(request.parent)).key(request.sha256),
            sha256=request.sha256,
            size_bytes=request.size_bytes,
            media_type=request.media_type or MEDIA_TYPE,
        )
        name = f"{request.parent}/uploads/{new_id('upload')}"
        upload = pb.Upload(name=name, file_name=request.file_name, artifact=artifact)
        await self._store.read(lambda tx: tx.get(request.parent, Project))
        if await asyncio.to_thread(self._is_stored, artifact):
            upload.complete = True
        else:
            url, headers = self._objects.signed_url(
                "PUT",
                artifact.key,
                expires_s=self._url_lifetime_s,
                size_bytes=artifact.size_bytes,
                sha256=artifact.sha256,
            )
            upload.url = url
            upload.headers.update(headers)
            upload.expire_time.FromDatetime(self._clock.now() + timedelta(seconds=self._url_lifetime_s))
        return await self._store.write(lambda tx: tx.put(upload, verb="created"))

    async def complete(self, name: str) -> pb.Upload:
        """Verify size and digest of what was PUT and make it usable."""
        announced = await self.get(name)
        if announced.complete:
            return announced
        await asyncio.to_thread(self._verify, announced.artifact)

        def commit(tx: Tx) -> pb.Upload:
            upload = tx.get(name, pb.Upload)
            if upload.complete:
                return upload
            upload.complete = True
            upload.url = ""
            upload.ClearField("headers")
            upload.ClearField("expire_time")
            return tx.put(upload, verb="completed", previous_state="announced")

        return await self._store.write(commit)

    async def get(self, name: str) -> pb.Upload:
        """Return an upload."""
        return await self._store.read(lambda tx: tx.get(name, pb.Upload))

    async def download(self, request: pb.CreateDownloadRequest) -> pb.CreateDownloadResponse:
        """Return where to GET an artifact of the project."""
        check_artifact(request.artifact, id_of(request.parent), "artifact")
        await asyncio.to_thread(self._objects.stat, request.artifact.key)
        url, _ = self._objects.signed_url("GET", request.artifact.key, expires_s=self._url_lifetime_s)
        response = pb.CreateDownloadResponse(url=url)
        response.expire_time.FromDatetime(self._clock.now() + timedelta(seconds=self._url_lifetime_s))
        return response

    def _is_stored(self, artifact: ArtifactRef) -> bool:
        try:
            return self._measure(artifact.key) == (artifact.size_bytes, artifact.sha256)
        except NotFound:
            return False

    def _verify(self, artifact: ArtifactRef) -> None:
        """Read the whole object; one whose bytes do not fit its key is removed, so that it can be PUT again.

        Raises: NotFound; FailedPrecondition CHECKSUM_MISMATCH.
        """
        try:
            size_bytes, sha256 = self._measure(artifact.key)
        except NotFound as error:
            raise NotFound(
                "the bytes have not arrived; PUT them to the upload's url first", resource=artifact.key
            ) from error
        if (size_bytes, sha256) == (artifact.size_bytes, artifact.sha256):
            return
        if sha256 != artifact.sha256:
            self._objects.delete(artifact.key)
        raise FailedPrecondition(
            f"announced were {artifact.size_bytes} bytes with SHA-256 {artifact.sha256}, PUT were {size_bytes} with "
            f"{sha256}; create the upload again with the right numbers, or PUT the right bytes",
            reason="CHECKSUM_MISMATCH",
            resource=artifact.key,
        )

    def _measure(self, key: str) -> tuple[int, str]:
        """Return the size and digest of a stored object, read in full.

        Raises: NotFound.
        """
        self._objects.stat(key)
        self._scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            path = Path(folder) / "object"
            self._objects.get_file(key, path)
            return path.stat().st_size, sha256_of(path)


def check_artifact(artifact: ArtifactRef, project: str, field: str) -> None:
    """Refuse artifacts outside of a project, and paths that climb.

    Raises: InvalidRequest.
    """
    parts = artifact.key.split("/")
    if parts[:2] != ["projects", project] or len(parts) < 3 or any(part in {"", ".", ".."} for part in parts):
        raise InvalidRequest(
            f"{field}.key must lie in projects/{project}/; got {artifact.key[:200]!r}", field=f"{field}.key"
        )
