"""Compiled comparison of shingle sets, and what follows from it: families, and which documents stand for others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["batch_ends", "compare", "distinct", "roots", "stand_ins"]

Hashes = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.int64]

_EMPTY = np.uint64(0)
_ONE = np.uint64(1)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_S32 = np.uint64(32)


@njit(cache=True, nogil=True)
def roots(parents: Numbers, pairs: Numbers) -> None:
    """Join each pair's families: `parents[n]` becomes the smallest number of the family of n.

    `parents` starts as each number by itself. Shapes: parents [documents], pairs [pairs, 2].
    """
    for first, second in pairs:
        left, right = _find(parents, first), _find(parents, second)
        parents[max(left, right)] = min(left, right)
    for document in range(parents.size):
        parents[document] = _find(parents, document)


@njit(cache=True, nogil=True)
def _find(parents: Numbers, document: int) -> int:
    while parents[document] != document:
        parents[document] = parents[parents[document]]
        document = parents[document]
    return document


@njit(cache=True, nogil=True)
def stand_ins(chosen: Numbers, pairs: Numbers) -> None:
    """Give each document that is the same as an earlier survivor that survivor: `chosen[n]`, else n itself.

    Nothing follows from likeness of likeness: who is dropped is similar to the one that stands for it.
    Shapes: chosen [documents], at the start as each survivor by itself; pairs [pairs, 2], sorted, the lower number first.
    """
    for first, second in pairs:
        if chosen[first] == first and chosen[second] == second:
            chosen[second] = first


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
def compare(pairs: Numbers, keys: Hashes, bounds: Numbers) -> npt.NDArray[np.float64]:
    """Return each pair's Jaccard similarity, and the share of the smaller set that both have.

    Shapes: pairs [pairs, 2], places in bounds, best in order of the first; keys and bounds as of `distinct`;
    returns [pairs, 2].
    """
    results = np.empty((pairs.shape[0], 2))
    loaded = -1
    table = _table(0)
    for at in range(pairs.shape[0]):
        first, second = pairs[at]
        if first != loaded:
            table = _filled(keys[bounds[first] : bounds[first + 1]])
            loaded = first
        shared = 0
        for key in keys[bounds[second] : bounds[second + 1]]:
            shared += table[_slot(table, key)] == key
        left, right = bounds[first + 1] - bounds[first], bounds[second + 1] - bounds[second]
        results[at, 0] = shared / (left + right - shared)
        results[at, 1] = shared / min(left, right)
    return results
