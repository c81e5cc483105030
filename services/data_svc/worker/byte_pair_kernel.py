"""The compiled part of byte-pair encoding. Places are addresses; see `memory` for why."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from data_svc.worker.hashing import GOLDEN, S32, mix
from data_svc.worker.memory import load_byte, load_number, load_word, store_number, store_word, trailing_zeros
from data_svc.worker.pretokens import UNKNOWN, decode, end_of_piece

__all__ = [
    "DONE",
    "IDS_INSIDE",
    "ID_MAX",
    "LONG",
    "MERGED_BYTES_MAX",
    "SLACK",
    "SLOT_BYTES",
    "SLOT_DATA",
    "SLOT_IDS",
    "Room",
    "Rules",
    "Seen",
    "encode_batch",
    "pair_table",
]

SLOT_BYTES = 32  # at most half of the slots are taken
SLOT_DATA, SLOT_IDS = 8, 4  # bytes and ids per slot, of what does not fit into it; 56 MB with a million slots
SLACK = 16  # bytes after the last text that loads may touch
MERGED_BYTES_MAX = 512  # merging takes quadratic time; longer pieces are the library's
IDS_INSIDE = 3  # so many ids of 20 bits lie in the slot itself
ID_MAX = (1 << 20) - 1
DONE, LONG, _UNKNOWN_LETTER = range(3)

_ONE, _BYTE, _S3, _S8, _S20, _S40, _S60 = (np.uint64(number) for number in (1, 0xFF, 3, 8, 20, 40, 60))
_LOW, _ID, _ALL = np.uint64(0xFFFFFFFF), np.uint64(ID_MAX), np.uint64(0xFFFFFFFFFFFFFFFF)
_HIGH_BITS, _SEVEN, _CASE = (np.uint64(byte * 0x0101010101010101) for byte in (0x80, 0x7F, 0x20))
_FROM_A, _ABOVE_Z = (np.uint64(byte * 0x0101010101010101) for byte in (0x80 - ord("a"), 0x7F - ord("z")))


class Rules(NamedTuple):
    """Addresses of what the tokenizer says.

    `classes` of code points, `byte_ids` [256], and `pairs`, a table of pairs of ids with their rank and what they make;
    `pair_mask` is its size less one. `end` is the id that ends a text, -1 for none.
    """

    classes: int
    splits_digits: bool
    byte_ids: int
    pairs: int
    pair_mask: np.uint64
    end: int


class Seen(NamedTuple):
    """Addresses of the pieces seen: `table` of two words of key, one of ids, and the place of long bytes in `data`.

    A key holds up to 15 bytes themselves, or a hash and the length. `sizes`: entries, bytes and ids in use; `mask` is
    the number of slots less one.
    """

    table: int
    data: int
    ids: int
    sizes: int
    mask: int


class Room(NamedTuple):
    """Addresses of where a piece is merged: its ids, and the rank of each with the next."""

    ids: int
    ranks: int


@njit(cache=True, nogil=True)
def pair_table(merges):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201
    """Return an open-addressing table of pairs of ids, and for each its rank and what it makes in one word."""
    size = 16
    while size < 2 * merges.shape[0]:
        size *= 2
    pairs = np.full((size, 2), _ALL, np.uint64)
    mask = np.uint64(size - 1)
    for rank in range(merges.shape[0]):
        key = np.uint64(merges[rank, 0]) << S32 | np.uint64(merges[rank, 1])
        slot = mix(key) & mask
        while pairs[slot, 1] != _ALL:
            slot = (slot + _ONE) & mask
        pairs[slot, 0], pairs[slot, 1] = key, np.uint64(rank) << S32 | np.uint64(merges[rank, 2])
    return pairs


@njit(cache=True, nogil=True)
def _rank(rules, left, right):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Return the rank of a pair and what it makes, all bits set if it is never merged."""
    key = np.uint64(left) << S32 | np.uint64(right)
    slot = mix(key) & rules.pair_mask
    while True:
        entry = rules.pairs + np.int64(slot) * 16
        value = load_word(entry + 8)
        if value == _ALL or load_word(entry) == key:
            return value
        slot = (slot + _ONE) & rules.pair_mask


