"""How far stored weights are from the ones that were trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["row_error"]


def row_error(was: npt.NDArray[np.floating[Any]], now: npt.NDArray[np.floating[Any]]) -> float:
    """Return the largest |now - was| / |was| over the rows of a matrix, or of a vector as one row."""
    rows = was.reshape(-1, was.shape[-1])
    distance = np.linalg.norm((now.reshape(rows.shape) - rows).astype(np.float64), axis=-1)
    size = np.linalg.norm(rows.astype(np.float64), axis=-1)
    # A row of zeros has no relative error; whatever became of it counts in full.
    error = np.where(size > 0, distance / np.maximum(size, 1e-30), distance)
    worst = float(error.max())
    return worst if np.isfinite(worst) else float("inf")
