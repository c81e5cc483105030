"""Repeated runs of words as Gopher counts them (Rae et al. 2021, table A1), over hashes of tokens, compiled.

A run of n comes twice only where both runs of n - 1 in it do, so few places need a look beyond pairs.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from data_svc.worker.hashing import GOLDEN, Hashes, hash_table, mix, seen_before

__all__ = ["ngram_characters"]

Counts = npt.NDArray[np.int64]


@njit(cache=True, nogil=True)
def _top(tokens: Hashes, ends: Counts, grams: Hashes, repeated: npt.NDArray[np.bool_], words: int) -> int:
    """Return how many characters the most frequent n-gram takes, with its blanks; 0 if none comes twice.

    `grams` holds the hashes of the shorter n-grams, `repeated` which of them come twice; both are brought up to n. Of
    equally frequent n-grams the longest counts. Only where both shorter n-grams come twice can a longer one.
    """
    places = max(tokens.size - words + 1, 0)
    candidates = 0
    for at in range(places):
        grams[at] = mix((grams[at] ^ tokens[at + words - 1]) * GOLDEN)
        repeated[at] &= repeated[at + 1]
        candidates += repeated[at]
    keys = hash_table(candidates)
    times = np.zeros(keys.size, np.int32)
    mask = np.uint64(keys.size - 1)
    slots = np.empty(places, np.int64)
    best = longest = 0
    for at in range(places):
        if not repeated[at]:
            continue
        key = grams[at] | np.uint64(1)
        slot = mix(key) & mask
        while keys[slot] != np.uint64(0) and keys[slot] != key:
            slot = (slot + np.uint64(1)) & mask
        keys[slot] = key
        times[slot] += 1
        slots[at] = slot
        characters = ends[at + words] - ends[at] + words - 1
        if times[slot] > best or (times[slot] == best and characters > longest):
            best, longest = times[slot], characters
    for at in range(places):
        repeated[at] = repeated[at] and times[slots[at]] > 1
    repeated[places:] = False
    return best * longest if best > 1 else 0


@njit(cache=True, nogil=True)
def _duplicated(tokens: Hashes, ends: Counts, grams: Hashes, runs: Counts, words: int) -> int:
    """Return how many characters lie in n-grams that stood before, without blanks; what was counted is passed over.

    `grams` holds the hashes of the shorter n-grams, `runs` how many 4-grams from here on all come twice.
    """
    places = max(tokens.size - words + 1, 0)
    candidates = 0
    for at in range(places):
        if runs[at] >= words - 3:
            grams[at] = mix((grams[at] ^ tokens[at + words - 1]) * GOLDEN)
            candidates += 1
    if candidates == 0:
        return 0
    seen = hash_table(candidates)
    characters = at = 0
    while at < places:
        if runs[at] >= words - 3 and seen_before(seen, grams[at]):
            characters += ends[at + words] - ends[at]
            at += words
        else:
            at += 1
    return characters


@njit(cache=True, nogil=True)
def ngram_characters(tokens: Hashes, ends: Counts) -> Counts:
    """Return the characters of the top 2- to 4-grams, then those in duplicated 5- to 10-grams."""
    characters = np.zeros(9, np.int64)
    grams = np.empty(tokens.size, np.uint64)
    for at in range(tokens.size):
        grams[at] = mix(tokens[at] * GOLDEN)
    repeated = np.ones(tokens.size + 1, np.bool_)
    for words in range(2, 5):
        characters[words - 2] = _top(tokens, ends, grams, repeated, words)
    runs = np.zeros(tokens.size + 1, np.int64)
    for at in range(tokens.size - 1, -1, -1):
        runs[at] = runs[at + 1] + 1 if repeated[at] else 0
    for words in range(5, 11):
        characters[words - 2] = _duplicated(tokens, ends, grams, runs, words)
    return characters
