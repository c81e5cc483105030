"""Shards without the tokens of some documents; the rows of all others stay as they are, bit by bit."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from bessemer.api.data.v1.dataset_job_pb2 import ErasedPiece
from bessemer.artifacts.shard import BOUND

from data_svc.worker.rewrite import Rewrite

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
    rows: bytes, bounds: Bounds, documents: npt.NDArray[np.integer], *, row_bytes: int, token_bytes: int
) -> tuple[bytes, Bounds]:
    """Return the rows and bounds of a shard without the documents of the given numbers.

    Their tokens become padding where they lay; a row that holds nothing else goes.
    """
    is_gone = np.isin(bounds["document"], documents)
    kept, gone = bounds[~is_gone].copy(), np.sort(bounds[is_gone], order=("row", "offset"))
    dropped = np.zeros(len(rows) // row_bytes, bool)
    dropped[gone["row"]] = True
    dropped[kept["row"]] = False
    kept["row"] -= np.cumsum(dropped)[kept["row"]].astype(np.uint32)
    pieces: list[bytes | memoryview] = []
    view, at = memoryview(rows), 0
    for row, offset, length in gone[["row", "offset", "length"]].tolist():
        if dropped[row]:
            first, last, padding = row * row_bytes, (row + 1) * row_bytes, b""
        else:
            first = row * row_bytes + offset * token_bytes
            last = first + length * token_bytes
            padding = bytes(last - first)
        pieces += [view[at:first], padding]  # of a row that goes, its second piece finds nothing more before it
        at = last
    return b"".join([*pieces, view[at:]]), kept


def erase_tokens(version: Rewrite, numbers: dict[str, list[int]]) -> ErasedTokens:
    """Rewrite the shards that hold tokens of documents, given by number and split."""
    found = ErasedTokens()
    facts = version.manifest.facts
    width, token_bytes = int(str(facts["sequence_length"])), int(str(facts["token_bytes"]))
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
            rows = version.get_bytes(shard)
            left, kept = erase_rows(rows, bounds, wanted, row_bytes=width * token_bytes, token_bytes=token_bytes)
            num_dropped = (len(rows) - len(left)) // (width * token_bytes)
            found.rows_changed += len(np.unique(gone["row"])) - num_dropped
            found.rows_dropped[split] += num_dropped
            version.put_bytes(shard, left)
            version.put_bytes(entry.path, kept.tobytes())
    return found
