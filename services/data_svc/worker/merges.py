"""Byte-pair merges, learned from counted pieces; begun anew, or continued after those of another tokenizer.

Every step joins the most frequent pair of neighbours, ties broken by the lower ids. The counts of pairs are kept up to
date, and each pair knows its places, so a step costs what it changes. Each step makes a token that was not there
before, so all places of a pair are entered in one step, in order, and its count only falls after it: a queue that
corrects counts late is enough.
Source: Sennrich, Haddow and Birch 2016, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from data_svc.worker.hashing import hash_table, mix, seen_before
from data_svc.worker.pretokens import PieceCounts

__all__ = ["COUNT_MIN", "Start", "learn"]

COUNT_MIN = 2  # a pair seen once teaches nothing
_BASE = np.uint64(0x100000001B3)
_S32 = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_ONE = np.uint64(1)


@dataclass(frozen=True)
class Start:
    """Where learning begins: the id of each byte, -1 for none, and merges (left, right, made) in order of rank.

    `taken` are the bytes of tokens that must not be made again; `next_id` is the first id to give out.
    """

    byte_ids: Sequence[int]
    merges: Sequence[tuple[int, int, int]]
    taken: Sequence[bytes]
    next_id: int


class _Pairs(NamedTuple):
    """Pairs of neighbours: a hash table of keys, and for each its count, its list of places, and its place in a queue.

    `queued` is the count by which the heap is ordered; `sizes` holds the number of pairs and that of the queued.
    """

    slots: npt.NDArray[np.int32]
    keys: npt.NDArray[np.uint64]
    counts: npt.NDArray[np.int64]
    queued: npt.NDArray[np.int64]
    heads: npt.NDArray[np.int32]
    tails: npt.NDArray[np.int32]
    heap: npt.NDArray[np.int32]
    sizes: npt.NDArray[np.int64]


class _Places(NamedTuple):
    """Lists of places: where, and which entry comes next; `size` holds the number of entries."""

    where: npt.NDArray[np.int32]
    following: npt.NDArray[np.int32]
    size: npt.NDArray[np.int64]


class _Tokens(NamedTuple):
    """Per id the polynomial hash of its bytes and the base to the power of their number, and the hashes taken."""

    hashes: npt.NDArray[np.uint64]
    powers: npt.NDArray[np.uint64]
    taken: npt.NDArray[np.uint64]
    next_id: int


def learn(counts: PieceCounts, start: Start, num_new: int) -> list[tuple[int, int]]:
    """Return at most `num_new` pairs of ids; the n-th makes the token `start.next_id + n`.

    Fewer come back when no pair occurs `COUNT_MIN` times.
    """
    byte_ids = np.array(start.byte_ids, np.int32)
    merges = np.array(start.merges, np.int64).reshape(-1, 3)
    useful = np.flatnonzero((np.diff(counts.starts) > 1) & _all_known(counts, byte_ids))
    ids, starts = _encode(counts, useful, byte_ids, merges)
    taken = hash_table(len(start.taken) + num_new + 1)
    for token in start.taken:
        _take_bytes(taken, np.frombuffer(token, np.uint8))
    hashes, powers = _token_hashes(start, num_new)
    tokens = _Tokens(hashes, powers, taken, start.next_id)
    found = _learn(ids, starts, counts.counts[useful], tokens, num_new)
    return [(int(left), int(right)) for left, right in found]


def _all_known(counts: PieceCounts, byte_ids: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    unknown = np.concatenate([[0], np.cumsum(byte_ids[counts.data] < 0)])
    known: npt.NDArray[np.bool_] = unknown[counts.starts[1:]] == unknown[counts.starts[:-1]]
    return known


def _token_hashes(start: Start, num_new: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    size, base, low = start.next_id + num_new, int(_BASE), 2**64 - 1
    hashes, powers = [0] * size, [1] * size
    for byte, number in enumerate(start.byte_ids):
        if number >= 0:
            hashes[number], powers[number] = byte + 1, base
    for left, right, made in start.merges:
        hashes[made] = (hashes[left] * powers[right] + hashes[right]) & low
        powers[made] = powers[left] * powers[right] & low
    return np.array(hashes, np.uint64), np.array(powers, np.uint64)


@njit(cache=True, nogil=True)
def _take_bytes(taken, data):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    value = np.uint64(0)
    for byte in data:
        value = value * _BASE + np.uint64(byte) + _ONE
    seen_before(taken, mix(value))


@njit(cache=True, nogil=True, inline="always")
def _key(left, right):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    return np.uint64(left) << _S32 | np.uint64(right)


@njit(cache=True, nogil=True, inline="always")
def _find(slots, keys, key):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Return the slot that holds a key's index plus one, or the empty one where it belongs."""
    mask = np.uint64(slots.size - 1)
    slot = mix(key) & mask
    while slots[slot] and keys[slots[slot] - 1] != key:
        slot = (slot + _ONE) & mask
    return slot


