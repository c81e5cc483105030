"""How a file of requests is cut into parts, and how much of an engine a batch may take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["PART_LINES", "REQUESTS_MAX", "Part", "parts_of", "room"]

PART_LINES = 32  # answers that a crash may cost
REQUESTS_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Part:
    """Lines that are answered and written down together: the first one's number, and bytes `start` to `end`."""

    number: int
    first: int
    start: int
    end: int


def parts_of(ends: Sequence[int], lines: int = PART_LINES) -> list[Part]:
    """Return the parts of a file whose lines end at such bytes."""
    parts = list[Part]()
    for first in range(0, len(ends), lines):
        start = ends[first - 1] if first else 0
        parts.append(Part(len(parts), first, start, ends[min(first + lines, len(ends)) - 1]))
    return parts


def room(limit: int, live: int) -> int:
    """Return how many requests of batches may run beside `live` others; one always, so that a batch ends some time."""
    return max(1, limit - live)
