"""Verified files of shards on this host: mapped where they lie, or fetched by ranges into a cache of limited size."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import mmap
import os
import uuid
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from bessemer.artifacts.manifest import FileEntry
from bessemer.kernel.errors import DataLoss, NotFound

__all__ = ["CACHE_BYTES", "RangeStore", "ShardFiles"]

_log = logging.getLogger(__name__)

CACHE_BYTES = 8 << 30
RANGE_BYTES = 4 << 20  # large enough to hide the cost of a request, small enough to be spread over connections
CONNECTIONS = 8
UNWRITTEN_BYTES = 512 << 20
Bytes: TypeAlias = npt.NDArray[np.uint8]


class RangeStore(Protocol):
    """The part of the object store that shards are read through."""

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return bytes of an object; raises NotFound."""

    def local_path(self, key: str) -> Path | None:
        """Return the file that holds an object; None if none can."""


class ShardFiles:
    """Opens files of shards; each is verified when this process reads it first.

    What is fetched is handed out at once, and written to the cache after `write_back` unless the disk is far behind.
    A cached file is named after its digest; `folder` may be shared by processes. When it holds more than
    `cache_bytes`, the files opened longest ago go; whoever still has one mapped keeps its bytes.
    """

    def __init__(self, store: RangeStore, folder: Path, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._store = store
        self._folder = folder
        self._cache_bytes = cache_bytes
        self._verified: set[str] = set()
        self._connections = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="shard-range")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="shard-cache")
        self._unwritten: deque[tuple[FileEntry, Bytes]] = deque()

    def open(self, entry: FileEntry) -> Bytes:
        """Return the bytes of a file, read-only.

        Raises: DataLoss naming the file if it is missing or other bytes than recorded; Unavailable.
        """
        path = self._store.local_path(entry.key)
        if path is None:
            data = self._open_cached(entry)
            data = self._fetch(entry) if data is None else data
        else:
            try:
                with path.open("rb") as stream:
                    data = self._verified_map(entry, stream)
            except FileNotFoundError as error:
                raise _missing(entry) from error
        self._verified.add(entry.sha256)
        return data

    def write_back(self) -> None:
        """Write what was fetched to the cache, in the background; before this nothing competes with fetching."""
        self._writer.submit(self._write)

    def _verified_map(self, entry: FileEntry, stream: BinaryIO) -> Bytes:
        mapped = _map(stream)
        known = entry.sha256 in self._verified and len(mapped) == entry.size_bytes
        _compare(entry, len(mapped), entry.sha256 if known else hashlib.sha256(mapped.data).hexdigest())
        return mapped

    def _open_cached(self, entry: FileEntry) -> Bytes | None:
        """Return a cached file, marked as used just now; None if it is not there, unreadable or damaged."""
        path = self._folder / entry.sha256
        with contextlib.suppress(OSError, DataLoss), path.open("rb") as stream:
            mapped = self._verified_map(entry, stream)
            os.utime(path)
            return mapped
        return None

    def _fetch(self, entry: FileEntry) -> Bytes:
        """Return a file from the object store; its ranges come over several connections."""
        starts = range(0, max(1, entry.size_bytes), RANGE_BYTES)
        lengths = [min(RANGE_BYTES, entry.size_bytes - start) for start in starts]
        lengths[-1] += 1  # one byte too many, which a right object does not have
        data, end, digest = np.empty(entry.size_bytes + 1, np.uint8), 0, hashlib.sha256()
        try:
            for part in self._connections.map(self._store.get_range, [entry.key] * len(starts), starts, lengths):
                data[end : end + len(part)] = np.frombuffer(part, np.uint8)
                end += len(part)
                digest.update(part)
        except NotFound as error:
            raise _missing(entry) from error
        _compare(entry, end, digest.hexdigest())
        data = data[:end]
        data.setflags(write=False)
        if sum(len(waiting) for _, waiting in [*self._unwritten]) < UNWRITTEN_BYTES:
            self._unwritten.append((entry, data))
        return data

    def _write(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._keep(*self._unwritten.popleft())

    def _keep(self, entry: FileEntry, data: Bytes) -> None:
        """Write a file to the cache; without it, the file is fetched again when it is needed again."""
        aside = self._folder / f"{uuid.uuid4().hex}.part"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            aside.write_bytes(data.data)
            aside.replace(self._folder / entry.sha256)
            self._evict()
        except OSError as error:
            _log.warning("shard %s is not cached: %s", entry.path, error)
        finally:
            aside.unlink(missing_ok=True)

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


def _map(stream: BinaryIO) -> Bytes:
    """Map a file read-only; the mapping outlives the file's name."""
    if not os.fstat(stream.fileno()).st_size:
        return np.empty(0, np.uint8)
    at_once = getattr(mmap, "MAP_POPULATE", 0)  # Linux maps all pages in one go; elsewhere the first read does
    return np.frombuffer(mmap.mmap(stream.fileno(), 0, mmap.MAP_SHARED | at_once, mmap.PROT_READ), np.uint8)


def _compare(entry: FileEntry, size_bytes: int, sha256: str) -> None:
    if (size_bytes, sha256) != (entry.size_bytes, entry.sha256):
        raise DataLoss(
            f"shard {entry.path} has {size_bytes} bytes with SHA-256 {sha256}, recorded are {entry.size_bytes} bytes "
            f"with {entry.sha256}; restore object {entry.key} from a copy",
            resource=entry.key,
        )
