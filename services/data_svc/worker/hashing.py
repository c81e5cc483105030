"""Compiled hashing that the kernels share: mixing of 64-bit values, and open-addressing tables of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["FNV_PRIME", "FNV_START", "GOLDEN", "S32", "Bytes", "Hashes", "hash_table", "mix", "seen_before"]

Bytes = npt.NDArray[np.uint8]
Hashes = npt.NDArray[np.uint64]

# Source: Fowler, Noll and Vo, FNV-1a with 64 bits; Fibonacci hashing (Knuth, volume 3, section 6.4); the multiplier of
# the mixer is Wang Yi's, as in rrmxmx.
FNV_START = np.uint64(0xCBF29CE484222325)
FNV_PRIME = np.uint64(0x100000001B3)
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
S32 = np.uint64(32)
_MIX = np.uint64(0xD6E8FEB86659FD93)
_S29 = np.uint64(29)


@njit(cache=True, nogil=True, inline="always")
def mix(value):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201
    """Return a 64-bit value whose bits all depend on all bits of the given one."""
    value ^= value >> S32
    value *= _MIX
    return value ^ (value >> _S29)


@njit(cache=True, nogil=True)
def hash_table(entries: int) -> Hashes:
    """Return an empty table with room for so many keys; its size is a power of two, empty slots are 0."""
    size = 16
    while size < entries * 2:
        size *= 2
    return np.zeros(size, np.uint64)


@njit(cache=True, nogil=True)
def seen_before(table: Hashes, key: np.uint64) -> bool:
    """Add a key, its lowest bit set, to a table and say whether it was there."""
    key = key | np.uint64(1)
    mask = np.uint64(table.size - 1)
    slot = mix(key) & mask
    while table[slot] != np.uint64(0):
        if table[slot] == key:
            return True
        slot = (slot + np.uint64(1)) & mask
    table[slot] = key
    return False
