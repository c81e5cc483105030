"""Documents' tokens into rows: best fit, so that only documents longer than a row are cut, in a seeded order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from bessemer.artifacts.shard import BOUND, rows_per_shard, write_shard

from data_svc.worker.kernels import best_fit
from data_svc.worker.slices import Numbers, Slices

__all__ = ["pack", "write_rows"]

_BLOCK_BYTES = 2 << 20


def pack(lengths: npt.NDArray[np.int64], sequence_length: int, seed: int) -> npt.NDArray[np.void]:
    """Return the bounds of all pieces, by row and offset; `document` is the place in `lengths`, rows are shuffled."""
    num_full = lengths // sequence_length
    documents = np.repeat(np.arange(len(lengths)), num_full + (lengths % sequence_length > 0))
    first = np.cumsum(np.r_[0, num_full + (lengths % sequence_length > 0)])[:-1]
    starts = (np.arange(len(documents)) - np.repeat(first, np.diff(np.r_[first, len(documents)]))) * sequence_length
    sizes = np.minimum(lengths[documents] - starts, sequence_length)
    order = np.lexsort((starts, documents, -sizes))
    documents, starts, sizes = documents[order], starts[order], sizes[order]
    rows = best_fit(sizes, sequence_length)
    num_rows = int(rows.max(initial=-1)) + 1
    shuffled = np.random.Generator(np.random.Philox(seed)).permutation(num_rows)[rows] if num_rows else rows
    order = np.argsort(shuffled, kind="stable")
    bounds = np.zeros(len(order), BOUND)
    bounds["row"], bounds["length"] = shuffled[order], sizes[order]
    bounds["document"], bounds["start"] = documents[order], starts[order]
    ends = np.cumsum(sizes[order])
    row_starts = np.searchsorted(bounds["row"], np.arange(num_rows))
    before = np.r_[0, ends][row_starts]
    bounds["offset"] = ends - sizes[order] - before[bounds["row"]]
    return bounds


def write_rows(
    folder: Path,
    split: str,
    numbers: Numbers,
    tokens: Slices,
    *,
    dtype: np.dtype[np.unsignedinteger],
    sequence_length: int,
    seed: int,
) -> int:
    """Write the shards of a split and return its number of rows; tokens are read shard by shard.

    `numbers` are those of its documents in `documents.jsonl`, `tokens` where the ids of each lie.
    """
    width = dtype.itemsize
    bounds = pack(tokens.sizes // width, sequence_length, seed)
    num_rows = int(bounds["row"][-1]) + 1 if len(bounds) else 0
    step = rows_per_shard(sequence_length, width)
    for shard, start in enumerate(range(0, num_rows, step)):
        first, last = np.searchsorted(bounds["row"], [start, start + step])
        part = bounds[first:last].copy()
        part["row"] -= start
        pieces = tokens.take(part["document"])
        sizes = part["length"].astype(np.int64) * width
        pieces = replace(pieces, starts=pieces.starts + part["start"].astype(np.int64) * width, sizes=sizes)
        rows = _rows(part, pieces, min(step, num_rows - start), sequence_length, dtype)
        part["document"] = numbers[part["document"]]
        write_shard(folder, split, shard, rows, part)
    return num_rows


def _rows(
    bounds: npt.NDArray[np.void],
    pieces: Slices,
    num_rows: int,
    sequence_length: int,
    dtype: np.dtype[np.unsignedinteger],
) -> Iterator[npt.NDArray[np.unsignedinteger]]:
    """Yield the rows of a shard, a few at a time."""
    step = max(1, _BLOCK_BYTES // (sequence_length * dtype.itemsize))
    for start in range(0, num_rows, step):
        first, last = np.searchsorted(bounds["row"], [start, start + step])
        part = bounds[first:last]
        rows = np.zeros((min(step, num_rows - start), sequence_length), dtype)
        places = (part["row"].astype(np.int64) - start) * sequence_length + part["offset"]
        pieces.read_into(np.arange(first, last), rows.reshape(-1).view(np.uint8).data, places * dtype.itemsize)
        yield rows
