"""Pre-tokens, the pieces of text that byte-pair merges never cross, and their counts.

The pieces are those of GPT-2's pattern, with every digit a piece of its own where asked for, as SmolLM2 has it: English
contractions, runs of letters, of numbers and of other signs, each with a blank before it, and runs of white space,
whose last letter is left to what follows. Another tokenizer's own pieces are counted through its library, some
seventy times slower.
Source: Radford et al. 2019, section 2.2, and the encoder published with it.
"""

from __future__ import annotations

import sys
import unicodedata
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from numba import njit
from tokenizers import Tokenizer

from data_svc.domain.byte_alphabet import bytes_of
from data_svc.worker.hashing import FNV_PRIME, FNV_START, Bytes, mix
from data_svc.worker.memory import load_byte

__all__ = [
    "LETTER",
    "NUMBER",
    "OTHER",
    "PIECE_BYTES_MAX",
    "SPACE",
    "UNKNOWN",
    "PieceCounter",
    "PieceCounts",
    "classes_of_letters",
    "decode",
    "end_of_piece",
]

PIECE_BYTES_MAX = 512  # longer pieces are noise, and encoding one takes quadratic time
OTHER, LETTER, NUMBER, SPACE, UNKNOWN = range(5)
_QUOTE, _BLANK = 39, 32
# Unicode gives these the category of control characters; Python calls them spaces, the pattern does not.
_NOT_SPACES = "\x1c\x1d\x1e\x1f"


@dataclass(frozen=True)
class PieceCounts:
    """Distinct pieces: their bytes one after the other, `starts` [N + 1] into them, and `counts` [N]."""

    data: Bytes
    starts: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]

    def pieces(self) -> list[bytes]:
        """Return the pieces, in the order of their first occurrence."""
        raw = self.data.tobytes()
        return [raw[a:b] for a, b in zip(self.starts[:-1], self.starts[1:], strict=True)]


class PieceCounter:
    """Counts the pieces of texts that are added one by one; memory grows with the distinct pieces alone."""

    def __init__(self, *, splits_digits: bool, library: Tokenizer | None = None) -> None:
        self._splits_digits = splits_digits
        self._library = library
        self._classes = classes_of_letters()
        self._slots = np.zeros(1 << 16, np.int32)
        self._hashes = np.empty(1 << 15, np.uint64)
        self._starts = np.zeros((1 << 15) + 1, np.int64)
        self._counts = np.zeros(1 << 15, np.int64)
        self._data = np.empty(1 << 18, np.uint8)
        self._state = np.zeros(1, np.int64)  # number of pieces

    def add(self, text: str) -> None:
        """Count the pieces of a text."""
        if self._library is None:
            self._add(text.encode(), whole=False)
            return
        if self._library.normalizer is not None:
            text = self._library.normalizer.normalize_str(text)
        for piece, _ in self._library.pre_tokenizer.pre_tokenize_str(text):
            self._add(bytes_of(piece), whole=True)

    def result(self) -> PieceCounts:
        """Return what was counted."""
        count = int(self._state[0])
        return PieceCounts(self._data[: self._starts[count]], self._starts[: count + 1], self._counts[:count])

    def _add(self, raw: bytes, *, whole: bool) -> None:
        data = np.frombuffer(raw, np.uint8)
        at = 0
        while at < data.size:
            tables = (self._slots, self._hashes, self._starts, self._counts, self._data, self._state)
            at = _count(data, at, (self._classes, self._splits_digits), whole, tables)
            if at < data.size:
                self._grow()

    def _grow(self) -> None:
        count = int(self._state[0])
        if count == self._counts.size:
            self._hashes = np.concatenate([self._hashes, self._hashes])
            self._counts = np.concatenate([self._counts, self._counts])
            self._starts = np.concatenate([self._starts, np.zeros(count, np.int64)])
            self._slots = np.zeros(self._slots.size * 2, np.int32)
            _fill_slots(self._slots, self._hashes, count)
        else:
            self._data = np.concatenate([self._data, np.empty_like(self._data)])


@cache
def classes_of_letters() -> Bytes:
    """Return the class of every code point; those that Python's Unicode does not know are never learned from."""
    classes = np.zeros(sys.maxunicode + 1, np.uint8)
    kinds = {"L": LETTER, "N": NUMBER}
    for point in range(classes.size):
        letter = chr(point)
        category = unicodedata.category(letter)
        if letter.isspace() and letter not in _NOT_SPACES:
            classes[point] = SPACE
        else:
            classes[point] = UNKNOWN if category == "Cn" else kinds.get(category[0], OTHER)
    return classes