@njit(cache=True, nogil=True)
def _slots_of(keys, count, size):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    slots = np.zeros(size, np.int32)
    for index in range(count):
        slot = _find(slots, keys, keys[index])
        if not slots[slot]:  # of equal keys the first counts
            slots[slot] = index + 1
    return slots


def _encode(
    counts: PieceCounts, useful: npt.NDArray[np.int64], byte_ids: npt.NDArray[np.int32], merges: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Return the ids of the useful pieces under the merges, one after the other, and where each starts."""
    keys = merges[:, 0].astype(np.uint64) << _S32 | merges[:, 1].astype(np.uint64)
    slots = _slots_of(keys, len(keys), 1 << (2 * len(keys) + 16).bit_length())
    found: tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]] = _encode_pieces(
        (counts.data, counts.starts, useful, byte_ids), slots, keys, merges[:, 2].copy()
    )
    return found


@njit(cache=True, nogil=True)
def _encode_pieces(pieces, slots, keys, made):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    data, places, useful, byte_ids = pieces
    ids = np.empty(data.size, np.int32)
    starts = np.zeros(useful.size + 1, np.int64)
    for number in range(useful.size):
        first, begin = starts[number], places[useful[number]]
        length = places[useful[number] + 1] - begin
        for offset in range(length):
            ids[first + offset] = byte_ids[data[begin + offset]]
        length = _encode_piece(ids[first : first + length], slots, keys, made)
        starts[number + 1] = first + length
    return ids[: starts[-1]], starts


@njit(cache=True, nogil=True)
def _encode_piece(ids, slots, keys, made):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Apply the merges to a piece in place, the lowest rank first, and return its new length."""
    length = ids.size
    while length > 1:
        best, at = made.size, 0
        for offset in range(length - 1):
            rank = slots[_find(slots, keys, _key(ids[offset], ids[offset + 1]))] - 1
            if 0 <= rank < best:
                best, at = rank, offset
        if best == made.size:
            break
        ids[at] = made[best]
        for offset in range(at + 1, length - 1):
            ids[offset] = ids[offset + 1]
        length -= 1
    return length


@njit(cache=True, nogil=True)
def _learn(ids, starts, weights, tokens, num_new):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Return the pairs that were joined, [n, 2]; `ids` is changed."""
    hashes, powers, taken, next_id = tokens
    before, after, word_of = _links(ids, starts)
    weights = weights[word_of]
    # Each place is entered once for each pair that it begins, and joining two enters at most two more.
    most = 3 * ids.size + 1
    places = _Places(np.empty(most, np.int32), np.empty(most, np.int32), np.zeros(1, np.int64))
    pairs = _first_pairs(ids, after, weights, places)
    joined = np.empty((num_new, 2), np.int64)
    count = 0
    while count < num_new:
        best = _take_best(pairs)
        if best < 0:
            break
        left, right = np.int64(pairs.keys[best] >> _S32), np.int64(pairs.keys[best] & _LOW)
        new = next_id + count
        hashes[new] = hashes[left] * powers[right] + hashes[right]
        powers[new] = powers[left] * powers[right]
        if seen_before(taken, mix(hashes[new])):
            continue
        joined[count, 0], joined[count, 1] = left, right
        known = pairs.sizes[0]
        entry = pairs.heads[best]
        while entry >= 0:
            at = places.where[entry]
            entry = places.following[entry]
            then = after[at]
            if ids[at] != left or then < 0 or ids[then] != right:
                continue  # the place has changed since
            pairs = _with_room(pairs)
            _join(pairs, places, ids, (before, after), (at, left, right, new, weights[at]))
        _queue(pairs, known)
        count += 1
    return joined[:count]


@njit(cache=True, nogil=True)
def _join(pairs, places, ids, links, join):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Join a pair at a place: the pairs around it are gone there, and others stand in their stead."""
    before, after = links
    at, left, right, new, weight = join
    then, prior = after[at], before[at]
    later = after[then]
    if prior >= 0:
        pairs.counts[pairs.slots[_find(pairs.slots, pairs.keys, _key(ids[prior], left))] - 1] -= weight
    if later >= 0:
        pairs.counts[pairs.slots[_find(pairs.slots, pairs.keys, _key(right, ids[later]))] - 1] -= weight
        before[later] = at
    ids[at], ids[then], after[at] = new, -1, later
    if prior >= 0:
        _enter(pairs, places, _key(ids[prior], new), prior, weight)
    if later >= 0:
        _enter(pairs, places, _key(new, ids[later]), at, weight)


@njit(cache=True, nogil=True)
def _links(ids, starts):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Return for each place the one before and the one after it in its piece, -1 for none, and the piece."""
    before, after = np.empty(ids.size, np.int32), np.empty(ids.size, np.int32)
    word_of = np.empty(ids.size, np.int32)
    for word in range(starts.size - 1):
        for at in range(starts[word], starts[word + 1]):
            before[at] = at - 1 if at > starts[word] else -1
            after[at] = at + 1 if at + 1 < starts[word + 1] else -1
            word_of[at] = word
    return before, after, word_of


@njit(cache=True, nogil=True)
def _no_pairs(room):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    return _Pairs(
        np.zeros(2 * room, np.int32),
        np.empty(room, np.uint64),
        np.empty(room, np.int64),
        np.empty(room, np.int64),
        np.empty(room, np.int32),
        np.empty(room, np.int32),
        np.empty(room, np.int32),
        np.zeros(2, np.int64),
    )


@njit(cache=True, nogil=True)
def _first_pairs(ids, after, weights, places):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Return the pairs of the pieces as they are, queued."""
    pairs = _no_pairs(1 << 16)
    for at in range(ids.size):
        if after[at] >= 0:
            pairs = _with_room(pairs)
            _enter(pairs, places, _key(ids[at], ids[after[at]]), at, weights[at])
    _queue(pairs, 0)
    return pairs


@njit(cache=True, nogil=True)
def _with_room(pairs):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Return the pairs with room for two more."""
    count = pairs.sizes[0]
    if count + 2 <= pairs.keys.size:
        return pairs
    grown = _no_pairs(2 * pairs.keys.size)
    for old, new in ((pairs.counts, grown.counts), (pairs.queued, grown.queued)):
        new[:count] = old[:count]
    for old, new in ((pairs.heads, grown.heads), (pairs.tails, grown.tails), (pairs.heap, grown.heap)):
        new[:count] = old[:count]
    grown.keys[:count] = pairs.keys[:count]
    grown.sizes[:] = pairs.sizes
    return _Pairs(
        _slots_of(grown.keys, count, grown.slots.size),
        grown.keys,
        grown.counts,
        grown.queued,
        grown.heads,
        grown.tails,
        grown.heap,
        grown.sizes,
    )


@njit(cache=True, nogil=True)
def _enter(pairs, places, key, at, weight):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Count a pair at a place."""
    entry = places.size[0]
    places.size[0] += 1
    places.where[entry], places.following[entry] = at, -1
    slot = _find(pairs.slots, pairs.keys, key)
    pair = pairs.slots[slot] - 1
    if pair >= 0:
        pairs.counts[pair] += weight
        places.following[pairs.tails[pair]] = entry
    else:
        pair = pairs.sizes[0]
        pairs.sizes[0] += 1
        pairs.slots[slot] = pair + 1
        pairs.keys[pair], pairs.counts[pair], pairs.heads[pair] = key, weight, entry
    pairs.tails[pair] = entry


@njit(cache=True, nogil=True, inline="always")
def _precedes(pairs, a, b):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    first, second = pairs.queued[a], pairs.queued[b]
    return first > second or (first == second and pairs.keys[a] < pairs.keys[b])


@njit(cache=True, nogil=True)
def _queue(pairs, known):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Queue the pairs from number `known` on that are frequent enough."""
    for pair in range(known, pairs.sizes[0]):
        pairs.queued[pair] = pairs.counts[pair]
        if pairs.counts[pair] < COUNT_MIN:
            continue
        at = pairs.sizes[1]
        pairs.sizes[1] += 1
        while at > 0 and _precedes(pairs, pair, pairs.heap[(at - 1) // 2]):
            pairs.heap[at] = pairs.heap[(at - 1) // 2]
            at = (at - 1) // 2
        pairs.heap[at] = pair


@njit(cache=True, nogil=True)
def _take_best(pairs):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Take the most frequent pair out of the queue, -1 when none is frequent enough."""
    while pairs.sizes[1]:
        best = pairs.heap[0]
        current = pairs.queued[best] == pairs.counts[best]
        pairs.queued[best] = pairs.counts[best]
        if current or pairs.counts[best] < COUNT_MIN:
            pairs.sizes[1] -= 1
            pairs.heap[0] = pairs.heap[pairs.sizes[1]]
        _sink(pairs)
        if current:
            return best
    return -1


@njit(cache=True, nogil=True)
def _sink(pairs):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Let the top of the heap go down to where it belongs."""
    pair, at, size = pairs.heap[0], 0, pairs.sizes[1]
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and _precedes(pairs, pairs.heap[child + 1], pairs.heap[child]):
            child += 1
        if not _precedes(pairs, pairs.heap[child], pair):
            break
        pairs.heap[at] = pairs.heap[child]
        at = child
    pairs.heap[at] = pair
