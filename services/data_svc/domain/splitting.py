"""Which documents are held out, and which survive a limit: functions of content and seed, never of order."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping

__all__ = ["HELDOUT", "TRAIN", "share", "splits_of", "within_budget"]

TRAIN, HELDOUT = "train", "heldout"


def share(seed: int, purpose: str, key: str) -> float:
    """Return a number in [0, 1) that depends on nothing but the arguments."""
    digest = hashlib.sha256(f"{seed}\0{purpose}\0{key}".encode()).digest()
    return int.from_bytes(digest[:7]) / (1 << 56)


def splits_of(families: Iterable[str], seed: int, heldout_fraction: float) -> dict[str, str]:
    """Return the split of each family key.

    With two families or more neither split stays empty, unless the fraction is 0.
    """
    shares = sorted((share(seed, "split", key), key) for key in set(families))
    splits = {key: HELDOUT if value < heldout_fraction else TRAIN for value, key in shares}
    if heldout_fraction > 0 and len(shares) > 1:
        splits[shares[0][1]] = HELDOUT
        splits[shares[-1][1]] = TRAIN
    elif len(shares) == 1:
        splits[shares[0][1]] = TRAIN
    return splits


def within_budget(sizes: Mapping[str, int], budget: int, order: Callable[[str], float]) -> set[str]:
    """Return the ids whose sizes fit together into `budget`, tried in the given order; 0 means no limit.

    The smallest is taken even if it alone is too large.
    """
    if budget <= 0 or not sizes:
        return set(sizes)
    taken: set[str] = set()
    total = 0
    for key in sorted(sizes, key=lambda key: (order(key), key)):
        if total + sizes[key] <= budget:
            taken.add(key)
            total += sizes[key]
    return taken or {min(sizes, key=lambda key: (sizes[key], key))}
