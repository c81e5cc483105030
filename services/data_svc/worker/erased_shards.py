"""Shards without the tokens of some documents; the rows of all others stay as they are, bit by bit."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter

import numpy as np
import numpy.typing as npt
from bessemer.api.data.v1.dataset_job_pb2 import ErasedPiece
from bessemer.artifacts.shard import BOUND

from data_svc.worker.rewrite import Edit, Rewrite

__all__ = ["ErasedTokens", "erase_rows", "erase_tokens"]

Bounds = npt.NDArray[np.void]


@dataclass
class ErasedTokens:
    """Where tokens of documents lay, by document number, and what became of the rows."""

    pieces: dict[int, list[ErasedPiece]] = field(default_factory=lambda: defaultdict(list))
    rows_changed: int = 0
    rows_dropped: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # by split

    def tokens(self, number: int) -> int:
        """Return how many tokens of a document went."""
        return sum(piece.length for piece in self.pieces[number])


def erase_rows(
    bounds: Bounds, documents: npt.NDArray[np.integer], *, num_rows: int, row_bytes: int, token_bytes: int
) -> tuple[list[Edit], Bounds]:
    """Return what to change in the rows of a shard, and its bounds, without the documents of the given numbers.

    Their tokens become padding where they lay; a row that holds nothing else goes.
    """
    is_gone = np.isin(bounds["document"], documents)
    kept, gone = bounds[~is_gone].copy(), np.sort(bounds[is_gone], order=("row", "offset"))
    dropped = np.zeros(num_rows, bool)
    dropped[gone["row"]] = True
    dropped[kept["row"]] = False
    kept["row"] -= np.cumsum(dropped)[kept["row"]].astype(np.uint32)
    edits = {(row * row_bytes, (row + 1) * row_bytes, b"") for row in np.flatnonzero(dropped).tolist()}
    for row, offset, length in gone[["row", "offset", "length"]].tolist():
        if not dropped[row]:
            first = row * row_bytes + offset * token_bytes
            edits.add((first, first + length * token_bytes, bytes(length * token_bytes)))
    return sorted(edits), kept


def erase_tokens(version: Rewrite, numbers: dict[str, list[int]]) -> ErasedTokens:
    """Rewrite the shards that hold tokens of documents, given by number and split."""
    found = ErasedTokens()
    facts = version.manifest.facts
    token_bytes = int(str(facts["token_bytes"]))
    row_bytes = int(str(facts["sequence_length"])) * token_bytes
    for split, documents in numbers.items():
        wanted = np.array(documents, np.uint32)
        for entry in version.manifest.below(f"{split}/"):
            if not entry.path.endswith(".bounds"):
                continue
            bounds = np.frombuffer(version.get_bytes(entry.path), BOUND)
            gone = bounds[np.isin(bounds["document"], wanted)]
            if not len(gone):
                continue
            shard = entry.path.removesuffix(".bounds") + ".bin"
            for row, offset, length, document, start in gone.tolist():
                piece = ErasedPiece(file=shard, row=row, offset=offset, length=length, start=start)
                found.pieces[document].append(piece)
            num_rows = version.manifest.file(shard).size_bytes // row_bytes
            edits, kept = erase_rows(bounds, wanted, num_rows=num_rows, row_bytes=row_bytes, token_bytes=token_bytes)
            num_dropped = sum(not padding for _, _, padding in edits)
            found.rows_changed += len(np.unique(gone["row"])) - num_dropped
            found.rows_dropped[split] += num_dropped
            version.edit(shard, partial(_inside, edits), row_bytes)
            version.put_bytes(entry.path, kept.tobytes())
    return found


def _inside(edits: Sequence[Edit], start: int, block: bytes) -> Sequence[Edit]:
    """Return which of a shard's edits lie in a block of it, by places in the block."""
    first, last = (bisect_left(edits, at, key=itemgetter(0)) for at in (start, start + len(block)))
    return [(begin - start, end - start, padding) for begin, end, padding in edits[first:last]]
