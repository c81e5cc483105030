"""Curves in characters: braille dots for one that matters, blocks for those beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

__all__ = ["by_series", "plot", "sparkline", "thinned"]

_BLOCKS = "▁▂▃▄▅▆▇█"
_BRAILLE = 0x2800
# The bit of a dot by its row and column in a cell of 4 x 2 (Unicode 15, chapter 21.1).
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


def by_series(points: Iterable[Any]) -> dict[str, list[tuple[int, float]]]:
    """Return (step, value) of each series in the order of steps; the newest value of a step counts."""
    found: dict[str, dict[int, float]] = {}
    for point in points:
        found.setdefault(point.key, {})[point.step] = point.value
    return {key: sorted(values.items()) for key, values in found.items()}


def thinned(values: Sequence[float], width: int) -> list[float]:
    """Return at most `width` values: means of neighbours."""
    if len(values) <= width:
        return list(values)
    cuts = [round(i * len(values) / width) for i in range(width + 1)]
    return [math.fsum(values[a:b]) / (b - a) for a, b in pairwise(cuts)]


def sparkline(values: Sequence[float], width: int) -> str:
    """Return one line of blocks, the lowest value at the bottom and the highest at the top."""
    shown = thinned(values, width)
    if not shown:
        return ""
    low, high = min(shown), max(shown)
    steps = len(_BLOCKS) - 1
    return "".join(_BLOCKS[round((v - low) / (high - low) * steps) if high > low else 0] for v in shown)


def plot(curves: Mapping[str, Sequence[tuple[int, float]]], *, width: int, height: int) -> list[list[tuple[str, str]]]:
    """Return lines of (text, name of the curve) that draw curves over one scale; a cell is of the curve drawn last.

    Cells without a curve have the name "".
    """
    points = [point for curve in curves.values() for point in curve]
    if not points:
        return []
    steps, values = [s for s, _ in points], [v for _, v in points]
    cells = [[(0, "") for _ in range(width)] for _ in range(height)]
    for name, curve in curves.items():
        for step, value in curve:
            x = _place(step, min(steps), max(steps), 2 * width)
            y = 4 * height - 1 - _place(value, min(values), max(values), 4 * height)
            dots, _ = cells[y // 4][x // 2]
            cells[y // 4][x // 2] = dots | _DOTS[y % 4][x % 2], name
    return [[(chr(_BRAILLE + dots), name) for dots, name in row] for row in cells]


def _place(value: float, low: float, high: float, size: int) -> int:
    return min(size - 1, int((value - low) / (high - low) * size)) if high > low else 0
