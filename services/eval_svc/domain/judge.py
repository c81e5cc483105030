"""What a judge's scores say about the truth, by answers that people judged too.

A judge that finds 90 % of the right answers and lets 20 % of the wrong ones through reports a share that is off by
many points, and an interval around it that covers the truth as good as never. The corrections here move the share
and widen the interval by what the anchors leave unknown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from eval_svc.domain.statistics import Estimate

__all__ = ["Anchors", "corrected_difference", "corrected_share"]

# A judge below this tells right from wrong so badly that the correction blows every error up more than twofold.
YOUDEN_MIN = 0.5
LABELS_MIN = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchors:
    """Answers that people judged: how many were right, how many wrong, and on how many of each the judge agreed."""

    num_right: int
    num_right_agreed: int
    num_wrong: int
    num_wrong_agreed: int

    @property
    def sensitivity(self) -> float:
        """Share of right answers that the judge calls right."""
        return self.num_right_agreed / self.num_right

    @property
    def specificity(self) -> float:
        """Share of wrong answers that the judge calls wrong."""
        return self.num_wrong_agreed / self.num_wrong

    @property
    def youden(self) -> float:
        """Sensitivity + specificity - 1: 1 for a perfect judge, 0 for one that guesses."""
        return self.sensitivity + self.specificity - 1

    @property
    def sensitivity_variance(self) -> float:
        """Variance of the sensitivity."""
        return self.sensitivity * (1 - self.sensitivity) / self.num_right

    @property
    def specificity_variance(self) -> float:
        """Variance of the specificity."""
        return self.specificity * (1 - self.specificity) / self.num_wrong

    def why_unfit(self) -> str:
        """Say why no verdict may rest on this judge; empty when one may."""
        few = min(self.num_right, self.num_wrong)
        if few < LABELS_MIN:
            return f"the judge needs {LABELS_MIN} right and {LABELS_MIN} wrong answers that people judged; got {few}"
        if self.youden < YOUDEN_MIN:
            return f"sensitivity + specificity - 1 of the judge must be at least {YOUDEN_MIN}; got {self.youden:.2f}"
        return ""


def corrected_share(judged: Estimate, anchors: Anchors, *, confidence: float) -> Estimate:
    """Return the true share of right answers behind the share that the judge reports.

    Source: Rogan & Gladen 1978; variance with both error rates estimated: Lee et al. 2025, arXiv 2511.21140, here
    with the judged share's variance over clusters.
    """
    value = (judged.value + anchors.specificity - 1) / anchors.youden
    variance = (
        judged.standard_error**2
        + (1 - value) ** 2 * anchors.specificity_variance
        + value**2 * anchors.sensitivity_variance
    ) / anchors.youden**2
    return _estimate(value, variance, judged, anchors, confidence)


def corrected_difference(judged: Estimate, anchors: Anchors, *, confidence: float) -> Estimate:
    """Return the true paired difference behind the difference that the judge reports.

    The judge must err on both models alike; then its false alarms cancel and only the scale is off, by Youden's index.
    Source: delta method on the difference of two Rogan-Gladen shares with common error rates.
    """
    value = judged.value / anchors.youden
    doubt = anchors.sensitivity_variance + anchors.specificity_variance
    variance = (judged.standard_error**2 + value**2 * doubt) / anchors.youden**2
    return _estimate(value, variance, judged, anchors, confidence)


def _estimate(value: float, variance: float, source: Estimate, anchors: Anchors, confidence: float) -> Estimate:
    """Return an estimate with as many clusters and degrees of freedom as its `source`."""
    error = math.sqrt(variance)
    # What the anchors add is symmetric, so it dilutes the skewness of the judged share.
    share = source.standard_error / anchors.youden / error if error > 0 else 0.0
    return Estimate.of(
        value,
        error,
        degrees=source.degrees,
        skewness=source.skewness * share**3,
        num_clusters=source.num_clusters,
        confidence=confidence,
    )
