"""Rows of sealed text versions in the order of training, read from shards that arrive before they are needed.

While one window of shards is read, threads fetch and verify the next one. The rows at a position depend on nothing
but the versions, their order, the seed and the position: not on prefetching, connections, cache or kind of store.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bessemer.artifacts.order import WINDOW_BYTES, Order, Window
from bessemer.artifacts.shard import BOUND, Shard
from bessemer.artifacts.shard_files import ShardFiles
from bessemer.kernel.errors import DataLoss

__all__ = ["Sample", "TextStream"]

_THREADS = 4  # shards fetched and verified at a time


class Sample(NamedTuple):
    """A row: its tokens, shape [S], and (offset, length) of its documents' pieces from left to right, shape [P, 2]."""

    tokens: npt.NDArray[np.unsignedinteger]
    pieces: npt.NDArray[np.uint32]


class _Rows:
    """An opened shard; the pieces of row r begin at `first[r]`."""

    def __init__(self, shard: Shard, files: ShardFiles) -> None:
        self.tokens = files.open(shard.tokens).view(shard.dtype).reshape(-1, shard.sequence_length)
        bounds = files.open(shard.bounds).view(BOUND)
        self.pieces = np.stack([bounds["offset"], bounds["length"]], axis=1)
        self.first = np.searchsorted(bounds["row"], np.arange(shard.num_rows + 1)).tolist()
        if 0 in np.diff(self.first):
            path = shard.bounds.path
            raise DataLoss(f"{path} names no document for some row; seal the version again", resource=shard.bounds.key)

    def sample(self, row: int) -> Sample:
        return Sample(self.tokens[row], self.pieces[self.first[row] : self.first[row + 1]])


class TextStream:
    """All rows of the shards, pass after pass; `ahead` windows are fetched before they are needed."""

    def __init__(
        self,
        shards: Sequence[Shard],
        files: ShardFiles,
        *,
        digest: str,
        seed: int,
        window_bytes: int = WINDOW_BYTES,
        ahead: int = 1,
    ) -> None:
        rows, sizes = [shard.num_rows for shard in shards], [shard.tokens.size_bytes for shard in shards]
        self.order = Order(rows, sizes, digest=digest, seed=seed, window_bytes=window_bytes)
        self._shards, self._files, self._ahead = shards, files, ahead
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="shard")
        self._coming: dict[int, Future[_Rows]] = {}
        self._window = Window(0, 0, ())
        self._rows: dict[int, _Rows] = {}

    def __len__(self) -> int:
        return len(self.order)

    def take(self, position: int, count: int) -> list[Sample]:
        """Return the rows at `position` and after; waits for their shards if need be.

        Raises: DataLoss naming the shard that is missing or damaged; Unavailable.
        """
        samples: list[Sample] = []
        stop = position + count
        while position < stop:
            if not self._window.start <= position < self._window.stop:
                self._enter(self.order.window(position))
            window = self._window
            shards, rows = self.order.places(window)
            part = slice(position - window.start, min(stop, window.stop) - window.start)
            samples += [
                self._rows[s].sample(r) for s, r in zip(shards[part].tolist(), rows[part].tolist(), strict=True)
            ]
            position = window.start + part.stop
        return samples

    def _enter(self, window: Window) -> None:
        """Wait for a window, then have the next ones fetched; the first must not share its connections with them."""
        self._rows = self._fetched(window.shards)
        self._window = window
        self._files.write_back()
        needed = set(window.shards)
        for _ in range(self._ahead):
            window = self.order.window(window.stop)
            self._fetch(window.shards)
            needed.update(window.shards)
        self._coming = {shard: future for shard, future in self._coming.items() if shard in needed}

    def _fetched(self, shards: Sequence[int]) -> dict[int, _Rows]:
        self._fetch(shards)
        try:
            return {shard: self._coming[shard].result() for shard in shards}
        except BaseException:
            self._coming.clear()  # whoever asks again gets another try
            raise

    def _fetch(self, shards: Sequence[int]) -> None:
        for shard in shards:
            if shard not in self._coming:
                self._coming[shard] = self._threads.submit(_Rows, self._shards[shard], self._files)
