"""Content-addressed blobs: the key is the digest, so a blob can be neither changed nor confused."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import BinaryIO, Protocol

from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.kernel.errors import DataLoss, NotFound

__all__ = ["Blobs", "Objects", "sha256_of", "verify"]

_BLOCK = 1 << 20


class Objects(Protocol):
    """The part of the object store that blobs need."""

    def put_bytes(self, key: str, data: bytes) -> None:
        """Store bytes; the same bytes again change nothing."""

    def put_file(self, key: str, path: Path) -> None:
        """Store a file; the same bytes again change nothing."""

    def move_file(self, key: str, path: Path) -> None:
        """Store a file and take it away."""

    def get_bytes(self, key: str) -> bytes:
        """Return an object."""

    def get_file(self, key: str, path: Path) -> None:
        """Copy an object into a file, atomically."""

    def local_path(self, key: str) -> Path | None:
        """Return the file that holds an object, perhaps missing; None if none can."""


def sha256_of(path: Path) -> str:
    """Return the digest of a file without holding it in memory."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


class Blobs:
    """Blobs of one project over an object store."""

    def __init__(self, objects: Objects, project: str) -> None:
        self.objects = objects
        self.project = project

    def key(self, sha256: str) -> str:
        """Return where the blob with this digest lies."""
        return f"projects/{self.project}/blobs/sha256/{sha256}"

    def put_bytes(self, data: bytes, media_type: str) -> ArtifactRef:
        """Store bytes under their digest."""
        sha256 = hashlib.sha256(data).hexdigest()
        self.objects.put_bytes(self.key(sha256), data)
        return ArtifactRef(key=self.key(sha256), sha256=sha256, size_bytes=len(data), media_type=media_type)

    def put_file(self, path: Path, media_type: str) -> ArtifactRef:
        """Store a file under its digest."""
        sha256 = sha256_of(path)
        self.objects.put_file(self.key(sha256), path)
        return ArtifactRef(key=self.key(sha256), sha256=sha256, size_bytes=path.stat().st_size, media_type=media_type)

    def move_file(self, path: Path, sha256: str, media_type: str) -> ArtifactRef:
        """Store a file, whose writer knows its digest, and take it away."""
        size_bytes = path.stat().st_size
        self.objects.move_file(self.key(sha256), path)
        return ArtifactRef(key=self.key(sha256), sha256=sha256, size_bytes=size_bytes, media_type=media_type)

    def open(self, ref: ArtifactRef) -> BinaryIO:
        """Return a blob to read from, where it lies if it can be read there; whoever reads it must `verify` it.

        Raises: NotFound.
        """
        path = self.objects.local_path(ref.key)
        if path is None:
            return io.BytesIO(self.objects.get_bytes(ref.key))
        try:
            return path.open("rb")
        except FileNotFoundError as error:
            raise NotFound(f"object {ref.key} does not exist", resource=ref.key) from error

    def get_bytes(self, ref: ArtifactRef) -> bytes:
        """Return a blob.

        Raises: NotFound; DataLoss if the stored bytes are not the recorded ones.
        """
        data = self.objects.get_bytes(ref.key)
        verify(ref, hashlib.sha256(data).hexdigest())
        return data

    def get_file(self, ref: ArtifactRef, path: Path) -> Path:
        """Copy a blob into `path` and return it; a file there is replaced only by verified bytes.

        Raises: NotFound; DataLoss if the stored bytes are not the recorded ones.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        try:
            self.objects.get_file(ref.key, part)
            verify(ref, sha256_of(part))
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return path


def verify(ref: ArtifactRef, sha256: str) -> None:
    """Compare the digest of a blob's bytes.

    Raises: DataLoss if it is not the recorded one.
    """
    if sha256 != ref.sha256:
        raise DataLoss(
            f"object {ref.key} has SHA-256 {sha256}, recorded is {ref.sha256}; restore it from a copy",
            reason="CHECKSUM_MISMATCH",
            resource=ref.key,
        )