@njit(cache=True, nogil=True)
def _bytes_apart(at, end, rules, room):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Leave the ids of a piece's bytes in `room`, and the rank of each pair; return how many ids they are."""
    size = 0
    for place in range(at, end):
        number = load_number(rules.byte_ids + 4 * load_byte(place))
        if number >= 0:  # the library passes over bytes that have no token
            store_number(room.ids + 4 * size, number)
            if size:
                store_word(room.ranks + 8 * size - 8, _rank(rules, load_number(room.ids + 4 * size - 4), number))
            size += 1
    return size


@njit(cache=True, nogil=True)
def _lowest(ranks, size):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Return the lowest of some ranks, and the first place that has it."""
    best, place = _ALL, 0
    for other in range(size):
        rank = load_word(ranks + 8 * other)
        if rank < best:
            best, place = rank, other
    return best, place


@njit(cache=True, nogil=True)
def _merge(at, end, rules, room):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Apply the merges to a piece, the lowest rank first; leave its ids in `room` and return how many they are."""
    ids, ranks = room
    size = _bytes_apart(at, end, rules, room)
    while size > 1:
        best, place = _lowest(ranks, size - 1)
        if best == _ALL:
            break
        made = np.int64(best & _LOW)
        size -= 1
        store_number(ids + 4 * place, made)
        for other in range(place + 1, size):
            store_number(ids + 4 * other, load_number(ids + 4 * other + 4))
        for other in range(place + 1, size - 1):
            store_word(ranks + 8 * other, load_word(ranks + 8 * other + 8))
        if place > 0:
            store_word(ranks + 8 * place - 8, _rank(rules, load_number(ids + 4 * place - 4), made))
        if place < size - 1:
            store_word(ranks + 8 * place, _rank(rules, made, load_number(ids + 4 * place + 4)))
    return size


@njit(cache=True, nogil=True)
def _letters(word):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Return how many of the eight bytes are ASCII letters before the first that is none."""
    lower = (word | _CASE) & _SEVEN
    others = ~((lower + _FROM_A) & ~(lower + _ABOVE_Z) & ~word) & _HIGH_BITS
    return trailing_zeros(others) >> 3  # 8 if all are


@njit(cache=True, nogil=True)
def _end(at, stop, rules):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Return where the piece that starts here ends, and where a letter of unknown class is in the way, 0 for none."""
    blank = 1 if load_byte(at) == 32 else 0
    count = _letters(load_word(at + blank))
    end = at + blank + count
    # Beyond the text lies the next one, and beyond ASCII there are more letters.
    if 0 < count < 8 and end < stop and load_byte(end) < 0x80:
        return end, 0
    end, known, ended = end_of_piece(at, stop, rules.classes, rules.splits_digits)
    if not known:
        return end, at
    if ended < stop and load_byte(ended) >= 0x80:
        point, _ = decode(ended)
        if load_byte(rules.classes + point) == UNKNOWN:
            return end, ended
    return end, 0


@njit(cache=True, nogil=True)
def _key(at, size):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Return the two words of a piece's key, and their hash."""
    if size <= 8:
        low, high = load_word(at) & (_ALL >> np.uint64(64 - 8 * size)), np.uint64(size)
    elif size < 16:
        low = load_word(at)
        high = (load_word(at + 8) & (_ALL >> np.uint64(128 - 8 * size))) << _S8 | np.uint64(size)
    else:
        low, high = np.uint64(0), np.uint64(size) << _S8 | _BYTE
        for place in range(at, at + size - 8, 8):
            low = mix((low ^ load_word(place)) * GOLDEN)
        low = mix((low ^ load_word(at + size - 8)) * GOLDEN)
    return low, high, mix((low ^ high * GOLDEN) * GOLDEN)


@njit(cache=True, nogil=True)
def _same(known, at, size):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Say whether two places hold the same bytes, at least eight."""
    for offset in range(0, size - 8, 8):
        if load_word(known + offset) != load_word(at + offset):
            return False
    return load_word(known + size - 8) == load_word(at + size - 8)


@njit(cache=True, nogil=True)
def _entry(seen, at, size, key):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Return the entry of a piece, or the empty one where it belongs, and whether it is there."""
    low, high, value = key
    slot = np.int64(value >> S32) & seen.mask
    while True:
        entry = seen.table + slot * SLOT_BYTES
        known = load_word(entry + 8)
        if known == high and load_word(entry) == low:
            if size < 16 or _same(seen.data + np.int64(load_word(entry + 24)), at, size):
                return entry, True
        elif not known:
            return entry, False
        slot = (slot + 1) & seen.mask


