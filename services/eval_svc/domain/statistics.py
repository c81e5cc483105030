"""Intervals and tests: standard library only, no simulation, so the same numbers every time.

One estimator carries means, differences and perplexities: a ratio of sums over clusters, with a delete-one-cluster
jackknife and Student's t. With one case a cluster and equal weights it is the textbook t interval.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import NormalDist

__all__ = [
    "Estimate",
    "cases_needed",
    "cases_to_see",
    "design_effect",
    "effective_cases",
    "holm",
    "mcnemar_clustered",
    "mcnemar_exact",
    "proportion",
    "ratio",
    "smallest_difference",
    "student_t_cdf",
    "student_t_quantile",
    "wilson",
]

# One-sided level of a two-sided test at 5 %, and the power a plan aims at.
LEVEL = 0.025
POWER = 0.8
# Variance of a paired right-or-wrong difference, and correlation of cases in one cluster, as seen on real suites.
DIFFERENCE_VARIANCE = 0.28
CLUSTER_CORRELATION = 0.3
CASES_NEEDED_MAX = 10_000_000
# Sums of this many sign patterns are counted exactly in some milliseconds; larger tables take the normal form.
EXACT_WORK_MAX = 4_000_000
# Below this an estimator is symmetric, and Hall's transformation would be a quotient of rounding errors.
_SKEWNESS_MIN = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value with its standard error and two-sided interval; `p_value` tests the value against 0.

    `skewness` is that of the estimator: negative where samples that come out high also look more certain than they are.
    """

    value: float
    standard_error: float
    low: float
    high: float
    confidence: float
    p_value: float
    num_clusters: int
    degrees: float
    skewness: float = 0.0

    @staticmethod
    def of(
        value: float,
        error: float,
        *,
        degrees: float,
        skewness: float,
        num_clusters: int,
        confidence: float,
    ) -> Estimate:
        """Return the estimate with interval and test.

        Each bound is the more cautious of Student's t and its form corrected for skewness, which alone is too rough for
        some dozens of clusters.
        Source: Hall 1992, On the removal of skewness by transformation, with the sign that a t statistic takes.
        """
        far = student_t_quantile((1 + confidence) / 2, degrees)
        p_above = _p_above(value, error, degrees, skewness)
        return Estimate(
            value=value,
            standard_error=error,
            low=value - max(far, _unskewed(far, skewness)) * error,
            high=value - min(-far, _unskewed(-far, skewness)) * error,
            confidence=confidence,
            p_value=min(1.0, 2 * min(p_above, 1 - p_above)),
            num_clusters=num_clusters,
            degrees=degrees,
            skewness=skewness,
        )

    def p_above(self, limit: float) -> float:
        """Return the one-sided p-value against "the truth is at most the limit"."""
        return _p_above(self.value - limit, self.standard_error, self.degrees, self.skewness)


@dataclass(slots=True)
class _Cluster:
    """Sums over the cases of a cluster; `squares` are those of their residuals."""

    above: float = 0.0
    below: float = 0.0
    count: int = 0
    squares: float = 0.0


def ratio(
    numerators: Sequence[float],
    denominators: Sequence[float],
    clusters: Sequence[Hashable],
    *,
    confidence: float,
) -> Estimate:
    """Estimate sum(numerators) / sum(denominators) when cases of one cluster depend on each other.

    Shapes: three sequences [N], N >= 1; denominators positive.
    Source: Shao & Tu 1995, The Jackknife and Bootstrap, section 2.1, which is CR3 of Cameron & Miller 2015 for a mean;
    degrees of freedom of Bell & McCaffrey 2002 with the correlation inside clusters as in Imbens & Kolesar 2016.
    """
    sums: defaultdict[Hashable, _Cluster] = defaultdict(_Cluster)
    for above, below, cluster in zip(numerators, denominators, clusters, strict=True):
        one = sums[cluster]
        one.above, one.below, one.count = one.above + above, one.below + below, one.count + 1
    below_all, count = math.fsum(one.below for one in sums.values()), len(sums)
    value = math.fsum(one.above for one in sums.values()) / below_all
    if count == 1:
        return Estimate(
            value=value,
            standard_error=math.inf,
            low=-math.inf,
            high=math.inf,
            confidence=confidence,
            p_value=1.0,
            num_clusters=1,
            degrees=1.0,
        )
    for above, below, cluster in zip(numerators, denominators, clusters, strict=True):
        sums[cluster].squares += (above - value * below) ** 2
    # The deviation of the estimate without a cluster, written so that equal clusters give exactly zero.
    deviations = [(value * one.below - one.above) / (below_all - one.below) for one in sums.values()]
    mean = math.fsum(deviations) / count
    spread = math.fsum((deviation - mean) ** 2 for deviation in deviations)
    residuals = [one.above - value * one.below for one in sums.values()]
    total = math.fsum(residual**2 for residual in residuals)
    return Estimate.of(
        value,
        math.sqrt((count - 1) / count * spread),
        degrees=_degrees(list(sums.values()), residuals),
        skewness=math.fsum(residual**3 for residual in residuals) / total**1.5 if total > 0 else 0.0,
        num_clusters=count,
        confidence=confidence,
    )


