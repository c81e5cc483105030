"""File bodies for uploads and verified targets for downloads."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from bessemer.kernel.errors import DataLoss, Internal, LimitReached, PermissionDenied, Unavailable

__all__ = ["FilePart", "download_target", "raise_for_transfer"]

CHUNK_BYTES = 1 << 20


class FilePart:
    """A file as a stream of chunks that reports how far it is."""

    def __init__(self, path: Path, progress: Callable[[int, int], None] | None) -> None:
        self.size_bytes = path.stat().st_size
        self._stream = path.open("rb")
        self._progress = progress

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def __iter__(self) -> Iterator[bytes]:
        done = 0
        while chunk := self._stream.read(CHUNK_BYTES):
            done += len(chunk)
            yield chunk
            if self._progress:
                self._progress(done, self.size_bytes)


@contextmanager
def download_target(path: Path, artifact: Any) -> Iterator[Callable[[bytes], None]]:
    """Yield a writer; when the bytes written have the artifact's digest, they become `path` at once."""
    partial = path.with_name(path.name + ".part")
    digest = hashlib.sha256()
    try:
        with partial.open("wb") as stream:

            def write(chunk: bytes) -> None:
                digest.update(chunk)
                stream.write(chunk)

            yield write
        if digest.hexdigest() != artifact.sha256:
            raise DataLoss(f"{artifact.key}: the downloaded bytes have another digest; try again", key=artifact.key)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def raise_for_transfer(response: httpx.Response) -> None:
    """Turn a refused transfer into a typed error."""
    if response.status_code < 400:
        return
    text = response.read().decode("utf-8", "replace")[:500]
    kinds = {403: PermissionDenied, 507: LimitReached, 503: Unavailable}
    raise kinds.get(response.status_code, Internal)(f"transfer refused with HTTP {response.status_code}: {text}")
