"""Verdicts on a candidate: rule by rule, then over all.

The gate passes only if every blocking rule passes. Such an intersection of tests needs no correction for their number:
a candidate that misses one limit passes that rule, and so the gate, at most 2.5 times in 100 (Berger 1982).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from eval_svc.config import CLUSTERS_MIN
from eval_svc.domain.compare import Paired
from eval_svc.domain.statistics import CASES_NEEDED_MAX, cases_needed

__all__ = ["Outcome", "Rule", "Verdict", "decide", "decide_rule"]


class Verdict(StrEnum):
    """How a rule or a gate came out; only PASS lets a model through."""

    PASS = "pass"  # noqa: S105 - a verdict, no password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a candidate must show on one suite; `min_difference` counts better as positive."""

    suite: str
    min_difference: float
    blocking: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one rule came out."""

    rule: Rule
    verdict: Verdict
    explanation: str
    num_cases_needed: int = 0


def decide(outcomes: Sequence[Outcome]) -> Verdict:
    """Decide the gate: PASS when every blocking rule passed, FAIL when one failed, else INCONCLUSIVE."""
    verdicts = {outcome.verdict for outcome in outcomes if outcome.rule.blocking}
    if Verdict.FAIL in verdicts:
        return Verdict.FAIL
    return Verdict.PASS if verdicts == {Verdict.PASS} else Verdict.INCONCLUSIVE


def decide_rule(rule: Rule, paired: Paired | None, *, missing: str = "") -> Outcome:
    """Decide one rule by its evidence; `missing` says why there is none."""
    if paired is None:
        return Outcome(rule=rule, verdict=Verdict.MISSING, explanation=missing or "The suite was not run.")
    sign = 1 if paired.higher_is_better else -1
    gain = sign * paired.difference
    low, high = sorted((sign * paired.low, sign * paired.high))
    limit = rule.min_difference
    facts = _facts(paired, gain, low, high)
    if paired.num_clusters < CLUSTERS_MIN:
        return Outcome(
            rule=rule,
            verdict=Verdict.INCONCLUSIVE,
            explanation=f"{facts} A verdict needs {CLUSTERS_MIN} independent groups; got {paired.num_clusters}.",
            num_cases_needed=math.ceil(paired.num_pairs * CLUSTERS_MIN / paired.num_clusters),
        )
    if low > limit:
        return Outcome(
            rule=rule, verdict=Verdict.PASS, explanation=f"{facts} All of it lies above the limit {limit:+.1%}."
        )
    if high < limit:
        return Outcome(
            rule=rule, verdict=Verdict.FAIL, explanation=f"{facts} All of it lies below the limit {limit:+.1%}."
        )
    needed = cases_needed(paired.num_pairs, standard_error=paired.standard_error, distance=gain - limit)
    enough = "no number of cases" if needed >= CASES_NEEDED_MAX else f"about {needed} cases like these"
    return Outcome(
        rule=rule,
        verdict=Verdict.INCONCLUSIVE,
        explanation=f"{facts} The limit {limit:+.1%} lies inside; {enough} would probably decide.",
        num_cases_needed=needed,
    )


def _facts(paired: Paired, gain: float, low: float, high: float) -> str:
    measure = "Share of right answers" if paired.higher_is_better else "Perplexity"
    word = "better" if gain >= 0 else "worse"
    return (
        f"{measure} {paired.baseline:.4g} -> {paired.candidate:.4g}: {abs(gain):.1%} {word}, "
        f"95 % interval of the gain {low:+.1%} to {high:+.1%}."
    )
