"""Compiled comparison of shingle sets, and the families that it joins documents into.

A family is a tree in `parents` (int64, [documents]); its root is its smallest document number.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["batch_ends", "compare", "distinct", "find", "overlap", "roots"]

Hashes = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.int64]

_EMPTY = np.uint64(0)
_ONE = np.uint64(1)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_S32 = np.uint64(32)


@njit(cache=True, nogil=True)
def find(parents: Numbers, document: int) -> int:
    """Return the smallest document number of the family, and shorten the way to it."""
    while parents[document] != document:
        parents[document] = parents[parents[document]]
        document = parents[document]
    return document


@njit(cache=True, nogil=True)
def _join(parents: Numbers, first: int, second: int) -> None:
    left, right = find(parents, first), find(parents, second)
    parents[max(left, right)] = min(left, right)


@njit(cache=True, nogil=True)
def roots(num_documents: int, pairs: Numbers) -> Numbers:
    """Return the root of each document when all pairs are joined."""
    parents = np.arange(num_documents)
    for first, second in pairs:
        _join(parents, first, second)
    for document in range(num_documents):
        parents[document] = find(parents, document)
    return parents


@njit(cache=True, nogil=True)
def batch_ends(pairs: Numbers, sizes: Numbers, size_max: int) -> Numbers:
    """Return where runs of pairs end whose documents together have at most `size_max` bytes, or are one pair."""
    ends = np.empty(pairs.shape[0], np.int64)
    seen = np.full(sizes.size, -1, np.int64)
    count = total = start = 0
    for at in range(pairs.shape[0]):
        added = 0
        for document in pairs[at]:
            added += sizes[document] * (seen[document] != count)
        if at > start and total + added > size_max:
            ends[count] = start = at
            count += 1
            total, added = 0, sizes[pairs[at, 0]] + sizes[pairs[at, 1]]
        total += added
        for document in pairs[at]:
            seen[document] = count
    if pairs.shape[0] > 0:
        ends[count] = pairs.shape[0]
        count += 1
    return ends[:count]


@njit(cache=True, nogil=True)
def _slot(table: Hashes, key: np.uint64) -> int:
    """Return where a key is in an open-addressing table, or where it belongs; empty slots are 0."""
    mask = np.uint64(table.size - 1)
    slot = ((key * _GOLDEN) >> _S32) & mask
    while table[slot] != _EMPTY and table[slot] != key:
        slot = (slot + _ONE) & mask
    return np.int64(slot)


@njit(cache=True, nogil=True)
def _table(entries: int) -> Hashes:
    size = 16
    while size < entries * 2:
        size *= 2
    return np.zeros(size, np.uint64)


@njit(cache=True, nogil=True)
def distinct(hashes: Hashes, starts: Numbers) -> tuple[Hashes, Numbers]:
    """Return each document's set of hashes, the lowest bit set, in order of appearance, and the sets' bounds."""
    sets = np.empty(hashes.size, np.uint64)
    bounds = np.zeros(starts.size, np.int64)
    count = 0
    for document in range(starts.size - 1):
        table = _table(starts[document + 1] - starts[document])
        for value in hashes[starts[document] : starts[document + 1]]:
            key = value | _ONE
            slot = _slot(table, key)
            if table[slot] == _EMPTY:
                table[slot] = sets[count] = key
                count += 1
        bounds[document + 1] = count
    return sets[:count], bounds


@njit(cache=True, nogil=True)
def _filled(keys: Hashes) -> Hashes:
    table = _table(keys.size)
    for key in keys:
        table[_slot(table, key)] = key
    return table


@njit(cache=True, nogil=True)
def _shared(table: Hashes, keys: Hashes) -> int:
    shared = 0
    for key in keys:
        shared += table[_slot(table, key)] == key
    return shared


@njit(cache=True, nogil=True)
def overlap(first: Hashes, second: Hashes) -> int:
    """Return how many keys two sets of `distinct` share."""
    return _shared(_filled(first), second)


@njit(cache=True, nogil=True)
def compare(pairs: Numbers, sets: tuple[Hashes, Numbers, Numbers], parents: Numbers, limits: npt.NDArray[np.float64]) -> None:
    """Join what is similar; pairs that are the same document already are passed over, as they change nothing.

    Shapes: pairs [pairs, 2] in order of the first; sets (keys, bounds, the place of each document in bounds);
    parents [2, documents], of documents that are the same and of those that are related; limits (least Jaccard
    similarity of the same, of the related, least share of the smaller set that makes two related).
    """
    keys, bounds, places = sets
    same, related = parents[0], parents[1]
    loaded = -1
    table = _table(0)
    for first, second in pairs:
        if find(same, first) == find(same, second):
            continue
        left, right = places[first], places[second]
        if first != loaded:
            table = _filled(keys[bounds[left] : bounds[left + 1]])
            loaded = first
        shared = _shared(table, keys[bounds[right] : bounds[right + 1]])
        sizes = bounds[left + 1] - bounds[left], bounds[right + 1] - bounds[right]
        similarity = shared / (sizes[0] + sizes[1] - shared)
        if similarity >= limits[0]:
            _join(same, first, second)
        if similarity >= limits[1] or shared >= limits[2] * min(sizes[0], sizes[1]):
            _join(related, first, second)
