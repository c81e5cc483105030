"""Runs of words that stood before, in the same or another document, compiled; memory does not grow with the text.

Runs are told apart by a 64-bit rolling hash. Of a large text only those whose hash falls into a fixed part are
looked at, which estimates the share without bias: what repeats is sampled in all of its places.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from data_svc.worker.hashing import GOLDEN, Hashes, hash_table, mix, seen_before

__all__ = ["Repeats"]

_RUNS_MAX = 1 << 22  # in the table: 64 MB
Counts = npt.NDArray[np.int64]


class Repeats:
    """Counts runs of `words` words over batch after batch; `words_expected` is the most words there can be."""

    def __init__(self, words: int, words_expected: int) -> None:
        self.words = words
        sampled = 0
        while words_expected >> sampled > _RUNS_MAX:
            sampled += 1
        self._table = hash_table(max(words_expected >> sampled, 1))
        self._num_held = np.zeros(1, np.int64)
        self._mask = np.uint64((1 << sampled) - 1)

    def add(self, hashes: Hashes, bounds: Counts) -> tuple[Counts, Counts]:
        """Return, per document, how many of its runs were looked at and how many of them stood before.

        Shapes: hashes [words], as of `minhash.words`; bounds [documents + 1]; returns two of [documents].
        """
        return _count(hashes, bounds, self.words, (self._table, self._num_held, self._mask), True)

    def known(self, hashes: Hashes, bounds: Counts) -> tuple[Counts, Counts]:
        """Return the same for documents that are compared with those before and not added."""
        return _count(hashes, bounds, self.words, (self._table, self._num_held, self._mask), False)


@njit(cache=True, nogil=True)
def _holds(table: Hashes, key: np.uint64) -> bool:
    """Say whether `seen_before` added a key."""
    key = key | np.uint64(1)
    mask = np.uint64(table.size - 1)
    slot = mix(key) & mask
    while table[slot] != np.uint64(0):
        if table[slot] == key:
            return True
        slot = (slot + np.uint64(1)) & mask
    return False


@njit(cache=True, nogil=True)
def _count(
    hashes: Hashes,
    bounds: Counts,
    words: int,
    sampled: tuple[Hashes, Counts, np.uint64],
    add: bool,  # noqa: FBT001 - compiled
) -> tuple[Counts, Counts]:
    table, num_held, mask = sampled
    looked = np.zeros(bounds.size - 1, np.int64)
    seen = np.zeros(bounds.size - 1, np.int64)
    leaving = np.uint64(1)  # what the word that leaves the run counts for
    for _ in range(words):
        leaving *= GOLDEN
    for document in range(bounds.size - 1):
        value = np.uint64(0)
        for at in range(bounds[document], bounds[document + 1]):
            value = value * GOLDEN + mix(hashes[at])
            if at - words >= bounds[document]:
                value -= leaving * mix(hashes[at - words])
            if at - words + 1 < bounds[document]:
                continue
            key = mix(value)
            if (key >> np.uint64(40)) & mask == np.uint64(0):
                looked[document] += 1
                if add and num_held[0] < table.size // 4 * 3:  # a full table would be searched for ever
                    known = seen_before(table, key)
                    num_held[0] += not known
                else:
                    known = _holds(table, key)
                seen[document] += known
    return looked, seen
