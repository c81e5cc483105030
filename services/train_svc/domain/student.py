"""Quantiles of Student's t, for means of a few runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["mean_interval", "student_quantile"]

_STEPS = 400  # of Simpson's rule; at 200 the quantiles agree to 1e-6
_FAR = 200.0


def student_quantile(probability: float, degrees: int) -> float:
    """Return t with P(T <= t) = probability, for 0.5 <= probability <= 0.995 and one degree of freedom or more."""
    log_scale = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - 0.5 * math.log(degrees * math.pi)

    def density(t: float) -> float:
        return math.exp(log_scale - (degrees + 1) / 2 * math.log1p(t * t / degrees))

    def above_half(t: float) -> float:
        width = t / _STEPS
        inner = sum((4 if i % 2 else 2) * density(i * width) for i in range(1, _STEPS))
        return width / 3 * (density(0.0) + inner + density(t))

    low, high = 0.0, _FAR
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if above_half(middle) < probability - 0.5 else (low, middle)
    return (low + high) / 2


def mean_interval(values: Sequence[float], *, level: float = 0.9) -> tuple[float, float, float]:
    """Return the mean of two or more values and the ends of its two-sided interval."""
    count = len(values)
    mean = sum(values) / count
    variance = sum((value - mean) ** 2 for value in values) / (count - 1)
    reach = student_quantile((1 + level) / 2, count - 1) * math.sqrt(variance / count)
    return mean, mean - reach, mean + reach
