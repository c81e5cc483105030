"""Which deployment answers a request: a stable function of who asks, so that users keep theirs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

__all__ = ["order_of", "place_of", "problem_of_traffic"]

Share = tuple[str, float]  # deployment and percent


def place_of(salt: str, subject: str) -> float:
    """Return where a user lies on the line from 0 to 100; evenly spread, and always the same."""
    digest = hashlib.blake2b(f"{salt}\0{subject}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64 * 100


def order_of(traffic: Sequence[Share], place: float) -> list[str]:
    """Return who is to answer a request at a place, then who stands in if that one is down.

    Shares lie side by side in their order, so a share that grows at its end takes no user from the ones before it.
    """
    end, chosen = 0.0, ""
    for deployment, percent in traffic:
        end += percent
        if percent:
            chosen = deployment
        if place < end:
            break
    others = sorted((one for one in traffic if one[1] and one[0] != chosen), key=lambda one: -one[1])
    return [chosen, *(deployment for deployment, _ in others)] if chosen else []


def problem_of_traffic(traffic: Sequence[Share]) -> str | None:
    """Return why shares cannot be a split; None when they can."""
    names = [deployment for deployment, _ in traffic]
    if len(set(names)) < len(names):
        return "a deployment is named twice"
    total = sum(percent for _, percent in traffic)
    return None if abs(total - 100) < 1e-6 else f"percents must sum to 100; they sum to {total:g}"