@njit(cache=True, nogil=True)
def _enter(seen, entry, key, piece, ids):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Keep the ids of a piece; a full table is emptied first, and then the piece is not kept."""
    at, size = piece
    first, count = ids
    entries, bytes_used = np.int64(load_word(seen.sizes)), np.int64(load_word(seen.sizes + 8))
    ids_used = np.int64(load_word(seen.sizes + 16))
    slots = seen.mask + 1
    if 2 * entries >= slots or bytes_used + size > SLOT_DATA * slots or ids_used + count > SLOT_IDS * slots:
        for place in range(seen.table, seen.table + SLOT_BYTES * slots, 8):
            store_word(place, np.uint64(0))
        entries, bytes_used, ids_used = np.int64(-1), np.int64(0), np.int64(0)
    else:
        value = np.uint64(count) << _S60
        if count <= IDS_INSIDE:
            for number in range(count):
                value |= np.uint64(load_number(first + 4 * number)) << np.uint64(20 * number)
        else:
            value = _BYTE << _S60 | np.uint64(ids_used) << _S20 | np.uint64(count)
            for number in range(count):
                store_number(seen.ids + 4 * (ids_used + number), load_number(first + 4 * number))
            ids_used += count
        store_word(entry, key[0])
        store_word(entry + 8, key[1])
        store_word(entry + 16, value)
        if size >= 16:
            store_word(entry + 24, bytes_used)
            for offset in range(0, size - 8, 8):
                store_word(seen.data + bytes_used + offset, load_word(at + offset))
            store_word(seen.data + bytes_used + size - 8, load_word(at + size - 8))
            bytes_used += size
    store_word(seen.sizes, entries + 1)
    store_word(seen.sizes + 8, bytes_used)
    store_word(seen.sizes + 16, ids_used)


@njit(cache=True, nogil=True)
def _put(seen, value, out):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Write the ids of a piece that was seen to an address; return the one after them."""
    count = np.int64(value >> _S60)
    if count <= IDS_INSIDE:
        # Three are written, however many count: no branch to mispredict.
        store_number(out, value & _ID)
        store_number(out + 4, value >> _S20 & _ID)
        store_number(out + 8, value >> _S40 & _ID)
        return out + 4 * count
    count, begin = np.int64(value & _ID), np.int64(value >> _S20 & _LOW)
    for number in range(count):
        store_number(out + 4 * number, load_number(seen.ids + 4 * (begin + number)))
    return out + 4 * count


@njit(cache=True, nogil=True)
def _encode_text(at, stop, out, rules, tables):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Encode a text from `at` to `stop`; return where it stopped, in text and ids, why, and what is in the way."""
    seen, room = tables
    while at < stop:
        end, unknown = _end(at, stop, rules)
        size = end - at
        if unknown:
            return at, out, _UNKNOWN_LETTER, decode(unknown)[0]
        if size > MERGED_BYTES_MAX:
            return at, out, LONG, end
        key = _key(at, size)
        entry, there = _entry(seen, at, size, key)
        if there:
            out = _put(seen, load_word(entry + 16), out)
        else:
            count = _merge(at, end, rules, room)
            for number in range(count):
                store_number(out + 4 * number, load_number(room.ids + 4 * number))
            out += 4 * count
            _enter(seen, entry, key, (at, size), (room.ids, count))
        at = end
    return at, out, DONE, 0


@njit(cache=True, nogil=True)
def encode_batch(texts, found, state, rules, tables):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201
    """Encode from `state` on; return why it stopped, with `state` at the piece that is in the way."""
    data, bounds = texts
    ids, offsets = found
    first, target = data.ctypes.data, ids.ctypes.data
    for number in range(state[0], bounds.size - 1):
        stop = first + bounds[number + 1]
        at, out, why, what = _encode_text(first + state[1], stop, target + 4 * state[2], rules, tables)
        state[0], state[1], state[2] = number, at - first, (out - target) // 4
        if why != DONE:
            state[3] = what - first if why == LONG else what
            return why
        if rules.end >= 0:
            ids[state[2]] = rules.end
            state[2] += 1
        offsets[number + 1] = state[2]
    return DONE
