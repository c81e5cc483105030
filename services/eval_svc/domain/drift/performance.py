"""How well it probably goes where nobody said: outcomes of the reference, weighted by what comes now.

Requests are sorted into ten bins of a confidence feature, cut at the reference's deciles. The share of good outcomes
in each bin comes from the reference's labelled requests, the weight of each bin from about the last 1,000 requests.
It holds as long as a bin's requests end as those of the reference did: inputs may move, the relation to the outcome
may not. A concept alarm says that it does not hold.

Source: post-stratification (Cochran 1977, section 5A.9) with the importance weights of covariate shift (Shimodaira
2000); as an estimate without labels like confidence-based performance estimation (Bialek et al. 2023).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from statistics import NormalDist

from eval_svc.domain.drift.bins import binary_bets
from eval_svc.domain.drift.detector import Detector, dump_detector, finding_of, load_detector
from eval_svc.domain.drift.features import Feature, Row
from eval_svc.domain.drift.state import Tree

__all__ = ["Estimate", "RelationWatch"]

_NUM_BINS = 10
_DECAY = 1 / 1000
_CRITICAL = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share of good outcomes with its 95 % interval."""

    value: float
    low: float
    high: float


class RelationWatch:
    """Outcomes within bins of confidence: how well it goes now, and whether the relation is still the reference's.

    The second is a `Watch` of yes or no with a reference for each bin; it moves only where outcomes change for
    requests of equal confidence, whatever the mix of requests.
    """

    def __init__(self, feature: Feature, state: Tree | None) -> None:
        self._outcome, self._confidence = feature.of
        self._pairs: list[list[float]] = state["pairs"] if state else []
        self._edges: list[float] = state["edges"] if state else []
        self._labels: list[list[int]] = state["labels"] if state else []  # bad and good of each bin
        self._weights: list[float] = state["weights"] if state else []
        self._seen: int = state["seen"] if state else 0
        self.size: int = state["size"] if state else 0
        self._detector: Detector | None = None
        if state and state["evidence"]:
            self._detector = load_detector(binary_bets(_NUM_BINS), state["evidence"])

    def collect(self, row: Row, noise: float) -> bool:
        """See Watch."""
        del noise
        confidence, good = row.numbers.get(self._confidence), row.flags.get(self._outcome)
        if confidence is None or good is None:
            return False
        self._pairs.append([confidence, float(good)])
        self.size += 1
        return True

    def arm(self) -> None:
        """See Watch."""
        ordered = sorted(value for value, _ in self._pairs)
        self._edges = [ordered[len(ordered) * at // _NUM_BINS] for at in range(1, _NUM_BINS)]
        self._labels = [[0, 0] for _ in range(_NUM_BINS)]
        for value, good in self._pairs:
            self._labels[bisect_left(self._edges, value)][int(good)] += 1
        self._weights = [sum(one) / self.size for one in self._labels]
        self._pairs = []
        self.rearm()

    def observe(self, row: Row, noise: float, number: int) -> tuple[float, bool] | None:
        """See Watch."""
        del noise
        confidence, good = row.numbers.get(self._confidence), row.flags.get(self._outcome)
        if confidence is None or good is None or self._detector is None:
            return None
        where = bisect_left(self._edges, confidence)
        level = self._detector.observe(where, int(good), number)
        return level, self._detector.pays(self._detector.best(), where, int(good))

    def weigh(self, row: Row) -> None:
        """Take a request after the reference, labelled or not, into the present weights of the bins."""
        confidence = row.numbers.get(self._confidence)
        if confidence is not None and self._weights:
            self._weights = [one * (1 - _DECAY) for one in self._weights]
            self._weights[bisect_left(self._edges, confidence)] += _DECAY
            self._seen += 1

    def rearm(self) -> None:
        """See Watch."""
        self._detector = Detector(binary_bets(_NUM_BINS), [[n + 0.5 for n in one] for one in self._labels])

    @property
    def level(self) -> float:
        """See Watch."""
        return self._detector.level if self._detector else 0.0

    def finding(self) -> tuple[str, int]:
        """See Watch."""
        return finding_of(self._detector)

    def value(self, row: Row) -> float | None:
        """See Watch."""
        both = row.numbers.get(self._confidence) is not None
        return float(row.flags[self._outcome]) if both and self._outcome in row.flags else None

    def estimate(self) -> Estimate | None:
        """Return the share of good outcomes to expect of present requests; None before the reference is complete.

        Its variance is that of the bins' shares plus that of the weights, as of 2,000 requests at most.
        """
        if not self._weights:
            return None
        numbers = [sum(one) for one in self._labels]
        shares = [(one[1] + 0.5) / (number + 1) for one, number in zip(self._labels, numbers, strict=True)]
        value = math.fsum(w * share for w, share in zip(self._weights, shares, strict=True))
        spread = math.fsum(w * share**2 for w, share in zip(self._weights, shares, strict=True)) - value**2
        bins = zip(self._weights, shares, numbers, strict=True)
        variance = math.fsum(w**2 * share * (1 - share) / (number + 1) for w, share, number in bins)
        variance += max(0.0, spread) / max(1, min(self._seen or 2000, 2000))
        half = _CRITICAL * math.sqrt(variance)
        return Estimate(value, max(0.0, value - half), min(1.0, value + half))

    def dump(self) -> Tree:
        """See Watch."""
        return {
            "pairs": self._pairs,
            "edges": self._edges,
            "labels": self._labels,
            "weights": self._weights,
            "seen": self._seen,
            "size": self.size,
            "evidence": dump_detector(self._detector),
        }
