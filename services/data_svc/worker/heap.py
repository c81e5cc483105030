"""Memory that a large document took goes back to the system; else a process grows with the largest it has met."""

from __future__ import annotations

import ctypes

import pyarrow as pa

__all__ = ["give_memory_back"]

# Parameters of glibc's mallopt(3), and what they are set to here.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_SETTINGS = {_ARENA_MAX: 1, _TRIM_THRESHOLD: 1 << 20, _MMAP_THRESHOLD: 256 << 10}


def give_memory_back() -> None:
    """Have this process keep no freed memory worth mentioning; to be called once, early, by its entry."""
    pa.set_memory_pool(pa.system_memory_pool())
    adjust = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries than glibc have none
    if adjust is not None:
        for parameter, value in _SETTINGS.items():
            adjust(parameter, value)