def _degrees(clusters: Sequence[_Cluster], residuals: Sequence[float]) -> float:
    """Return Satterthwaite's degrees of freedom of the jackknife's variance; at least 1.

    Cases of a cluster are taken to correlate alike, by as much as their residuals do. The sums of squares of the
    matrix of covariances are written out, so that time grows with the clusters and not with their square.
    """
    pairs = sum(one.count * (one.count - 1) for one in clusters)
    squares, cases = math.fsum(one.squares for one in clusters), sum(one.count for one in clusters)
    correlation = 0.0
    if pairs and squares > 0:
        products = math.fsum(r * r - one.squares for one, r in zip(clusters, residuals, strict=True))
        correlation = min(1.0, max(0.0, products / pairs / (squares / cases)))
    below_all = math.fsum(one.below for one in clusters)
    trace = norm = xx = xy = yy = 0.0
    everything = math.fsum(one.count * (1 + (one.count - 1) * correlation) for one in clusters)
    for one in clusters:
        share, variance = one.below / below_all, one.count * (1 + (one.count - 1) * correlation)
        weight = 1 / (1 - share) ** 2
        trace += weight * (variance - 2 * share * variance + share * share * everything)
        norm += (weight * variance) ** 2
        norm += 2 * weight * weight * variance * share * (share * everything - 2 * variance)
        xx, xy, yy = xx + weight * share**2, xy + weight * share * variance, yy + weight * variance**2
    norm += 2 * xx * yy + 2 * xy**2 + (everything * xx) ** 2 - 4 * everything * xx * xy
    return max(1.0, trace**2 / norm)


def proportion(scores: Sequence[float], clusters: Sequence[Hashable], *, confidence: float) -> Estimate:
    """Estimate a share of right answers: Wilson's interval with the number of cases over the design effect.

    Shapes: scores [N] of 0 or 1, clusters [N].
    Source: Wilson 1927; design effect and t as in Korn & Graubard 1998, adapted by Dean & Pagano 2015.
    """
    naive = ratio(scores, [1.0] * len(scores), clusters, confidence=confidence)
    critical = NormalDist().inv_cdf((1 + confidence) / 2)
    if 1 < naive.num_clusters < len(scores):
        critical = student_t_quantile((1 + confidence) / 2, naive.degrees)
    low, high = wilson(naive.value, effective_cases(naive, len(scores)), critical=critical)
    return replace(naive, low=low, high=high)


def effective_cases(share: Estimate, count: int) -> float:
    """Return how many independent cases say as much about a share as these `count` do: count over design effect."""
    if share.num_clusters == count:
        return float(count)
    if share.num_clusters == 1:
        return 1.0
    variance = share.value * (1 - share.value)
    design = share.standard_error**2 * count / variance if variance > 0 else count / share.num_clusters
    return count / max(1.0, design)


def wilson(share: float, count: float, *, critical: float) -> tuple[float, float]:
    """Return Wilson's score interval of a share observed in `count` independent cases."""
    square = critical**2
    centre = share + square / (2 * count)
    half = critical * math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    scale = 1 + square / count
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def mcnemar_exact(num_better: int, num_worse: int) -> float:
    """Return the two-sided exact p-value that better and worse are equally likely.

    Source: McNemar 1947, in the exact binomial form; binomial tail by DLMF 8.17.5.
    """
    count, smaller = num_better + num_worse, min(num_better, num_worse)
    if count == 0:
        return 1.0
    return min(1.0, 2 * _incomplete_beta(count - smaller, smaller + 1, 0.5))


