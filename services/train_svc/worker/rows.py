"""What a step learns from: packed rows of documents with one loss weight per token, and pairs among them."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Document", "Pair", "Row", "pack"]


class Document(NamedTuple):
    """Tokens that see each other only; `weights[t]` is how much predicting `ids[t]` counts."""

    ids: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]


class Pair(NamedTuple):
    """Two documents of a row, by index, and their log-probabilities under the reference model."""

    chosen: int
    rejected: int
    reference_chosen: float
    reference_rejected: float


@dataclass(frozen=True)
class Row:
    """Documents that go through the model together."""

    documents: tuple[Document, ...]
    pairs: tuple[Pair, ...] = ()

    @property
    def num_tokens(self) -> int:
        """Tokens of all documents."""
        return sum(len(document.ids) for document in self.documents)

    @property
    def num_counted(self) -> float:
        """Sum of the weights of the documents whose cross-entropy counts: all but rejected ones."""
        rejected = {pair.rejected for pair in self.pairs}
        return sum(float(d.weights.sum()) for i, d in enumerate(self.documents) if i not in rejected)

    def merge(self, other: Row) -> Row:
        """Return both rows as one; nothing changes for their documents."""
        shift = len(self.documents)
        moved = tuple(p._replace(chosen=p.chosen + shift, rejected=p.rejected + shift) for p in other.pairs)
        return Row(self.documents + other.documents, self.pairs + moved)


def pack(sizes: Sequence[int], capacity: int) -> list[list[int]]:
    """Return bins of item indices by best fit, longest item first; the same every time.

    An item larger than the capacity gets a bin of its own.
    """
    bins: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (space left, bin), sorted
    for item in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        place = bisect_left(room, (sizes[item], -1))
        if place == len(room):
            bins.append([item])
            insort(room, (capacity - sizes[item], len(bins) - 1))
        else:
            left, number = room.pop(place)
            bins[number].append(item)
            insort(room, (left - sizes[item], number))
    return bins
