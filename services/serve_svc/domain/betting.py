"""Bets on the difference between two arms, whose evidence may be looked at after every request.

A block holds outcomes (0 or 1) of both arms, one of one arm and up to `BLOCK_MAX` of the other; its difference
d = mean(candidate) - mean(baseline) lies in [-1, 1]. Against the hypothesis "the mean of d is at least -m" one bets on
z = -m - d, against "the mean of d is at most -m" on z = d + m. With stakes s that are fixed before the outcomes, the
capital prod(1 + s z) has mean at most 1 while the hypothesis holds, so by Ville's inequality it ever reaches 1 / alpha
with a chance of at most alpha, whatever the number of looks. A mean over stakes has the same property and needs no
guess at how large the difference is.

Nothing is assumed of the distribution, and nothing of the size of the arms: blocks only have to be formed without
looking at the outcomes in them. Rates may change over time as long as they change for both arms, since blocks hold
what was seen at about the same time.

Source: Waudby-Smith & Ramdas 2024, Estimating means of bounded random variables by betting (hedged capital, discrete
mixtures of stakes); Turner, Ly & Gruenwald 2024, Generic e-variables for exact sequential k-sample tests (two Bernoulli
streams in blocks of unequal size); Ville 1939.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["BLOCK_MAX", "Arm", "Bet", "Blocks", "Side", "blocks_until"]

BLOCK_MAX = 8  # of the larger arm in one block; beyond that its share of the variance is below an eighth
# Stakes as shares of the largest that cannot ruin. Small ones wait for small differences, large ones catch disasters
# and rates near 1 within dozens of blocks. Weights favour what differences of 5 to 15 points ask for.
_STAKES = (0.04, 0.08, 0.13, 0.19, 0.26, 0.36, 0.55, 0.85)
_WEIGHTS = (0.10, 0.14, 0.18, 0.18, 0.14, 0.12, 0.08, 0.06)
_CAPITAL_MAX = 1e200  # far above any threshold; sums of it are numbers


class Arm(StrEnum):
    """Who answered."""

    BASELINE = "baseline"
    CANDIDATE = "candidate"


class Side(StrEnum):
    """What evidence is for."""

    WORSE = "worse"  # the candidate is worse than the margin allows
    SAFE = "safe"  # it is not


@dataclass(slots=True)
class Bet:
    """Evidence for one side of a margin.

    Shapes: capitals [stakes], each begins with its weight.
    """

    side: Side
    margin: float  # by how much the candidate's rate may be lower, from 0 to 1
    capitals: list[float] = field(default_factory=lambda: list(_WEIGHTS))
    best: float = 1.0  # the most evidence that there ever was

    def observe(self, difference: float) -> float:
        """Take the difference of a block, in [-1, 1]; return the evidence."""
        if self.side is Side.WORSE:
            gain = (-self.margin - difference) / (1 + self.margin)
        else:
            gain = (difference + self.margin) / (1 - self.margin)
        # A gain of -1 loses all that is staked; stakes are below 1, so no capital is ever lost whole.
        self.capitals = [
            min(capital * (1 + stake * gain), _CAPITAL_MAX)
            for capital, stake in zip(self.capitals, _STAKES, strict=True)
        ]
        value = self.evidence
        self.best = max(self.best, value)
        return value

    @property
    def evidence(self) -> float:
        """Capital now; 1 before the first block."""
        return math.fsum(self.capitals)


@dataclass(slots=True)
class Blocks:
    """Forms blocks: an outcome meets all that wait of the other arm, or waits itself.

    Which outcomes meet depends on their order alone, never on their values.
    """

    waiting: list[int] = field(default_factory=list)
    arm: Arm = Arm.BASELINE  # of those that wait

    def add(self, arm: Arm, *, good: bool) -> float | None:
        """Take an outcome; return the difference of the block that it completes, if it does."""
        if arm is self.arm or not self.waiting:
            self.arm = arm
            self.waiting = [*self.waiting, int(good)][-BLOCK_MAX:]  # the newest are nearest in time to what comes
            return None
        others = sum(self.waiting) / len(self.waiting)
        self.waiting = []
        return int(good) - others if arm is Arm.CANDIDATE else others - int(good)


def blocks_until(
    differences: Sequence[float], *, threshold: float, margin: float, side: Side, now: float, most: int = 1_000_000
) -> int | None:
    """Return about how many more blocks it takes to reach a threshold if things go on as they did.

    `differences` holds count, sum and sum of squares of the blocks so far, `now` the evidence; None when the evidence
    does not grow, or not within `most` blocks. Growth is that of the best stake for the mean and variance so far.
    """
    count, total, squares = differences
    if now >= threshold:
        return 0
    if count < 10:
        return None
    mean = total / count
    edge = -margin - mean if side is Side.WORSE else mean + margin
    if edge <= 0:
        return None
    variance = max(squares / count - mean * mean, 1e-4)
    growth = edge * edge / (2 * (variance + edge * edge))
    needed = math.log(threshold / max(now, 1e-3)) / growth
    return math.ceil(needed) if needed <= most else None
