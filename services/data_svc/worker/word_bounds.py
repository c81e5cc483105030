"""Where words of UTF-8 text begin and end, compiled: blanks, marks, and the places inside that a word is cut at.

Blanks are bytes up to 32, and those of Unicode. A chunk between blanks is one word with its leading and trailing
punctuation cut off. A word is cut at `-` before a letter or between two digits, at `,` between letters, at `.` between
a small and a capital letter, which ends a sentence, at one of `/:=<>` before a letter, and before `'s`: these are the
infixes and suffixes of spaCy, whose words the corpora were filtered by. Marks are those of ASCII and U+2000 to U+203F;
each is a token, and so is a run of one of `-.~^`. What lies from U+0080 to U+00BF and from U+2040 to U+2BFF makes words
without a letter; further characters count as letters.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from data_svc.worker.hashing import Bytes

__all__ = ["KIND", "LETTER_BYTE", "MAYBE_LETTER", "blank", "cuts", "mark", "mark_before", "without_s"]

LETTER_BYTE, MAYBE_LETTER = np.uint8(2), np.uint8(4)
KIND = np.zeros(256, np.uint8)
KIND[[*b"0123456789"]] = 1
KIND[[*b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", *range(192, 256)]] = 3
KIND[[0xC2, 0xE2]] = 1, 5  # symbols, or letters as the next byte says


@njit(cache=True, nogil=True)
def mark(data: Bytes, at: int, end: int) -> int:
    """Return how many bytes the punctuation mark at `at` has; 0 if there is none."""
    if data[at] < 128:
        return 1 if KIND[data[at]] == 0 else 0
    return 3 if data[at] == 0xE2 and at + 2 < end and data[at + 1] == 0x80 else 0


@njit(cache=True, nogil=True)
def mark_before(data: Bytes, start: int, at: int) -> int:
    """Return how many bytes the punctuation mark that ends at `at` has; 0 if there is none."""
    if data[at - 1] < 128:
        return 1 if KIND[data[at - 1]] == 0 else 0
    return 3 if at - 3 >= start and data[at - 3] == 0xE2 and data[at - 2] == 0x80 else 0


@njit(cache=True, nogil=True)
def cuts(data: Bytes, place: int, first: int) -> bool:
    """Say whether a word in bytes first to last is cut at the ASCII mark at `place`, which is inside it."""
    byte, before, after = data[place], data[place - 1], KIND[data[place + 1]]
    if byte == 45 and after == 1:
        return bool(48 <= before <= 57 and data[place + 1] < 128)
    if byte == 46:
        return bool(97 <= before <= 122 and 65 <= data[place + 1] <= 90)
    if after != 3 or mark_before(data, first, place) != 0:
        return False
    return bool(byte in (45, 47, 58, 60, 61, 62) or (byte == 44 and (before >= 128 or KIND[before] == 3)))


@njit(cache=True, nogil=True)
def without_s(data: Bytes, first: int, last: int) -> int:
    """Return where the `'s` begins that a word in bytes first to last ends with, else its end."""
    if last - first < 3 or data[last - 1] | 32 != 115:
        return last
    if data[last - 2] == 39:
        return last - 2
    curly = last - first > 4 and data[last - 4] == 0xE2 and data[last - 3] == 0x80 and data[last - 2] == 0x99
    return last - 4 if curly else last


@njit(cache=True, nogil=True)
def blank(data: Bytes, at: int, end: int) -> int:
    """Return how many bytes the blank at `at` has; 0 if there is none."""
    byte = data[at]
    if byte < 0xC2:
        return 1 if byte <= 32 else 0
    if byte == 0xC2:
        return 2 if at + 1 < end and data[at + 1] in (0x85, 0xA0) else 0
    if at + 2 >= end or byte > 0xE3 or byte < 0xE2:
        return 0
    low = data[at + 2]
    if byte == 0xE3:
        return 3 if data[at + 1] == 0x80 and low == 0x80 else 0
    if data[at + 1] == 0x80:
        return 3 if low <= 0x8A or low in (0xA8, 0xA9, 0xAF) else 0
    return 3 if data[at + 1] == 0x81 and low == 0x9F else 0
