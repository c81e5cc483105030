"""What a step learns from: packed rows of documents with streams of numbers per token, and judgements on documents."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Document", "Image", "Opinion", "Pair", "Rollout", "Row", "pack"]


class Image(NamedTuple):
    """An image of a document: its file, and where its tokens begin and end."""

    path: Path
    start: int
    end: int


class Document(NamedTuple):
    """Tokens that see each other only; `weights[t]` is how much predicting `ids[t]` counts.

    Images stand in the order of their tokens, and whole: neither packing nor cutting divides one.
    """

    ids: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    images: tuple[Image, ...] = ()


class Pair(NamedTuple):
    """Two documents of a row, by index, and their log-probabilities under the reference model."""

    chosen: int
    rejected: int
    reference_chosen: float
    reference_rejected: float


class Opinion(NamedTuple):
    """A document of a row that was liked or not, and its log-probability under the reference model.

    `contrast` is the same prompt with an answer to another one, `reference_contrast` the log-probability of that.
    """

    document: int
    is_desirable: bool
    reference: float
    contrast: Document
    reference_contrast: float


class Rollout(NamedTuple):
    """A document of a row that the model sampled itself; arrays have one number per token of the document.

    Log-probabilities under the policy as sampled from and under the reference; `advantages` and `weights` are zero
    where nothing is learned. The weights hold the normaliser of the method, so the loss is their plain sum.
    """

    document: int
    behaviour: npt.NDArray[np.float32]
    reference: npt.NDArray[np.float32]
    advantages: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Row:
    """Documents that go through the model together."""

    documents: tuple[Document, ...]
    pairs: tuple[Pair, ...] = ()
    opinions: tuple[Opinion, ...] = ()
    rollouts: tuple[Rollout, ...] = ()

    @property
    def num_tokens(self) -> int:
        """Tokens of all documents."""
        return sum(len(document.ids) for document in self.documents)

    @property
    def is_judged(self) -> bool:
        """Whether the loss of a token depends on more than its weight."""
        return bool(self.pairs or self.opinions or self.rollouts)

    @property
    def imitated(self) -> list[int]:
        """Documents whose cross-entropy counts: all but rejected, disliked and sampled ones."""
        left_out = {pair.rejected for pair in self.pairs} | {rollout.document for rollout in self.rollouts}
        left_out |= {opinion.document for opinion in self.opinions if not opinion.is_desirable}
        return [i for i in range(len(self.documents)) if i not in left_out]

    @property
    def num_counted(self) -> float:
        """Sum of the weights of the documents whose cross-entropy counts."""
        return sum(float(self.documents[i].weights.sum()) for i in self.imitated)

    @staticmethod
    def joined(rows: Sequence[Row]) -> Row:
        """Return rows as one; nothing changes for their documents."""
        if len(rows) == 1:
            return rows[0]
        starts = list(accumulate((len(row.documents) for row in rows), initial=0))
        shifted = list(zip(starts, rows, strict=False))
        return Row(
            tuple(document for row in rows for document in row.documents),
            tuple(
                p._replace(chosen=p.chosen + start, rejected=p.rejected + start)
                for start, row in shifted
                for p in row.pairs
            ),
            tuple(o._replace(document=o.document + start) for start, row in shifted for o in row.opinions),
            tuple(r._replace(document=r.document + start) for start, row in shifted for r in row.rollouts),
        )


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
