"""BCa bootstrap over clusters, for a relative change: the one measure here whose sampling distribution is skewed."""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist, stdev

__all__ = ["CLUSTERS_MIN", "RelativeChange", "relative_change"]

# Fewer and the replicates repeat the same few clusters; more are dealt into groups, which are as independent.
CLUSTERS_MIN, GROUPS_MAX = 50, 1_000
REPLICATES = 2_000
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True, kw_only=True)
class RelativeChange:
    """candidate / baseline - 1 with its replicates, sorted, and the two corrections of BCa."""

    value: float
    replicates: Sequence[float]
    bias: float
    acceleration: float

    @property
    def standard_error(self) -> float:
        """Standard deviation of the replicates."""
        return stdev(self.replicates)

    def bounds(self, confidence: float) -> tuple[float, float]:
        """Return the two-sided interval."""
        low, high = (self._quantile(level) for level in ((1 - confidence) / 2, (1 + confidence) / 2))
        return low, high

    def p_above(self, limit: float) -> float:
        """Return the one-sided p-value against "the truth is at most `limit`": the level whose bound is `limit`."""
        share = bisect_left(self.replicates, limit) / len(self.replicates)
        floor = 1 / (len(self.replicates) + 1)
        score = _NORMAL.inv_cdf(min(1 - floor, max(floor, share))) - self.bias
        return _NORMAL.cdf(score / (1 + self.acceleration * score) - self.bias)

    def _quantile(self, level: float) -> float:
        score = self.bias + _NORMAL.inv_cdf(level)
        share = _NORMAL.cdf(self.bias + score / (1 - self.acceleration * score))
        return self.replicates[min(len(self.replicates) - 1, int(share * len(self.replicates)))]


def relative_change(
    baseline: Sequence[float], candidate: Sequence[float], clusters: Sequence[Hashable], *, seed: int = 0
) -> RelativeChange | None:
    """Resample clusters; None if the baseline's sum is so near zero that a relative change means nothing.

    Shapes: three sequences [N]; scores at least 0. The same inputs and seed give the same replicates.
    Source: Efron 1987, Better Bootstrap Confidence Intervals, section 4; clusters: Field & Welsh 2007.
    """
    sums: defaultdict[Hashable, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for before, after, cluster in zip(baseline, candidate, clusters, strict=True):
        sums[cluster][0] += before
        sums[cluster][1] += after
    groups = _dealt(list(sums.values()))
    below, above = (math.fsum(group[part] for group in groups) for part in (0, 1))
    generator = random.Random(seed)
    replicates = []
    for _ in range(REPLICATES):
        drawn = generator.choices(groups, k=len(groups))
        total = sum(group[0] for group in drawn)
        if total <= 0:
            return None
        replicates.append(sum(group[1] for group in drawn) / total - 1)
    replicates.sort()
    value = above / below - 1
    without = [(above - group[1]) / max(below - group[0], 1e-300) for group in groups]
    mean = math.fsum(without) / len(without)
    cubes, squares = (math.fsum((mean - one) ** power for one in without) for power in (3, 2))
    ties = (bisect_left(replicates, value) + bisect_left(replicates, math.nextafter(value, math.inf))) / 2
    share = min(1 - 1 / REPLICATES, max(1 / REPLICATES, ties / REPLICATES))
    return RelativeChange(
        value=value,
        replicates=replicates,
        bias=_NORMAL.inv_cdf(share),
        acceleration=cubes / (6 * squares**1.5) if squares > 0 else 0.0,
    )


def _dealt(sums: list[list[float]]) -> list[list[float]]:
    """Deal clusters into at most GROUPS_MAX groups."""
    if len(sums) <= GROUPS_MAX:
        return sums
    return [[math.fsum(one[part] for one in sums[at::GROUPS_MAX]) for part in (0, 1)] for at in range(GROUPS_MAX)]
