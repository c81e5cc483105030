"""Texts and tokens where they lie: stretches of files, read when they are needed and never kept."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = ["Numbers", "Slices"]

BATCH_BYTES = 4 << 20
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Slices:
    """`sizes` bytes each from `starts` on in the file `paths[files]`. Shapes: files, starts, sizes [N]."""

    paths: Sequence[Path]
    files: Numbers
    starts: Numbers
    sizes: Numbers

    def take(self, numbers: Numbers) -> Slices:
        """Return some of them, in the given order."""
        return Slices(self.paths, self.files[numbers], self.starts[numbers], self.sizes[numbers])

    def batches(self, numbers: Numbers, size_max: int = BATCH_BYTES) -> Iterator[Numbers]:
        """Yield numbers in runs of about `size_max` bytes together."""
        ends = np.cumsum(self.sizes[numbers])
        start = 0
        while start < len(numbers):
            before = ends[start] - self.sizes[numbers[start]]
            end = max(start + 1, int(np.searchsorted(ends, before + size_max, side="right")))
            yield numbers[start:end]
            start = end

    def read(self, numbers: Numbers) -> list[bytes]:
        """Return the bytes of each."""
        found = [b""] * len(numbers)
        for places, stream in self._opened(numbers):
            chosen = numbers[places]
            for place, start, size in zip(
                places.tolist(), self.starts[chosen].tolist(), self.sizes[chosen].tolist(), strict=True
            ):
                found[place] = os.pread(stream, size, start)
        return found

    def read_into(self, numbers: Numbers, target: memoryview, begins: Numbers) -> None:
        """Write the bytes of each to `target`, from its place in `begins` on."""
        for places, stream in self._opened(numbers):
            chosen = numbers[places]
            columns = self.starts[chosen].tolist(), self.sizes[chosen].tolist(), begins[places].tolist()
            for start, size, begin in zip(*columns, strict=True):
                os.preadv(stream, [target[begin : begin + size]], start)

    def _opened(self, numbers: Numbers) -> Iterator[tuple[Numbers, int]]:
        """Yield each file that some of them lie in, opened, after their places in `numbers`."""
        files = self.files[numbers]
        order = np.argsort(files, kind="stable")
        for places in np.split(order, np.flatnonzero(np.diff(files[order])) + 1):
            if len(places):
                with self.paths[files[places[0]]].open("rb", buffering=0) as stream:
                    yield places, stream.fileno()
