"""How far stored weights are from the ones that were trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["weight_error"]

# Largest integer of a number format, by which a block's largest weight is divided to get its step.
_LARGEST = {"int8": 127, "int4": 8}
# Weights this much below those of their row or matrix are nothing to it; scales in fp16 cannot hold them.
_NOTHING_IN_ROW, _NOTHING_IN_MATRIX = 1e-2, 1e-3
Floats = npt.NDArray[np.floating[Any]]


def weight_error(was: Floats, now: Floats, precision: str, block: int = 0) -> float:
    """Return the error of a stored matrix, infinite if a number in it is not finite.

    For integers it is the largest error of a weight in steps of its block of `block` weights, 0 meaning the whole row:
    rounding alone makes at most one, whatever the weights are. For others it is the largest |now - was| / |was| of any
    row.
    """
    rows, found = (each.reshape(-1, was.shape[-1]).astype(np.float64) for each in (was, now))
    largest = _LARGEST.get(precision)
    worst = _relative(rows, found) if largest is None else _steps(rows, found, largest, block or was.shape[-1])
    return worst if np.isfinite(worst) else float("inf")


def _relative(rows: Floats, found: Floats) -> float:
    distance, size = np.linalg.norm(found - rows, axis=-1), np.linalg.norm(rows, axis=-1)
    # A row of zeros has no relative error; whatever became of it counts in full.
    return float(np.where(size > 0, distance / np.maximum(size, 1e-30), distance).max())


def _steps(rows: Floats, found: Floats, largest: int, block: int) -> float:
    magnitude = np.abs(rows)
    floor = np.maximum(_NOTHING_IN_ROW * magnitude.max(-1), _NOTHING_IN_MATRIX * magnitude.max())
    worst = 0.0
    for start in range(0, rows.shape[-1], block):
        inside = slice(start, start + block)
        step = np.maximum(magnitude[:, inside].max(-1), floor) / largest
        error = np.abs(found[:, inside] - rows[:, inside]).max(-1)
        worst = max(worst, float((error / np.maximum(step, 1e-30)).max()))
        if not np.isfinite(error).all():
            return float("inf")
    return worst
