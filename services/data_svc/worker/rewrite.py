"""A version in the making from a sealed one: files that change are stored anew, all others keep their digests."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.data.v1.dataset_job_pb2 import RewrittenFile
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import FileEntry, Manifest, fetch
from bessemer.artifacts.texts import is_text_part

from data_svc.worker.version import MEDIA_TYPES

__all__ = ["Rewrite", "Span", "blocks", "cut_spans", "lines", "without"]

_BLOCK = 1 << 20
Span = tuple[int, int]  # first byte and the one after the last


class Rewrite:
    """The files of the new version; `folder` holds private copies, which may be changed in place."""

    def __init__(self, blobs: Blobs, manifest: Manifest, folder: Path) -> None:
        self.manifest = manifest
        self.folder = folder
        self.changed: list[RewrittenFile] = []
        self._blobs = blobs
        self._entries = {entry.path: entry for entry in manifest.files}

    @property
    def entries(self) -> tuple[FileEntry, ...]:
        """What the new version consists of."""
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
        self._note(path, self._blobs.put_file(file, MEDIA_TYPES[file.suffix]))

    def put_bytes(self, path: str, data: bytes) -> None:
        """Take a file with these bytes into the new version; one that is left with none goes."""
        if data:
            self._note(path, self._blobs.put_bytes(data, self.manifest.file(path).media_type))
        else:
            self.changed.append(RewrittenFile(path=path, old_sha256=self._entries.pop(path).sha256))

    def _note(self, path: str, ref: ArtifactRef) -> None:
        before = self.manifest.file(path)
        if ref.sha256 != before.sha256:
            self._entries[path] = FileEntry.of(path, ref)
            self.changed.append(RewrittenFile(path=path, old_sha256=before.sha256, new_sha256=ref.sha256))

    def blocks(self, path: str) -> Iterator[tuple[int, bytes]]:
        """Yield a file of the old version in blocks of whole lines, each with the place of its first byte."""
        if is_text_part(path):  # which is small enough to need no copy on disk
            yield 0, self.get_bytes(path)
        else:
            yield from blocks(self.get(path))

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
