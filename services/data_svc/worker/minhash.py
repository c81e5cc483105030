"""Compiled MinHash over whole batches: word shingles, signatures, and pairs of documents worth comparing.

A batch is one buffer of UTF-8 (`data`, uint8) and the bounds of its documents (`offsets`, int64, [documents + 1]).
Nothing here depends on the order of documents or on the size of batches.

Source: Broder 1997, "On the resemblance and containment of documents"; bands as in Leskovec, Rajaraman and Ullman,
"Mining of Massive Datasets", section 3.4.
"""

from __future__ import annotations

import unicodedata
from functools import cache

import numpy as np
import numpy.typing as npt
from numba import njit

from data_svc.worker.hashing import FNV_PRIME, FNV_START, GOLDEN, S32, Bytes, Hashes, mix

__all__ = [
    "BANDS",
    "NUM_HASHES",
    "RUN_WORDS",
    "candidates",
    "fold_table",
    "sampled",
    "shingles",
    "signatures",
    "words",
]

BANDS, BAND_ROWS = 30, 4  # finds every pair that the usual 20 bands of 6 find, and pairs from half similar on
NUM_HASHES = BANDS * BAND_ROWS
RUN_WORDS = 3  # of a signature's shingles; threes find copies with many small edits

Offsets = npt.NDArray[np.int64]
Signatures = npt.NDArray[np.uint32]

_random = np.random.Generator(np.random.Philox(20_6_3))  # fixed for ever: two runs must choose the same documents
_MULTIPLIERS = _random.integers(0, 1 << 31, NUM_HASHES, np.uint32) * np.uint32(2) + np.uint32(1)
_ADDENDS = _random.integers(0, 1 << 32, NUM_HASHES, np.uint32)

_TABLE_SIZE = 0x20000  # characters beyond are rare ideographs and private use
_ALONE = np.uint32(1 << 31)
_ALONE_RANGES = (  # scripts written without spaces: Thai and Lao, Burmese, Khmer, kana and ideographs
    *((0x0E00, 0x0F00), (0x1000, 0x10A0), (0x1780, 0x1800)),
    *((0x2E80, 0xA000), (0xF900, 0xFB00), (0x1B000, 0x1B170)),
)
_LOW = np.uint64(0xFFFFFFFF)
_SAMPLED = np.uint64(15)  # one shingle in sixteen


@cache
def fold_table() -> npt.NDArray[np.uint32]:
    """Return what each character counts as in a word: itself without case, or 0 where it separates words.

    The high bit marks characters that are words by themselves. Shapes: [0x20000].
    """
    table = np.zeros(_TABLE_SIZE, np.uint32)
    for code in range(_TABLE_SIZE):
        character = chr(code)
        if character == "_" or unicodedata.category(character)[0] in "LMN":
            folded = character.casefold()
            table[code] = ord(folded if len(folded) == 1 else character.lower()[0])
    for first, end in _ALONE_RANGES:
        table[first:end][table[first:end] > 0] |= _ALONE
    return table


@njit(cache=True, nogil=True)
def _words(data: Bytes, table: npt.NDArray[np.uint32], hashes: Hashes) -> int:
    """Write one hash per word and return their number."""
    count = at = 0
    value = FNV_START
    while at < data.size:
        byte = np.uint32(data[at])
        at += 1
        code = table[byte]
        if byte >= 0x80:
            code, at = _character(data, at - 1, table)
        if code != 0 and code < _ALONE:
            value = (value ^ np.uint64(code)) * FNV_PRIME
            continue
        if value != FNV_START:
            hashes[count] = value
            count += 1
            value = FNV_START
        if code != 0:
            hashes[count] = (value ^ np.uint64(code)) * FNV_PRIME
            count += 1
    if value != FNV_START:
        hashes[count] = value
        count += 1
    return count


@njit(cache=True, nogil=True)
def _character(data: Bytes, at: int, table: npt.NDArray[np.uint32]) -> tuple[np.uint32, int]:
    """Return what the character beyond ASCII at `at` counts as, and where the next one begins."""
    lead = np.uint32(data[at])
    size = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    code = lead & np.uint32(0xFF >> (size + 1))
    for follow in range(at + 1, min(at + size, data.size)):
        code = np.uint32(code << np.uint32(6)) | np.uint32(data[follow] & 0x3F)
    return (table[code] if code < table.size else np.uint32(code | _ALONE)), at + size


