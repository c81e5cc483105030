"""Bytes in and out: announced and verified here, carried by signed URLs.

A PUT goes to a place of its own; only bytes that were verified get the key of their digest, and nobody outside can
write there. So what lies under `blobs/` can be trusted, whatever an object store lets the holder of a URL do.
"""

from __future__ import annotations

import asyncio
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.data.v1 import artifact_service_pb2 as pb
from bessemer.api.data.v1.project_service_pb2 import Project
from bessemer.artifacts.blobs import Blobs, sha256_of
from bessemer.kernel.clock import Clock
from bessemer.kernel.errors import AlreadyExists, DataLoss, FailedPrecondition, InvalidRequest, NotFound
from bessemer.kernel.ids import id_of, new_id, project_of
from bessemer.svckit.objects import ObjectStore
from bessemer.svckit.store import Store
from bessemer.svckit.tx import Tx

from data_svc.domain.terms import check_dates, terms_of

__all__ = ["Uploads", "check_artifact", "incoming_key", "incoming_prefix", "is_abandoned"]

MEDIA_TYPE = "application/octet-stream"
KEEP_INCOMING = timedelta(days=1)  # after the URL has expired: a PUT that began in time may still be on its way


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
        check_dates(terms_of(request))
        artifact = ArtifactRef(
            key=Blobs(self._objects, id_of(request.parent)).key(request.sha256),
            sha256=request.sha256,
            size_bytes=request.size_bytes,
            media_type=request.media_type or MEDIA_TYPE,
        )
        name = f"{request.parent}/uploads/{new_id('upload')}"
        upload = pb.Upload(
            name=name,
            file_name=request.file_name,
            artifact=artifact,
            license=request.license,
            consent=request.consent,
            retain_until=request.retain_until,
        )
        await self._store.read(lambda tx: tx.get(request.parent, Project))
        if await asyncio.to_thread(self._is_stored, artifact):
            upload.complete = True
        else:
            url, headers = self._objects.signed_url(
                "PUT",
                incoming_key(name),
                expires_s=self._url_lifetime_s,
                size_bytes=artifact.size_bytes,
                sha256=artifact.sha256,
            )
            upload.url = url
            upload.headers.update(headers)
            upload.expire_time.FromDatetime(self._clock.now() + timedelta(seconds=self._url_lifetime_s))
        return await self._store.write(lambda tx: tx.put(upload, verb="created"))

    async def complete(self, name: str) -> pb.Upload:
        """Verify size and digest of what was PUT and give it its place."""
        announced = await self.get(name)
        if announced.complete:
            return announced
        await asyncio.to_thread(self._accept, announced)

        def commit(tx: Tx) -> pb.Upload:
            upload = tx.get(name, pb.Upload)
            if upload.complete:
                return upload
            upload.complete = True
            upload.url = ""
            upload.ClearField("headers")
            upload.ClearField("expire_time")
            return tx.put(upload, verb="completed", previous_state="announced")

        done = await self._store.write(commit)
        await asyncio.to_thread(self._objects.delete, incoming_key(name))
        return done

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
        """Say whether the very bytes are there, by reading them."""
        try:
            if self._objects.stat(artifact.key) != artifact.size_bytes:
                return False
            with self._folder() as folder:
                Blobs(self._objects, project_of(artifact.key)).get_file(artifact, Path(folder) / "object")
        except (NotFound, DataLoss):
            return False
        return True

    def _accept(self, upload: pb.Upload) -> None:
        """Store the bytes that were PUT under the key of their digest.

        Raises: NotFound; FailedPrecondition CHECKSUM_MISMATCH.
        """
        artifact, source = upload.artifact, incoming_key(upload.name)
        with self._folder() as folder:
            path = Path(folder) / "object"
            try:
                self._objects.get_file(source, path)
            except NotFound as error:
                if self._is_stored(artifact):  # an earlier call came this far and was cut off
                    return
                raise NotFound("the bytes have not arrived; PUT them to `url`", resource=upload.name) from error
            found = (path.stat().st_size, sha256_of(path))
            if found != (artifact.size_bytes, artifact.sha256):
                self._objects.delete(source)
                raise FailedPrecondition(
                    f"announced were {artifact.size_bytes} bytes with SHA-256 {artifact.sha256}, PUT were {found[0]} "
                    f"with {found[1]}; PUT the right bytes, or create the upload again with the right numbers",
                    reason="CHECKSUM_MISMATCH",
                    resource=upload.name,
                )
            try:
                self._objects.put_file(artifact.key, path)
            except AlreadyExists:  # these bytes fit the key, so the ones stored there are damaged
                self._objects.delete(artifact.key)
                self._objects.put_file(artifact.key, path)

    def _folder(self) -> tempfile.TemporaryDirectory[str]:
        self._scratch.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(dir=self._scratch)


def check_artifact(artifact: ArtifactRef, project: str, field: str) -> None:
    """Refuse what is not a blob of the project under its own digest.

    Raises: InvalidRequest.
    """
    if artifact.key != f"projects/{project}/blobs/sha256/{artifact.sha256}":
        raise InvalidRequest(
            f"{field}.key must be projects/{project}/blobs/sha256/<sha256>; got {artifact.key[:200]!r}",
            field=f"{field}.key",
        )


def incoming_prefix(project: str) -> str:
    """Return where PUTs of a project arrive."""
    return f"projects/{project}/incoming/"


def incoming_key(upload: str) -> str:
    """Return where the PUT of an upload arrives."""
    return f"{incoming_prefix(project_of(upload))}{id_of(upload)}"


def is_abandoned(upload: pb.Upload | None, now: datetime) -> bool:
    """Say whether nobody will complete the upload any more."""
    if upload is None or upload.complete:
        return True
    return now.replace(tzinfo=None) > upload.expire_time.ToDatetime() + KEEP_INCOMING