@njit(cache=True, nogil=True)
def decode(at):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201
    """Return the code point at an address in valid UTF-8, and the address after it."""
    lead = load_byte(at)
    if lead < 0x80:
        return lead, at + 1
    if lead < 0xE0:
        return (lead & 0x1F) << 6 | (load_byte(at + 1) & 0x3F), at + 2
    if lead < 0xF0:
        return (lead & 0x0F) << 12 | (load_byte(at + 1) & 0x3F) << 6 | (load_byte(at + 2) & 0x3F), at + 3
    high = (lead & 0x07) << 18 | (load_byte(at + 1) & 0x3F) << 12
    return high | (load_byte(at + 2) & 0x3F) << 6 | (load_byte(at + 3) & 0x3F), at + 4


@njit(cache=True, nogil=True)
def _contraction(at, stop):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Return the length of an English contraction that starts with the quote here, else 0."""
    if at + 1 >= stop:
        return 0
    first = load_byte(at + 1)
    if first == 115 or first == 116 or first == 109 or first == 100:  # noqa: PLR1714 - s, t, m, d; no sets in kernels
        return 2
    second = load_byte(at + 2) if at + 2 < stop else 0
    # re, ve, ll
    return 3 if ((first in (114, 118)) and second == 101) or (first == 108 and second == 108) else 0


@njit(cache=True, nogil=True)
def end_of_piece(at, stop, classes, splits_digits):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201
    """Return where the piece that starts here ends, whether it is known, and the place of the letter that ended it.

    All places are addresses; `stop` is the end of the text. A piece is unknown if its first letter is; whether that
    which ended it is known, the caller must see. Where a piece ends whatever follows, the place is the end of the text.
    """
    point, after = decode(at)
    kind = load_byte(classes + point)
    if kind == UNKNOWN or (splits_digits and kind == NUMBER):
        return after, kind != UNKNOWN, stop
    if point == _QUOTE:
        length = _contraction(at, stop)
        if length:
            return at + length, True, stop
    if point == _BLANK and after < stop:
        point, then = decode(after)
        joined = load_byte(classes + point)
        if joined not in (SPACE, UNKNOWN) and not (splits_digits and joined == NUMBER):
            kind, after = joined, then
    last = at
    while after < stop:
        point, then = decode(after)
        if load_byte(classes + point) != kind:
            break
        last, after = after, then
    ended = after
    if kind == SPACE and after < stop and last > at:
        # Blanks leave their last one to what follows, unless a digit apart from it follows.
        point, _ = decode(after)
        if not (splits_digits and load_byte(classes + point) == NUMBER):
            after = last
    return after, True, ended


@njit(cache=True, nogil=True)
def _count(data, at, rules, whole, tables):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Count pieces from `at` on; return where a table is full, or the end. `whole`: the data is one piece."""
    classes, splits_digits = rules
    slots, hashes, starts, counts, pool, state = tables
    mask = np.uint64(slots.size - 1)
    first, stop, kinds = data.ctypes.data, data.ctypes.data + data.size, classes.ctypes.data
    while at < data.size:
        end, known = data.size, True
        if not whole:
            end, known, _ = end_of_piece(first + at, stop, kinds, splits_digits)
            end -= first
        if not known or end - at > PIECE_BYTES_MAX:
            at = end
            continue
        value = FNV_START
        for place in range(at, end):
            value = (value ^ np.uint64(data[place])) * FNV_PRIME
        value = mix(value)
        slot = value & mask
        while slots[slot]:
            entry = slots[slot] - 1
            if hashes[entry] == value and _same(pool[starts[entry] : starts[entry + 1]], data[at:end]):
                counts[entry] += 1
                break
            slot = (slot + np.uint64(1)) & mask
        else:
            entry = state[0]
            begin = starts[entry]
            if entry == counts.size or begin + end - at > pool.size:
                return at
            pool[begin : begin + end - at] = data[at:end]
            starts[entry + 1] = begin + end - at
            hashes[entry], counts[entry], slots[slot] = value, 1, entry + 1
            state[0] = entry + 1
        at = end
    return at


@njit(cache=True, nogil=True)
def _same(known, piece):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    if known.size != piece.size:
        return False
    for offset in range(piece.size):  # noqa: SIM110 - generators are slow in kernels
        if known[offset] != piece[offset]:
            return False
    return True


@njit(cache=True, nogil=True)
def _fill_slots(slots, hashes, count):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    mask = np.uint64(slots.size - 1)
    for entry in range(count):
        slot = hashes[entry] & mask
        while slots[slot]:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = entry + 1
