"""A version in the making from a sealed one: files that change are stored anew, all others keep their digests."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.data.v1.dataset_job_pb2 import RewrittenFile
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import FileEntry, Manifest, fetch

from data_svc.worker.version import MEDIA_TYPES

__all__ = ["Rewrite", "Span", "blocks", "cut_spans", "lines", "without"]

_BLOCK = 1 << 20
_THREADS = 3
Span = tuple[int, int]  # first byte and the one after the last


class Rewrite:
    """The files of the new version; `folder` holds private copies, which may be changed in place.

    Threads store what was put and read ahead, `_THREADS` files at most at once; leaving the block ends them.
    """

    def __init__(self, blobs: Blobs, manifest: Manifest, folder: Path) -> None:
        self.manifest = manifest
        self.folder = folder
        self.changed: list[RewrittenFile] = []
        self._blobs = blobs
        self._entries = {entry.path: entry for entry in manifest.files}
        self._threads = ThreadPoolExecutor(_THREADS, "rewrite")
        self._storing: deque[tuple[str, Future[ArtifactRef]]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(cancel_futures=True)

    @property
    def entries(self) -> tuple[FileEntry, ...]:
        """What the new version consists of, stored by now."""
        self._wait(0)
        return tuple(self._entries.values())

    def has(self, path: str) -> bool:
        """Say whether the old version has a file."""
        return any(entry.path == path for entry in self.manifest.files)

    def get(self, path: str) -> Path:
        """Return a verified copy of a file of the old version; asked for again it is as it was left."""
        target = self.folder / path
        if not target.exists():
            fetch(self._blobs, self.manifest, self.folder, [path])
        return target

    def get_bytes(self, path: str) -> bytes:
        """Return a verified file of the old version that is only read."""
        return self._blobs.get_bytes(self.manifest.file(path).ref)

    def put(self, path: str) -> None:
        """Take the copy as it is now into the new version."""
        file = self.folder / path
        self._store(path, self._blobs.put_file, file, MEDIA_TYPES[file.suffix])

    def put_bytes(self, path: str, data: bytes) -> None:
        """Take a file with these bytes into the new version; one that is left with none goes."""
        if data:
            self._store(path, self._blobs.put_bytes, data, self.manifest.file(path).media_type)
        else:
            self.changed.append(RewrittenFile(path=path, old_sha256=self._entries.pop(path).sha256))

    def _store(self, path: str, put: Callable[..., ArtifactRef], *given: object) -> None:
        self._wait(_THREADS - 1)
        self._storing.append((path, self._threads.submit(put, *given)))

    def _wait(self, most: int) -> None:
        """Note what was stored until at most so many files are on their way."""
        while len(self._storing) > most:
            path, stored = self._storing.popleft()
            ref, before = stored.result(), self.manifest.file(path)
            if ref.sha256 != before.sha256:
                self._entries[path] = FileEntry.of(path, ref)
                self.changed.append(RewrittenFile(path=path, old_sha256=before.sha256, new_sha256=ref.sha256))

    def get_parts(self, paths: Iterable[str]) -> Iterator[bytes]:
        """Yield verified files of the old version that are only read, the next one fetched meanwhile."""
        fetching: deque[Future[bytes]] = deque()
        for path in paths:
            fetching.append(self._threads.submit(self.get_bytes, path))
            if len(fetching) > 1:
                yield fetching.popleft().result()
        while fetching:
            yield fetching.popleft().result()

    def cut(self, path: str, spans: Sequence[Span]) -> None:
        """Leave ranges of bytes out of a file."""
        if spans:
            cut_spans(self.get(path), spans)
            self.put(path)


def cut_spans(path: Path, spans: Sequence[Span]) -> None:
    """Take ordered ranges of bytes out of a file, in place: what follows moves up."""
    if not spans:
        return
    size = path.stat().st_size
    with path.open("r+b") as file:
        end = spans[0][0]
        for (_, start), (stop, _) in zip(spans, [*spans[1:], (size, size)], strict=True):
            for at in range(start, stop, _BLOCK):  # not through a mapping: every page written would be a fault
                end += os.pwrite(file.fileno(), os.pread(file.fileno(), min(_BLOCK, stop - at), at), end)
        file.truncate(end)


def without(data: bytes, spans: Sequence[Span]) -> bytes:
    """Return bytes without ordered ranges of them."""
    view, ends, starts = memoryview(data), [0, *(end for _, end in spans)], [*(start for start, _ in spans), len(data)]
    return b"".join(view[end:start] for end, start in zip(ends, starts, strict=True))


def blocks(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield a file in blocks of whole lines, each with the place of its first byte."""
    start = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            if not block.endswith(b"\n"):
                block += file.readline()
            yield start, block
            start += len(block)


def lines(block: bytes) -> Iterator[Span]:
    """Yield where the lines of a block begin and end."""
    start = 0
    while start < len(block):
        end = block.find(b"\n", start) + 1 or len(block)
        yield start, end
        start = end