@njit(cache=True, nogil=True)
def words(data: Bytes, offsets: Offsets, table: npt.NDArray[np.uint32]) -> tuple[Hashes, Offsets]:
    """Return one hash per word, in order, and each document's bounds among them; `table` is `fold_table()`.

    A text without words has one: its bytes.
    """
    num = offsets.size - 1
    hashes = np.empty((offsets[num] - offsets[0]) // 2 + num, np.uint64)
    starts = np.zeros(num + 1, np.int64)
    for document in range(num):
        text = data[offsets[document] : offsets[document + 1]]
        place = hashes[starts[document] :]
        count = _words(text, table, place)
        if count == 0:
            place[0] = FNV_START
            for byte in text:
                place[0] = (place[0] ^ np.uint64(byte)) * FNV_PRIME
            count = 1
        starts[document + 1] = starts[document] + count
    return hashes[: starts[num]], starts


@njit(cache=True, nogil=True)
def shingles(hashes: Hashes, starts: Offsets, num_words: int) -> tuple[Hashes, Offsets]:
    """Return the hashes of all runs of `num_words` words, repeats included, and each document's bounds among them.

    A text of fewer words is one shingle. `hashes` and `starts` are as of `words`.
    """
    runs = np.empty(hashes.size, np.uint64)
    bounds = np.zeros(starts.size, np.int64)
    count = 0
    for document in range(starts.size - 1):
        first, end = starts[document], starts[document + 1]
        length = min(num_words, end - first)
        for at in range(first, end - length + 1):
            value = hashes[at]
            for word in range(at + 1, at + length):
                value = value * GOLDEN + hashes[word]
            runs[count] = mix(value)
            count += 1
        bounds[document + 1] = count
    return runs[:count], bounds


@njit(cache=True, nogil=True)
def signatures(hashes: Hashes, starts: Offsets) -> Signatures:
    """Return the MinHash signatures: per function (multiply, add, modulo 2^32) the least value of the document.

    Repeats do not matter. Shapes: [documents, NUM_HASHES].
    """
    least = np.full((starts.size - 1, NUM_HASHES), 0xFFFFFFFF, np.uint32)
    for document in range(starts.size - 1):
        row = least[document]
        for at in range(starts[document], starts[document + 1]):
            value = np.uint32(hashes[at] >> S32)
            for function in range(NUM_HASHES):
                row[function] = min(row[function], np.uint32(_MULTIPLIERS[function] * value + _ADDENDS[function]))
    return least


@njit(cache=True, nogil=True)
def sampled(hashes: Hashes, starts: Offsets) -> tuple[Signatures, Offsets]:
    """Return 32 bits of each shingle whose hash falls into a fixed sixteenth, once, and each document's bounds.

    Every document samples the same shingles, so that the share of one that another holds can be told from the samples.
    Source: FracMinHash (Irber et al. 2022, "Lightweight compositional analysis of metagenomes", section 2).
    """
    values = np.empty(hashes.size, np.uint32)
    bounds = np.zeros(starts.size, np.int64)
    count = 0
    for document in range(starts.size - 1):
        first = count
        for value in hashes[starts[document] : starts[document + 1]]:
            if value & _SAMPLED == 0:
                values[count] = value >> S32
                count += 1
        if count > first:
            distinct = np.unique(values[first:count])
            values[first : first + distinct.size] = distinct
            count = first + distinct.size
        bounds[document + 1] = count
    return values[:count].copy(), bounds


def candidates(
    rows: Signatures, alive: Offsets, agreement_min: float, all_pairs_max: int
) -> tuple[npt.NDArray[np.int64], bool]:
    """Return the pairs that agree in a band and in at least `agreement_min` of their signatures; each once, sorted.

    A band's group of more than `all_pairs_max` gives each member with the first and with its neighbour only; the second
    value is whether there was none. Shapes: rows [documents, NUM_HASHES], alive the numbers of those to compare, in
    order; returns [pairs, 2], the lower number first.
    """
    found = [np.empty(0, np.uint64)]
    complete = True
    for band in range(BANDS):
        pairs, all_pairs = _agreeing(np.sort(_band(rows, alive, band)), rows, agreement_min, all_pairs_max)
        found.append(pairs)
        complete = complete and all_pairs
    chosen = np.unique(np.concatenate(found))
    return np.stack([chosen >> S32, chosen & _LOW], axis=1).astype(np.int64), complete


@njit(cache=True, nogil=True)
def _band(rows: Signatures, alive: Offsets, band: int) -> Hashes:
    """Return 32 bits of a hash of each document's band, and its number below, so that sorting makes the groups."""
    keys = np.empty(alive.size, np.uint64)
    for place in range(alive.size):
        document = alive[place]
        value = GOLDEN
        for row in range(band * BAND_ROWS, (band + 1) * BAND_ROWS):
            value = mix((value ^ np.uint64(rows[document, row])) * GOLDEN)
        keys[place] = (value & ~_LOW) | np.uint64(document)
    return keys


@njit(cache=True, nogil=True)
def _agreeing(ordered: Hashes, rows: Signatures, agreement_min: float, all_pairs_max: int) -> tuple[Hashes, bool]:
    """Return the agreeing pairs of all groups, the lower number in the high half, and whether all were compared."""
    found = np.empty(1024, np.uint64)
    count = start = 0
    complete = True
    for end in range(1, ordered.size + 1):
        if end < ordered.size and ordered[end] >> S32 == ordered[start] >> S32:
            continue
        small = end - start <= all_pairs_max
        complete = complete and small
        for left in range(start, end - 1):
            for right in range(left + 1, end):
                if not small and left != start and right != left + 1:
                    break
                first, second = ordered[left] & _LOW, ordered[right] & _LOW
                if np.sum(rows[first] == rows[second]) >= agreement_min * NUM_HASHES:
                    if count == found.size:
                        found = np.concatenate((found, np.empty_like(found)))
                    found[count] = first << S32 | second
                    count += 1
        start = end
    return found[:count], complete
