"""Verified files of shards on this host: mapped where they lie, or fetched by ranges into a cache of limited size."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import mmap
import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from bessemer.artifacts.manifest import FileEntry
from bessemer.kernel.errors import DataLoss, LimitReached, NotFound

__all__ = ["CACHE_BYTES", "RangeStore", "ShardFiles"]

CACHE_BYTES = 8 << 30
RANGE_BYTES = 8 << 20  # what S3 servers serve at full speed per request
CONNECTIONS = 8
Buffer: TypeAlias = "mmap.mmap | bytes"


class RangeStore(Protocol):
    """The part of the object store that shards are read through."""

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return bytes of an object; raises NotFound."""

    def local_path(self, key: str) -> Path | None:
        """Return the file that holds an object; None if none can."""


class ShardFiles:
    """Opens files of shards; each is verified when this process reads it first.

    A cached file is named after its digest; `folder` may be shared by processes. When it holds more than
    `cache_bytes`, the files opened longest ago go; whoever still has one mapped keeps its bytes.
    """

    def __init__(self, store: RangeStore, folder: Path, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._store = store
        self._folder = folder
        self._cache_bytes = cache_bytes
        self._verified: set[str] = set()
        self._connections = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="shard-range")

    def open(self, entry: FileEntry) -> npt.NDArray[np.uint8]:
        """Return the bytes of a file, mapped read-only.

        Raises: DataLoss naming the file if it is missing or other bytes than recorded; LimitReached STORAGE_FULL.
        """
        path = self._store.local_path(entry.key)
        if path is None:
            mapped = self._open_cached(entry)
            mapped = self._fetch(entry) if mapped is None else mapped
        else:
            try:
                with path.open("rb") as stream:
                    mapped = self._verified_map(entry, stream)
            except FileNotFoundError as error:
                raise _missing(entry) from error
        self._verified.add(entry.sha256)
        return np.frombuffer(mapped, np.uint8)

    def _verified_map(self, entry: FileEntry, stream: BinaryIO) -> Buffer:
        mapped = _map(stream)
        known = entry.sha256 in self._verified and len(mapped) == entry.size_bytes
        _compare(entry, len(mapped), entry.sha256 if known else hashlib.sha256(mapped).hexdigest())
        return mapped

    def _open_cached(self, entry: FileEntry) -> Buffer | None:
        """Return a cached file, marked as used just now; None if it is not there or damaged."""
        path = self._folder / entry.sha256
        with contextlib.suppress(FileNotFoundError, DataLoss), path.open("rb") as stream:
            mapped = self._verified_map(entry, stream)
            os.utime(path)
            return mapped
        return None

    def _fetch(self, entry: FileEntry) -> Buffer:
        """Return a file after putting it into the cache; it is mapped first, since it may be evicted at once."""
        self._folder.mkdir(parents=True, exist_ok=True)
        aside = self._folder / f"{uuid.uuid4().hex}.part"
        digest = hashlib.sha256()
        try:
            with _full_disk(), aside.open("x+b") as stream:
                for data in self._ranges(entry):
                    digest.update(data)
                    stream.write(data)
                stream.flush()
                _compare(entry, stream.tell(), digest.hexdigest())
                mapped = _map(stream)
            aside.replace(self._folder / entry.sha256)
        except NotFound as error:
            raise _missing(entry) from error
        finally:
            aside.unlink(missing_ok=True)
        self._evict()
        return mapped

    def _ranges(self, entry: FileEntry) -> Iterator[bytes]:
        """Yield an object's bytes in order, fetched over several connections; it asks for one byte too many."""
        starts = range(0, max(1, entry.size_bytes), RANGE_BYTES)
        lengths = [min(RANGE_BYTES, entry.size_bytes - start) for start in starts]
        lengths[-1] += 1
        yield from self._connections.map(self._store.get_range, [entry.key] * len(starts), starts, lengths)

    def _evict(self) -> None:
        files = []
        for path in self._folder.glob("[0-9a-f]" * 64):  # not what is still arriving
            with contextlib.suppress(FileNotFoundError):  # another process removed it
                status = path.stat()
                files.append((status.st_mtime_ns, status.st_size, path))
        excess = sum(size for _, size, _ in files) - self._cache_bytes
        for _, size, path in sorted(files):
            if excess <= 0:
                return
            path.unlink(missing_ok=True)
            excess -= size


def _missing(entry: FileEntry) -> DataLoss:
    return DataLoss(
        f"shard {entry.path} is missing: object {entry.key} does not exist; restore it from a copy",
        resource=entry.key,
    )


def _map(stream: BinaryIO) -> Buffer:
    """Map a file read-only; the mapping outlives the file's name."""
    if not os.fstat(stream.fileno()).st_size:
        return b""
    return mmap.mmap(stream.fileno(), 0, mmap.MAP_SHARED | mmap.MAP_POPULATE, mmap.PROT_READ)


def _compare(entry: FileEntry, size_bytes: int, sha256: str) -> None:
    if (size_bytes, sha256) != (entry.size_bytes, entry.sha256):
        raise DataLoss(
            f"shard {entry.path} has {size_bytes} bytes with SHA-256 {sha256}, recorded are {entry.size_bytes} bytes "
            f"with {entry.sha256}; restore object {entry.key} from a copy",
            resource=entry.key,
        )


@contextlib.contextmanager
def _full_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise LimitReached(
                "the disk under the shard cache is full; free some space", reason="STORAGE_FULL"
            ) from error
        raise
