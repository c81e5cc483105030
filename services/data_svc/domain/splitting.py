"""Which documents are held out, and which survive a limit: functions of content and seed, never of order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

__all__ = ["HELDOUT", "MOST", "TRAIN", "held_out", "share", "shares", "splits_of", "within_budget"]

TRAIN, HELDOUT = "train", "heldout"
MOST = 0.5  # of the text; a family beyond it leaves nothing to learn from when it is held out


def share(seed: int, purpose: str, key: str) -> float:
    """Return a number in [0, 1) that depends on nothing but the arguments."""
    digest = hashlib.sha256(f"{seed}\0{purpose}\0{key}".encode()).digest()
    return int.from_bytes(digest[:7]) / (1 << 56)


def shares(seed: int, purpose: str, keys: Iterable[str]) -> npt.NDArray[np.float64]:
    """Return the share of each key."""
    return np.fromiter((share(seed, purpose, key) for key in keys), np.float64)


def held_out(
    shares: npt.NDArray[np.float64], heldout_fraction: float, sizes: npt.NDArray[np.int64] | None = None
) -> npt.NDArray[np.bool_]:
    """Return which families are held out; `shares` are theirs for the purpose `split`, in order of their keys.

    With two families or more neither split stays empty, unless the fraction is 0. A family that is more than half of
    all by `sizes` is trained on.
    """
    if sizes is not None:
        shares = np.where(sizes > sizes.sum() * MOST, 1.0, shares)
    held = shares < heldout_fraction
    if heldout_fraction > 0 and len(held) > 1:
        held[np.argmin(shares)] = True
        held[len(held) - 1 - np.argmax(shares[::-1])] = False
    elif len(held) == 1:
        held[0] = False
    return held


def splits_of(families: Iterable[str], seed: int, heldout_fraction: float) -> dict[str, str]:
    """Return the split of each family key."""
    keys = sorted(set(families))
    held = held_out(shares(seed, "split", keys), heldout_fraction).tolist()
    return {key: HELDOUT if is_held else TRAIN for key, is_held in zip(keys, held, strict=True)}


def within_budget(sizes: npt.NDArray[np.int64], order: npt.NDArray[np.int64], budget: int) -> npt.NDArray[np.bool_]:
    """Return which sizes fit together into `budget`, tried in the given order of places; 0 means no limit.

    The smallest is taken even if it alone is too large, of several the first in order.
    """
    if budget <= 0 or not len(sizes):
        return np.ones(len(sizes), np.bool_)
    taken = np.zeros(len(sizes), np.bool_)
    left = budget
    for place, size in zip(order.tolist(), sizes[order].tolist(), strict=True):
        if size <= left:
            taken[place] = True
            left -= size
    if not taken.any():
        taken[order[np.argmin(sizes[order])]] = True
    return taken
