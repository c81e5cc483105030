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

from eval_svc.domain.drift.state import Tree

__all__ = ["Estimate", "Performance"]

_NUM_BINS = 10
_DECAY = 1 / 1000
_LABELS_MIN = 100  # ten a bin
_CRITICAL = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share of good outcomes with its 95 % interval."""

    value: float
    low: float
    high: float


class Performance:
    """Labelled reference and present weights."""

    def __init__(self, state: Tree | None = None) -> None:
        self._pairs: list[tuple[float, bool]] = [(value, good) for value, good in state["pairs"]] if state else []
        self._edges: list[float] = state["edges"] if state else []
        self._labels: list[tuple[int, int]] = [(good, all_) for good, all_ in state["labels"]] if state else []
        self._weights: list[float] = state["weights"] if state else []
        self._seen: int = state["seen"] if state else 0

    def collect(self, confidence: float, good: bool) -> None:  # noqa: FBT001 - a pair of observations
        """Add a labelled request of the reference."""
        self._pairs.append((confidence, good))

    def arm(self) -> None:
        """End the reference; with fewer than 100 labels there will be no estimate."""
        if len(self._pairs) >= _LABELS_MIN:
            ordered = sorted(value for value, _ in self._pairs)
            self._edges = [ordered[len(ordered) * at // _NUM_BINS] for at in range(1, _NUM_BINS)]
            bins: list[list[bool]] = [[] for _ in range(_NUM_BINS)]
            for value, good in self._pairs:
                bins[bisect_left(self._edges, value)].append(good)
            self._labels = [(sum(one), len(one)) for one in bins]
            self._weights = [len(one) / len(self._pairs) for one in bins]
        self._pairs = []

    def observe(self, confidence: float) -> None:
        """Take a request, labelled or not."""
        if self._labels:
            where = bisect_left(self._edges, confidence)
            self._weights = [one * (1 - _DECAY) for one in self._weights]
            self._weights[where] += _DECAY
            self._seen += 1

    def estimate(self) -> Estimate | None:
        """Return the estimate; None without enough labels.

        Its variance is that of the bins' shares plus that of the weights, as of 2,000 requests at most.
        """
        if not self._labels:
            return None
        shares = [(good + 0.5) / (number + 1) for good, number in self._labels]
        value = math.fsum(w * share for w, share in zip(self._weights, shares, strict=True))
        spread = math.fsum(w * share**2 for w, share in zip(self._weights, shares, strict=True)) - value**2
        bins = zip(self._weights, shares, self._labels, strict=True)
        variance = math.fsum(w**2 * share * (1 - share) / (number + 1) for w, share, (_, number) in bins)
        variance += max(0.0, spread) / max(1, min(self._seen or 2000, 2000))
        half = _CRITICAL * math.sqrt(variance)
        return Estimate(value, max(0.0, value - half), min(1.0, value + half))

    def dump(self) -> Tree:
        """Return the state."""
        return {
            "pairs": [[value, good] for value, good in self._pairs],
            "edges": self._edges,
            "labels": [list(one) for one in self._labels],
            "weights": self._weights,
            "seen": self._seen,
        }
