"""Compiled loops over UTF-8 bytes and numbers: repetition and best-fit packing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from data_svc.worker.hashing import FNV_PRIME, FNV_START, GOLDEN, Bytes, Hashes, hash_table, mix, seen_before

__all__ = ["best_fit", "repetition"]

_NGRAM_WORDS = 8

_WORD = np.zeros(256, np.bool_)  # letters, digits, underscore, and every byte of a character beyond ASCII
_WORD[[*b"_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"]] = True
_WORD[128:] = True
_LETTER = _WORD.copy()
_LETTER[[*b"_0123456789"]] = False


@njit(cache=True, nogil=True)
def _words(data: Bytes) -> Hashes:
    """Return one hash per word."""
    hashes = np.empty(data.size // 2 + 1, np.uint64)
    count = 0
    at = 0
    while at < data.size:
        if not _WORD[data[at]]:
            at += 1
            continue
        value = FNV_START
        while at < data.size and _WORD[data[at]]:
            value = (value ^ np.uint64(data[at])) * FNV_PRIME
            at += 1
        hashes[count] = value
        count += 1
    return hashes[:count]


@njit(cache=True, nogil=True)
def _repeated_lines(data: Bytes) -> tuple[int, int]:
    """Return bytes in lines, without outer blanks, and bytes in lines that stood before."""
    table = hash_table(np.sum(data == 10) + 1)
    total = repeated = start = 0
    while start < data.size:
        end = start
        while end < data.size and data[end] != 10:
            end += 1
        first, last = start, end
        while first < last and data[first] <= 32:
            first += 1
        while last > first and data[last - 1] <= 32:
            last -= 1
        if last > first:
            value = FNV_START
            for at in range(first, last):
                value = (value ^ np.uint64(data[at])) * FNV_PRIME
            total += last - first
            if seen_before(table, mix(value)):
                repeated += last - first
        start = end + 1
    return total, repeated


@njit(cache=True, nogil=True)
def repetition(data: Bytes) -> tuple[int, float, float, float]:
    """Return words, share of bytes in repeated lines, share of words in repeated runs of eight, share of letters."""
    words = _words(data)
    total, repeated = _repeated_lines(data)
    letters = 0
    for byte in data:
        letters += _LETTER[byte]
    table = hash_table(words.size + 1)
    covered = at = 0
    while at + _NGRAM_WORDS <= words.size:
        value = GOLDEN
        for word in words[at : at + _NGRAM_WORDS]:
            value = mix((value ^ word) * GOLDEN)
        if seen_before(table, value):
            covered += _NGRAM_WORDS
            at += _NGRAM_WORDS
        else:
            at += 1
    return words.size, repeated / max(total, 1), covered / max(words.size, 1), letters / max(data.size, 1)


@njit(cache=True, nogil=True)
def best_fit(  # noqa: C901 - one loop, compiled
    lengths: npt.NDArray[np.int64], capacity: int
) -> npt.NDArray[np.int64]:
    """Return the row of each piece: the fullest open row that has space, else a new one.

    `lengths` is in descending order and none is above `capacity`. A segment tree over free space finds the row.
    """
    size = 1
    while size < capacity + 1:
        size *= 2
    tree = np.zeros(2 * size, np.int64)  # open rows per amount of free space
    newest = np.full(capacity + 1, -1, np.int64)  # stack of the open rows with that much space
    below = np.full(lengths.size, -1, np.int64)
    rows = np.empty(lengths.size, np.int64)
    num_rows = 0
    for piece in range(lengths.size):
        length = lengths[piece]
        node = size + length
        if tree[node] == 0:
            while node > 1 and (node % 2 == 1 or tree[node + 1] == 0):
                node //= 2
            if node > 1:
                node += 1
                while node < size:
                    node = 2 * node if tree[2 * node] > 0 else 2 * node + 1
        if node > 1:
            free = node - size
            row = newest[free]
            newest[free] = below[row]
            while node >= 1:
                tree[node] -= 1
                node //= 2
        else:
            free, row = capacity, num_rows
            num_rows += 1
        rows[piece] = row
        left = free - length
        if left > 0:
            below[row] = newest[left]
            newest[left] = row
            node = size + left
            while node >= 1:
                tree[node] += 1
                node //= 2
    return rows
