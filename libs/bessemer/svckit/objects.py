"""Immutable objects under keys: the interface that the file system and S3 both keep."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import urlsplit

from bessemer.kernel.errors import FailedPrecondition, InvalidRequest

__all__ = ["ObjectStore", "ObjectsConfig", "check_key", "check_prefix", "open_objects"]

KEY_BYTES_MAX = 1024
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_SEGMENT = re.compile(r"[A-Za-z0-9._=@+-]{1,255}")


class ObjectStore(Protocol):
    """Objects that are written once and never change. Every method may be called from any thread."""

    @property
    def config(self) -> ObjectsConfig:
        """Return what another process opens the same store with."""

    def put_bytes(self, key: str, data: bytes) -> None:
        """Store bytes durably; the same bytes again change nothing.

        Raises: AlreadyExists if other bytes lie under the key; LimitReached with reason STORAGE_FULL.
        """

    def put_file(self, key: str, path: Path) -> None:
        """Store a file's bytes, as `put_bytes` does."""

    def move_file(self, key: str, path: Path) -> None:
        """Store a file's bytes, as `put_bytes` does, and take the file away, without a copy where that can be.

        The file may be gone after an error too.
        """

    def get_bytes(self, key: str) -> bytes:
        """Return an object's bytes.

        Raises: NotFound.
        """

    def get_file(self, key: str, path: Path) -> None:
        """Write an object's bytes to `path`, all or nothing.

        Raises: NotFound.
        """

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return `length` bytes of an object from `start` on, fewer only where it ends; nobody has verified them.

        Raises: NotFound.
        """

    def local_path(self, key: str) -> Path | None:
        """Return the file that holds an object, for reading only and perhaps missing; None if none can."""

    def stat(self, key: str) -> int:
        """Return an object's size in bytes.

        Raises: NotFound.
        """

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys that start with a prefix, in order."""

    def delete(self, key: str) -> None:
        """Remove an object if it is there."""

    def signed_url(
        self,
        method: Literal["GET", "PUT"],
        key: str,
        *,
        expires_s: int,
        size_bytes: int | None = None,
        sha256: str | None = None,
    ) -> tuple[str, dict[str, str]]:
        """Return a URL by which anybody may read or write this one object for a while, and headers to send along."""


@dataclass(frozen=True)
class ObjectsConfig:
    """Where objects lie: `file:///path`, or `s3+http://host:port/bucket` (`s3+https` too)."""

    url: str
    access_key: str = ""
    secret_key: str = ""
    door_url: str = ""  # public base URL of the HTTP door that serves signed URLs of the file system
    door_key: bytes | None = None  # signs those URLs


def open_objects(config: ObjectsConfig) -> ObjectStore:
    """Open the store that a URL names.

    Raises: FailedPrecondition for an unknown URL; Unavailable if S3 does not answer.
    """
    parts = urlsplit(config.url)
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"):
        from bessemer.svckit.objects_files import FileObjects

        return FileObjects(Path(parts.path), door_url=config.door_url, door_key=config.door_key)
    bucket = parts.path.strip("/")
    if parts.scheme in {"s3+http", "s3+https"} and parts.netloc and _BUCKET.fullmatch(bucket):
        from bessemer.svckit.objects_s3 import S3Objects

        return S3Objects(config)
    raise FailedPrecondition(
        f"object store {config.url!r} is unknown; use file:///absolute/path or s3+http://host:port/bucket, "
        "the bucket with 3 to 63 characters of a-z, 0-9, '.' and '-'"
    )


def check_key(key: str) -> str:
    """Return a key if it is one: segments of A-Z a-z 0-9 . _ = @ + - joined by '/'.

    Raises: InvalidRequest.
    """
    segments = key.split("/")
    bad = [part for part in segments if not _SEGMENT.fullmatch(part) or part in {".", ".."}]
    if bad or len(key) > KEY_BYTES_MAX or segments[0].startswith("."):
        raise InvalidRequest(
            f"object key {key[:200]!r} is invalid; use segments of A-Z a-z 0-9 . _ = @ + - joined by '/', none of them "
            f"'.' or '..', the first not starting with '.', at most {KEY_BYTES_MAX} characters",
            field="key",
        )
    return key


def check_prefix(prefix: str) -> str:
    """Return a prefix of keys if it is one; it may be empty or end inside a segment."""
    if prefix and not prefix.endswith("/"):
        check_key(prefix)
    elif prefix:
        check_key(prefix[:-1])
    return prefix