def mcnemar_clustered(gains: Sequence[int]) -> float:
    """Return the two-sided p-value that both models are equally good when cases of a cluster depend on each other.

    `gains` holds cases won less cases lost per cluster. If the models are equal their names could be swapped in any
    cluster, so every pattern of signs is equally likely: the patterns are counted. With one case a cluster this is
    `mcnemar_exact`.
    Source: Fisher 1935, The Design of Experiments, section 21; beyond EXACT_WORK_MAX the normal form with equal
    weight of cases: Durkalski et al. 2003, Analysis of clustered matched-pair data.
    """
    sizes = [abs(gain) for gain in gains if gain]
    total, seen = sum(sizes), abs(sum(gains))
    if not sizes:
        return 1.0
    if total == len(sizes):
        return mcnemar_exact((total + seen) // 2, (total - seen) // 2)
    if len(sizes) * total > EXACT_WORK_MAX:
        return 2 * NormalDist().cdf(-seen / math.sqrt(sum(size * size for size in sizes)))
    # Patterns whose negative part sums to k leave total - 2 k; extreme ones have k <= (total - seen) / 2, or mirrored.
    ways = [1] + [0] * total
    for size in sizes:
        for k in range(total, size - 1, -1):
            ways[k] += ways[k - size]
    tail = sum(ways[: (total - seen) // 2 + 1])
    return min(1.0, float(2 * tail / 2 ** len(sizes)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number: those at most a keep the chance of any false claim at most a.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    adjusted, largest = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def design_effect(clusters: Sequence[Hashable], *, correlation: float = CLUSTER_CORRELATION) -> float:
    """Return by how much cases that depend on each other inflate a variance; 1 when every case is its own cluster.

    Source: Kish 1965, Survey Sampling, section 5.4, with the mean cluster size weighted by cases.
    """
    sizes = Counter(clusters).values()
    return 1 + (sum(size * size for size in sizes) / sum(sizes) - 1) * correlation


def cases_to_see(
    difference: float, *, design: float = 1.0, variance: float = DIFFERENCE_VARIANCE, level: float = LEVEL
) -> int:
    """Return how many cases a paired comparison needs to tell a true `difference` from zero with 80 % power.

    Units: `variance` of the difference of one case, in squares of the unit of `difference`; `level` one-sided.
    Source: Miller 2024, Adding Error Bars to Evals, section 5, with the design effect of clusters.
    """
    return min(CASES_NEEDED_MAX, math.ceil(_power_factor(level) ** 2 * variance * design / difference**2))


def smallest_difference(
    num_cases: int, *, design: float = 1.0, variance: float = DIFFERENCE_VARIANCE, level: float = LEVEL
) -> float:
    """Return the smallest difference that a paired comparison of so many cases sees with 80 % power.

    Units as in `cases_to_see`, of which it is the inverse.
    """
    return _power_factor(level) * math.sqrt(variance * design / num_cases)


def cases_needed(num_cases: int, *, standard_error: float, distance: float, level: float = LEVEL) -> int:
    """Return how many cases like the ones seen would tell a true `distance` from zero with 80 % power."""
    if distance == 0 or not math.isfinite(standard_error):
        return CASES_NEEDED_MAX
    needed = num_cases * (_power_factor(level) * standard_error / distance) ** 2
    return min(CASES_NEEDED_MAX, max(num_cases + 1, math.ceil(needed)))


@lru_cache(maxsize=1024)
def student_t_quantile(probability: float, degrees: float) -> float:
    """Return the value below which Student's t lies with `probability`."""
    if probability < 0.5:
        return -student_t_quantile(1 - probability, degrees)
    low, high = 0.0, 1.0
    while student_t_cdf(high, degrees) < probability:
        low, high = high, high * 2
    for _ in range(52):  # to the last bit of a float
        middle = (low + high) / 2
        if student_t_cdf(middle, degrees) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def student_t_cdf(value: float, degrees: float) -> float:
    """Return the probability that Student's t lies below `value`.

    Source: DLMF 8.17; Abramowitz & Stegun 26.7.1.
    """
    tail = _incomplete_beta(degrees / 2, 0.5, degrees / (degrees + value * value)) / 2
    return tail if value < 0 else 1 - tail


def _power_factor(level: float) -> float:
    """Return how many standard errors a difference must be for 80 % power: 2.80 at 2.5 % one-sided."""
    return NormalDist().inv_cdf(1 - level) + NormalDist().inv_cdf(POWER)


def _p_above(value: float, error: float, degrees: float, skewness: float) -> float:
    """Return the chance of a value so high, or higher, when the truth is 0."""
    if error == 0:
        return 0.5 if value == 0 else float(value < 0)
    t = value / error
    skewed = _skewed(t, skewness)
    cautious = max(0.0, min(t, skewed)) if t > 0 else min(0.0, max(t, skewed))
    return student_t_cdf(-cautious, degrees)


def _skewed(t: float, skewness: float) -> float:
    """Return Hall's transformation of a t statistic, which is nearer to Student's t than it is."""
    if abs(skewness) < _SKEWNESS_MIN:
        return t
    return ((1 + skewness * t / 3) ** 3 - 1) / skewness + skewness / 6


def _unskewed(value: float, skewness: float) -> float:
    """Return the t statistic that Hall's transformation takes to a value."""
    if abs(skewness) < _SKEWNESS_MIN:
        return value
    return 3 / skewness * (math.cbrt(1 + skewness * (value - skewness / 6)) - 1)


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    # The fraction converges fast only below the mean; the symmetry relation covers the rest.
    if x < (a + 1) / (a + b + 2):
        return front * _beta_fraction(a, b, x) / a
    return 1 - front * _beta_fraction(b, a, 1 - x) / b


def _beta_fraction(a: float, b: float, x: float) -> float:
    """Evaluate the continued fraction DLMF 8.17.22 by Lentz's method."""
    tiny = 1e-300
    c, d = 1.0, 1 / _away_from_zero(1 - (a + b) * x / (a + 1), tiny)
    result = d
    for m in range(1, 500):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _away_from_zero(1 + term * d, tiny)
            c = _away_from_zero(1 + term / c, tiny)
            result *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return result


def _away_from_zero(value: float, tiny: float) -> float:
    return value if abs(value) > tiny else tiny
