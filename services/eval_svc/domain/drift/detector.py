"""A bet against "nothing has changed", whose false alarms are counted by a theorem.

A reference of n values cuts the line into n + 1 gaps. If a later value is exchangeable with them, it falls into each
gap with the same chance, 1 / (n + 1); after it there is one gap more. Gaps are grouped into bins, so the bin of the
next value follows a Polya urn exactly, whatever the distribution, and the reference's own error is in the odds. For
categories the same urn starts from the reference's counts.

Every bet names other odds for the bins. The ratio of both odds has mean 1 while nothing has changed, so a product of
ratios is a martingale, and the Shiryaev-Roberts sum over all starting points, R <- (1 + R) x ratio, satisfies
P(R reaches A within N observations) <= N / A. The mean over bets satisfies it too: the threshold is N over the chance
of a false alarm that one is willing to accept.

Source: Pollak 1985 (Shiryaev-Roberts, bound by Doob's inequality); Vovk, Nouretdinov & Gammerman 2003 (testing
exchangeability on line); Blackwell & MacQueen 1973 (Polya urn).
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from eval_svc.domain.drift.state import Tree

__all__ = ["Bet", "Detector", "dump_detector", "finding_of", "load_detector"]

_EVIDENCE_MAX = 1e290  # far above any threshold; the product of two of them must stay a number


@dataclass(frozen=True, slots=True)
class Bet:
    """Other odds: with chance 1 - `share` as before, with `share` in proportion to count x weight.

    Shapes: weights [strata][bins], each stratum with a positive sum.
    """

    label: str
    share: float
    weights: Sequence[Sequence[float]]


class Detector:
    """Evidence that one feature has changed; O(bets) per observation.

    Shapes: counts [strata][bins], positive.
    """

    __slots__ = ("_normalisers", "_totals", "_weights", "bets", "counts", "evidence", "runs", "starts")

    def __init__(self, bets: Sequence[Bet], counts: Sequence[Sequence[float]]) -> None:
        self.bets = bets
        self.counts = [array("d", row) for row in counts]
        self.evidence = array("d", [0.0] * len(bets))  # Shiryaev-Roberts sum of each bet
        self.runs = array("d", [0.0] * len(bets))  # log of the bet's gain since its last low
        self.starts = array("q", [0] * len(bets))  # observation after that low
        # Per stratum and bin the weights of all bets together, because one observation reads exactly those.
        self._weights = [
            [tuple(bet.weights[stratum][at] for bet in bets) for at in range(len(row))]
            for stratum, row in enumerate(counts)
        ]
        self._totals = [math.fsum(row) for row in counts]
        self._normalisers = [
            [math.fsum(n * w for n, w in zip(row, bet.weights[stratum], strict=True)) for bet in bets]
            for stratum, row in enumerate(counts)
        ]

    def observe(self, stratum: int, where: int, number: int) -> float:
        """Take observation `number` in a bin of a stratum; return the evidence, to be held against a threshold."""
        weights, sums, total = self._weights[stratum][where], self._normalisers[stratum], self._totals[stratum]
        evidence, runs, sum_of_all = self.evidence, self.runs, 0.0
        for at, bet in enumerate(self.bets):
            weight, share = weights[at], bet.share
            ratio = 1.0 - share + share * weight * total / sums[at]
            now = min((1.0 + evidence[at]) * ratio, _EVIDENCE_MAX)
            evidence[at] = now
            sum_of_all += now
            gain = runs[at] + math.log(ratio) if ratio > 0 else -1.0
            if gain <= 0:
                runs[at], self.starts[at] = 0.0, number + 1
            else:
                runs[at] = gain
            sums[at] += weight
        self.counts[stratum][where] += 1
        self._totals[stratum] = total + 1
        return sum_of_all / len(self.bets)

    @property
    def level(self) -> float:
        """The evidence now."""
        return math.fsum(self.evidence) / len(self.bets)

    def best(self) -> int:
        """Return the place of the bet that has gained most since its last low."""
        return max(range(len(self.bets)), key=self.evidence.__getitem__)

    def pays(self, bet: int, stratum: int, where: int) -> bool:
        """Say whether a bet gains on a bin: the observations there are what it speaks about."""
        return self.bets[bet].weights[stratum][where] * self._totals[stratum] > 1.3 * self._normalisers[stratum][bet]


def finding_of(detector: Detector | None) -> tuple[str, int]:
    """Return what the best bet says, and the observation its run began with."""
    if detector is None:
        return "", 0
    best = detector.best()
    return detector.bets[best].label, detector.starts[best]


def dump_detector(detector: Detector | None) -> Tree | None:
    """Return counts and evidence."""
    if detector is None:
        return None
    counts = [array("f", row) for row in detector.counts]
    return {"counts": counts, "sums": detector.evidence, "runs": detector.runs, "starts": detector.starts}


def load_detector(bets: Sequence[Bet], state: Tree) -> Detector:
    """Return what `dump_detector` gave."""
    detector = Detector(bets, state["counts"])
    detector.evidence, detector.runs, detector.starts = state["sums"], state["runs"], state["starts"]
    return detector
