"""Before a run: how many cases a suite needs to see a difference, from a pilot or from what real suites showed."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

from eval_svc.config import CLUSTERS_MIN, CONFIDENCE
from eval_svc.domain.cases import Grader
from eval_svc.domain.compare import Pair, adjusted_difference, log_change
from eval_svc.domain.statistics import (
    CASES_NEEDED_MAX,
    DIFFERENCE_VARIANCE,
    cases_to_see,
    design_effect,
    smallest_difference,
)

__all__ = ["Pilot", "Plan", "pilot_of", "plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pilot:
    """What two earlier runs showed: variance of the difference of one case, and how dependent cases inflate it."""

    variance: float
    design: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a suite has and needs; `detectable` is the smallest difference it sees as it is."""

    num_cases: int
    num_clusters: int
    num_cases_needed: int
    detectable: float
    variance: float
    design: float
    explanation: str


def pilot_of(pairs: Sequence[Pair], grader: Grader) -> Pilot:
    """Measure variance and design effect on the pairs of two earlier runs; at least two clusters."""
    estimate = log_change if grader is Grader.PERPLEXITY else adjusted_difference
    apart = [
        Pair(replace(pair.baseline, cluster=pair.baseline.id), replace(pair.candidate, cluster=pair.candidate.id))
        for pair in pairs
    ]
    clustered, independent = (estimate(p, confidence=CONFIDENCE).standard_error ** 2 for p in (pairs, apart))
    return Pilot(variance=independent * len(pairs), design=clustered / independent if independent > 0 else 1.0)


def plan(clusters: Sequence[Hashable], difference: float, grader: Grader, pilot: Pilot | None) -> Plan:
    """Plan a paired comparison with 80 % power at 5 %, two-sided; without a pilot the grader must not be PERPLEXITY.

    Shapes: `clusters` [N], one entry per case of the suite. Groups are taken to stay as large as they are.
    Units: `difference` in score units; for perplexity a relative change.
    """
    pilot = pilot or Pilot(variance=DIFFERENCE_VARIANCE, design=design_effect(clusters))
    count, num_clusters = len(clusters), len(set(clusters))
    perplexity = grader is Grader.PERPLEXITY
    target = math.log1p(difference) if perplexity else difference
    needed = cases_to_see(target, design=pilot.design, variance=pilot.variance)
    needed = max(needed, math.ceil(CLUSTERS_MIN * count / num_clusters))
    seen = smallest_difference(count, design=pilot.design, variance=pilot.variance)
    seen = math.expm1(seen) if perplexity else seen
    verdict = "enough" if needed <= count else "too few"
    wanted = f"more than {CASES_NEEDED_MAX:,}" if needed >= CASES_NEEDED_MAX else f"{needed:,}"
    return Plan(
        num_cases=count,
        num_clusters=num_clusters,
        num_cases_needed=needed,
        detectable=seen,
        variance=pilot.variance,
        design=pilot.design,
        explanation=(
            f"has {count:,}, needs {wanted}: {verdict} to see a difference of {difference:.1%} four times in five; "
            f"as it is, it sees {seen:.1%}"
        ),
    )
