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
Tokens = npt.NDArray[np.unsignedinteger]


@dataclass
class ErasedTokens:
    """Where tokens of documents lay, by document number, and what became of the rows."""

    pieces: dict[int, list[ErasedPiece]] = field(default_factory=lambda: defaultdict(list))
    rows_changed: int = 0
    rows_dropped: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # by split

    def tokens(self, number: int) -> int:
        """Return how many tokens of a document went."""
        return sum(piece.length for piece in self.pieces[number])


def erase_rows(rows: Tokens, bounds: Bounds, documents: npt.NDArray[np.integer]) -> tuple[Tokens, Bounds]:
    """Return the rows and bounds of a shard without the documents of the given numbers.

    Their tokens become padding where they lay, in `rows` itself; a row that holds nothing else goes.
    Shapes: rows [N, S].
    """
    gone = np.isin(bounds["document"], documents)
    kept = bounds[~gone].copy()
    for row, offset, length in bounds[gone][["row", "offset", "length"]].tolist():
        rows[row, offset : offset + length] = 0
    dropped = np.zeros(len(rows), bool)
    dropped[bounds["row"][gone]] = True
    dropped[kept["row"]] = False
    kept["row"] -= np.cumsum(dropped)[kept["row"]].astype(np.uint32)
    return rows[~dropped] if dropped.any() else rows, kept


def erase_tokens(version: Rewrite, numbers: dict[str, list[int]]) -> ErasedTokens:
    """Rewrite the shards that hold tokens of documents, given by number and split."""
    found = ErasedTokens()
    facts = version.manifest.facts
    width, dtype = int(str(facts["sequence_length"])), np.dtype(f"<u{facts['token_bytes']}")
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
            rows = np.frombuffer(bytearray(version.get_bytes(shard)), dtype).reshape(-1, width)
            kept_rows, kept_bounds = erase_rows(rows, bounds, wanted)
            found.rows_changed += len(np.unique(gone["row"])) - (len(rows) - len(kept_rows))
            found.rows_dropped[split] += len(rows) - len(kept_rows)
            version.put_bytes(shard, kept_rows.tobytes())
            version.put_bytes(entry.path, kept_bounds.tobytes())
    return found
