"""Compiled comparison of shingle sets, and what follows from it: families, and which documents stand for others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from data_svc.worker.hashing import GOLDEN, S32, Hashes, hash_table

__all__ = ["batch_ends", "compare", "distinct", "join_contained", "roots"]

Numbers = npt.NDArray[np.int64]
Sets = tuple[Hashes, Numbers, Hashes, Numbers]

_EMPTY = np.uint64(0)
_ONE = np.uint64(1)


@njit(cache=True, nogil=True)
def roots(parents: Numbers, pairs: Numbers) -> None:
    """Join each pair's families: `parents[n]` becomes the smallest number of the family of n.

    `parents` starts as each number by itself. Shapes: parents [documents], pairs [pairs, 2].
    """
    for first, second in pairs:
        _join(parents, first, second)
    for document in range(parents.size):
        parents[document] = _find(parents, document)


@njit(cache=True, nogil=True)
def _find(parents: Numbers, document: int) -> int:
    while parents[document] != document:
        parents[document] = parents[parents[document]]
        document = parents[document]
    return document


@njit(cache=True, nogil=True)
def _join(parents: Numbers, first: int, second: int) -> None:
    left, right = _find(parents, first), _find(parents, second)
    parents[max(left, right)] = min(left, right)


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
def _slot(table: Hashes, key: np.uint64) -> np.int64:
    """Return where a key is in an open-addressing table, or where it belongs; empty slots are 0."""
    mask = np.uint64(table.size - 1)
    slot = ((key * GOLDEN) >> S32) & mask
    while table[slot] != _EMPTY and table[slot] != key:
        slot = (slot + _ONE) & mask
    return np.int64(slot)


@njit(cache=True, nogil=True)
def distinct(hashes: Hashes, starts: Numbers) -> tuple[Hashes, Numbers]:
    """Return each document's set of hashes, the lowest bit set, in order of appearance, and the sets' bounds."""
    sets = np.empty(hashes.size, np.uint64)
    bounds = np.zeros(starts.size, np.int64)
    count = 0
    for document in range(starts.size - 1):
        table = hash_table(starts[document + 1] - starts[document])
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
    table = hash_table(keys.size)
    for key in keys:
        table[_slot(table, key)] = key
    return table


@njit(cache=True, nogil=True)
def compare(pairs: Numbers, members: Numbers, sets: Sets, state: Numbers, limits: npt.NDArray[np.float64]) -> None:
    """Decide which documents stand for others, and join families; pairs that can change neither are passed over.

    Of a pair that is the same the second is dropped if both survive so far. Nothing follows from likeness of likeness:
    whoever is dropped is similar to the one that stands for it.
    Shapes: pairs [pairs, 2], places in members and in the sets, all pairs of a group in order of the first;
    sets (keys, bounds, keys of longer runs, their bounds) as of `distinct`;
    state [2, documents]: who stands for each document, and the families' trees;
    limits (least similarity of the same, of the related, least share of the smaller set that makes two related).
    """
    keys, bounds, long_keys, long_bounds = sets
    chosen, parents = state[0], state[1]
    loaded = long_loaded = -1
    table = long_table = hash_table(0)
    for at in range(pairs.shape[0]):
        left, right = pairs[at]
        first, second = members[left], members[right]
        alive = chosen[first] == first and chosen[second] == second
        if not alive and _find(parents, first) == _find(parents, second):
            continue
        if loaded != left:
            table = _filled(keys[bounds[left] : bounds[left + 1]])
            loaded = left
        similarity, share = _similarity(table, bounds[left + 1] - bounds[left], keys[bounds[right] : bounds[right + 1]])
        same = similarity >= limits[0]
        if not same and alive:
            if long_loaded != left:
                long_table = _filled(long_keys[long_bounds[left] : long_bounds[left + 1]])
                long_loaded = left
            longer = long_keys[long_bounds[right] : long_bounds[right + 1]]
            same = _similarity(long_table, long_bounds[left + 1] - long_bounds[left], longer)[0] >= limits[0]
        if same and alive:
            chosen[second] = first
        if same or similarity >= limits[1] or share >= limits[2]:
            _join(parents, first, second)


@njit(cache=True, nogil=True)
def join_contained(
    pairs: Numbers, members: Numbers, sets: tuple[Hashes, Numbers], parents: Numbers, least: float
) -> None:
    """Join the families of pairs that share at least `least` of the smaller set; others of one family are passed over.

    Shapes: pairs [pairs, 2], places in members and in the sets, all pairs of a group in order of the first; sets (keys,
    bounds) as of `distinct`; parents [documents].
    """
    keys, bounds = sets
    loaded = -1
    table = hash_table(0)
    for at in range(pairs.shape[0]):
        left, right = pairs[at]
        first, second = members[left], members[right]
        if _find(parents, first) == _find(parents, second):
            continue
        if loaded != left:
            table = _filled(keys[bounds[left] : bounds[left + 1]])
            loaded = left
        _, share = _similarity(table, bounds[left + 1] - bounds[left], keys[bounds[right] : bounds[right + 1]])
        if share >= least:
            _join(parents, first, second)


@njit(cache=True, nogil=True)
def _similarity(table: Hashes, size: int, keys: Hashes) -> tuple[float, float]:
    """Return the Jaccard similarity of a set in a table and another one, and the share of the smaller one."""
    shared = 0
    for key in keys:
        shared += table[_slot(table, key)] == key
    return shared / (size + keys.size - shared), shared / min(size, keys.size)
