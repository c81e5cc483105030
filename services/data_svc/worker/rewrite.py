"""A version in the making from a sealed one: files that change are stored anew, all others keep their digests.

Files are read, hashed, searched, changed and written in blocks that stay in a core's cache. What a block says counts
only once the whole file has the recorded digest.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self, TypeVar

from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.data.v1.dataset_job_pb2 import RewrittenFile
from bessemer.artifacts.blobs import Blobs, verify
from bessemer.artifacts.manifest import FileEntry, Manifest

from data_svc.worker.version import MEDIA_TYPES

__all__ = ["Edit", "Rewrite", "Span", "changed", "cut", "lines", "whole_lines", "whole_rows"]

BLOCK_BYTES = 256 << 10  # stays in a core's cache between hashing and searching; twice as much took a third longer
_THREADS = 2  # they pass the interpreter to each other between any two steps
T = TypeVar("T")
Span = tuple[int, int]  # first byte and the one after the last
Edit = tuple[int, int, bytes]  # a span, and what stands there instead
Edits = Callable[[int, bytes], Sequence[Edit]]


class _Digest(Protocol):
    def update(self, data: bytes | memoryview, /) -> None: ...
    def copy(self) -> _Digest: ...
    def hexdigest(self) -> str: ...


class Rewrite:
    """The files of the new version; `folder` holds what is being written.

    Threads read and store, `_THREADS` files at most at once; leaving the block ends them.
    """

    def __init__(self, blobs: Blobs, manifest: Manifest, folder: Path) -> None:
        self.manifest = manifest
        self.folder = folder
        self.changed: list[RewrittenFile] = []
        self._blobs = blobs
        self._entries = {entry.path: entry for entry in manifest.files}
        self._threads = ThreadPoolExecutor(_THREADS, "rewrite")
        self._storing: deque[tuple[str, Future[ArtifactRef | None]]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(cancel_futures=True)

    @property
    def entries(self) -> tuple[FileEntry, ...]:
        """What the new version consists of, stored by now."""
        self.wait()
        return tuple(self._entries.values())

    def has(self, path: str) -> bool:
        """Say whether the old version has a file."""
        return any(entry.path == path for entry in self.manifest.files)

    def get_bytes(self, path: str) -> bytes:
        """Return a verified file of the old version that is only read."""
        return self._blobs.get_bytes(self.manifest.file(path).ref)

    def search(self, paths: Iterable[str], look: Callable[[bytes], Iterable[T]]) -> Iterator[T]:
        """Yield what `look` finds in the blocks of verified JSON Lines, from many threads."""
        searching = deque(self._threads.submit(self._search, path, look) for path in paths)
        while searching:
            yield from searching.popleft().result()

    def edit(self, path: str, edits: Edits, row_bytes: int = 0) -> None:
        """Take a file of the old version, changed, into the new one; one that is left with nothing goes.

        `edits` gets the place of a block in the file, and the block: whole lines, or whole rows of `row_bytes`. It
        returns changes in their order, by places in the block, and runs in a thread; after `wait` it has seen all.
        """
        self._storing.append((path, self._threads.submit(self._edit, path, edits, row_bytes)))

    def put(self, path: str) -> None:
        """Take the file that was written into `folder` into the new version."""
        file = self.folder / path
        self._storing.append((path, self._threads.submit(self._blobs.put_file, file, MEDIA_TYPES[file.suffix])))

    def put_bytes(self, path: str, data: bytes) -> None:
        """Take a file with these bytes into the new version; one without any goes."""
        media_type = self.manifest.file(path).media_type
        put = partial(self._blobs.put_bytes, data, media_type) if data else lambda: None
        self._storing.append((path, self._threads.submit(put)))

    def wait(self) -> None:
        """Wait until all that was put or edited is stored, and note it.

        Raises: NotFound; DataLoss if a file of the old version is not as recorded.
        """
        while self._storing:
            path, stored = self._storing.popleft()
            ref, before = stored.result(), self.manifest.file(path)
            if ref is None:
                del self._entries[path]
                self.changed.append(RewrittenFile(path=path, old_sha256=before.sha256))
            elif ref.sha256 != before.sha256:
                self._entries[path] = FileEntry.of(path, ref)
                self.changed.append(RewrittenFile(path=path, old_sha256=before.sha256, new_sha256=ref.sha256))

    def _search(self, path: str, look: Callable[[bytes], Iterable[T]]) -> list[T]:
        found: list[T] = []
        self._read(path, lambda _, block: found.extend(look(block)), hashlib.sha256())
        return found

    def _edit(self, path: str, edits: Edits, row_bytes: int) -> ArtifactRef | None:
        """Store a file as it is after its edits; None if nothing is left."""
        aside = self.folder / path
        aside.parent.mkdir(parents=True, exist_ok=True)
        old: _Digest = hashlib.sha256()
        new: _Digest | None = None
        same = old.copy()  # as before this block; up to the first edit both files have one digest

        def use(start: int, block: bytes) -> None:
            nonlocal new, same
            found = edits(start, block)
            if found and new is None:
                new = same
            for piece in changed(block, found):
                file.write(piece)
                if new is not None:
                    new.update(piece)
            if new is None:
                same = old.copy()

        with aside.open("wb") as file:
            self._read(path, use, old, row_bytes)
        entry = self.manifest.file(path)
        if new is not None and aside.stat().st_size:
            return self._blobs.move_file(aside, new.hexdigest(), entry.media_type)
        aside.unlink()
        return None if new is not None else entry.ref

    def _read(self, path: str, use: Callable[[int, bytes], None], digest: _Digest, row_bytes: int = 0) -> None:
        """Give the blocks of a file to `use`, each with its place, and verify it.

        Raises: NotFound; DataLoss, also where `use` cannot make sense of damaged bytes.
        """
        ref = self.manifest.file(path).ref
        start, failed = 0, None
        with self._blobs.open(ref) as stream:
            for block in whole_rows(stream, row_bytes) if row_bytes else whole_lines(stream):
                digest.update(block)
                try:
                    if failed is None:
                        use(start, block)
                except (ValueError, KeyError) as error:
                    failed = error
                start += len(block)
        verify(ref, digest.hexdigest())
        if failed is not None:
            raise failed


def whole_lines(stream: BinaryIO, size: int = BLOCK_BYTES) -> Iterator[bytes]:
    """Yield a file in blocks of whole lines, of about `size` bytes unless a line has more."""
    while block := stream.read(size):
        yield block if block.endswith(b"\n") else block + stream.readline()


def whole_rows(stream: BinaryIO, row_bytes: int, size: int = BLOCK_BYTES) -> Iterator[bytes]:
    """Yield a file in blocks of whole rows, of at most `size` bytes unless a row has more."""
    while block := stream.read(max(1, size // row_bytes) * row_bytes):
        yield block


def changed(block: bytes, edits: Iterable[Edit]) -> Iterator[bytes | memoryview]:
    """Yield the pieces of a block after ordered edits."""
    view, at = memoryview(block), 0
    for start, end, instead in edits:
        yield view[at:start]
        yield instead
        at = end
    yield view[at:]


def cut(spans: Iterable[Span]) -> list[Edit]:
    """Return the edits that leave spans out."""
    return [(start, end, b"") for start, end in spans]


def lines(block: bytes) -> Iterator[Span]:
    """Yield where the lines of a block begin and end."""
    start = 0
    while start < len(block):
        end = block.find(b"\n", start) + 1 or len(block)
        yield start, end
        start = end
