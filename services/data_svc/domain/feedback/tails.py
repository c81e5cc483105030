"""Chances in the tails of three distributions, on the standard library."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["beta_binomial_tail", "fit_rates", "normal_tail", "poisson_tail"]

_SPREAD_MAX = 0.5
_INSIDE_SQUARED = 9.0


def poisson_tail(count: int, mean: float) -> float:
    """Return the chance of at least `count` when `mean` is expected."""
    if count <= 0:
        return 1.0
    if mean <= 0:
        return 0.0
    if count <= mean:
        return max(0.0, 1 - sum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(count)))
    term, total, k = math.exp(count * math.log(mean) - mean - math.lgamma(count + 1)), 0.0, count
    while term > total * 1e-12:
        total, k = total + term, k + 1
        term *= mean / k
    return min(1.0, total)


def normal_tail(value: float) -> float:
    """Return the chance of at least `value` standard deviations above the mean."""
    return 0.5 * math.erfc(value / math.sqrt(2))


def beta_binomial_tail(yes: int, n: int, rate: float, spread: float) -> float:
    """Return the chance of at least `yes` of `n` when rates differ by `spread`, 0 to below 1, around `rate`."""
    if yes <= 0:
        return 1.0
    if spread < 1e-9:
        up, down = math.log(rate), math.log1p(-rate)
        logs = [_choose(n, k) + k * up + (n - k) * down for k in range(yes, n + 1)]
    else:
        a, b = rate * (1 / spread - 1), (1 - rate) * (1 / spread - 1)
        base = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) - math.lgamma(a + b + n)
        logs = [base + _choose(n, k) + math.lgamma(a + k) + math.lgamma(b + n - k) for k in range(yes, n + 1)]
    return min(1.0, math.fsum(map(math.exp, logs)))


def fit_rates(counts: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """Return the mean rate of (yes, n) pairs and how much they differ: 0 not at all, 1 each always says the same.

    By moments over those within three standard deviations, so that a few strange ones do not hide themselves.
    """
    total = sum(n for _, n in counts)
    if not total:
        return 0.5, 0.0
    low, high = 0.5 / total, 1 - 0.5 / total
    rate, spread = min(max(sum(yes for yes, _ in counts) / total, low), high), 0.0
    for _ in range(5):
        inside = [
            (yes, n)
            for yes, n in counts
            if (yes - n * rate) ** 2 <= _INSIDE_SQUARED * n * rate * (1 - rate) * (1 + (n - 1) * spread)
        ]
        linear, quadratic = sum(n for _, n in inside), sum(n * (n - 1) for _, n in inside)
        if not quadratic:
            break
        squares = sum((yes - n * rate) ** 2 for yes, n in inside) / (rate * (1 - rate))
        spread = min(max((squares - linear) / quadratic, 0.0), _SPREAD_MAX)
        rate = min(max(sum(yes for yes, _ in inside) / linear, low), high)
    return rate, spread


def _choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
