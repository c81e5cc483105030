"""Verdicts on a candidate: rule by rule, then over all.

The gate passes only if every blocking rule passes. Such an intersection of tests needs no correction for their number
to keep the chance of a false pass (Berger 1982). A policy corrects all the same, by Holm over its blocking rules: each
rule's verdict is read on its own, and one false FAIL among twenty rules would stop a good model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from eval_svc.config import CLUSTERS_MIN
from eval_svc.domain.effect import Effect, Gap, Relation, Rule
from eval_svc.domain.statistics import CASES_NEEDED_MAX, cases_needed, holm

__all__ = ["Outcome", "Verdict", "decide", "decide_rules", "worse"]


class Verdict(StrEnum):
    """How a rule or a gate came out; only PASS lets a model through."""

    PASS = "pass"  # noqa: S105 - a verdict, no password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    MISSING = "missing"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one rule came out; `p_value` is against the limit, in favour of passing, corrected if the gate corrects."""

    rule: Rule
    verdict: Verdict
    explanation: str
    num_cases_needed: int = 0
    p_value: float = 1.0
    effect: Effect | None = None


def decide(outcomes: Sequence[Outcome]) -> Verdict:
    """Decide the gate: PASS when every blocking rule passed, FAIL when one failed, else INCONCLUSIVE."""
    verdicts = {outcome.verdict for outcome in outcomes if outcome.rule.blocking}
    if Verdict.FAIL in verdicts:
        return Verdict.FAIL
    return Verdict.PASS if verdicts == {Verdict.PASS} else Verdict.INCONCLUSIVE


def worse(one: Verdict, other: Verdict) -> Verdict:
    """Return the verdict of a gate that must hold in two ways: FAIL if either failed, PASS if both passed."""
    if Verdict.FAIL in {one, other}:
        return Verdict.FAIL
    return Verdict.PASS if one is other is Verdict.PASS else Verdict.INCONCLUSIVE


def decide_rules(
    rules: Sequence[Rule], found: Sequence[Effect | Gap], *, level: float, corrected: bool
) -> list[Outcome]:
    """Decide every rule at a one-sided level; `corrected` shares it among the blocking rules by Holm's procedure.

    Shapes: one finding per rule. A rule without a valid estimate counts in the correction as one that proves nothing.
    """
    above = [one.p_above if isinstance(one, Effect) and one.num_clusters >= CLUSTERS_MIN else 1.0 for one in found]
    below = [1 - one.p_above if isinstance(one, Effect) and one.num_clusters >= CLUSTERS_MIN else 1.0 for one in found]
    family = [index for index, rule in enumerate(rules) if rule.blocking] if corrected else []
    for p_values in (above, below):
        for index, p_value in zip(family, holm([p_values[index] for index in family]), strict=True):
            p_values[index] = p_value
    return [
        _decide_rule(rule, one, p_values, level=level, number=len(family) if rule.blocking and family else 1)
        for rule, one, *p_values in zip(rules, found, above, below, strict=True)
    ]


def _decide_rule(rule: Rule, found: Effect | Gap, p_values: Sequence[float], *, level: float, number: int) -> Outcome:
    if isinstance(found, Gap):
        verdict = Verdict.INVALID if found.invalid else Verdict.MISSING
        return Outcome(rule=rule, verdict=verdict, explanation=found.reason)
    facts, limit = _facts(rule, found), _text(rule, rule.limit)
    above, below = p_values
    if found.num_clusters < CLUSTERS_MIN:
        return Outcome(
            rule=rule,
            verdict=Verdict.INCONCLUSIVE,
            explanation=f"{facts} A verdict needs {CLUSTERS_MIN} independent groups; got {found.num_clusters}.",
            num_cases_needed=math.ceil(found.num_cases * CLUSTERS_MIN / found.num_clusters),
            effect=found,
        )
    shared = f", corrected for {number} rules" if number > 1 else ""
    for verdict, side, p_value in ((Verdict.PASS, "Better", above), (Verdict.FAIL, "Worse", below)):
        if p_value <= level:
            why = f"{facts} {side} than the limit {limit}: p {p_value:.2g}{shared}, at most {level:g} allowed."
            return Outcome(rule=rule, verdict=verdict, explanation=why, p_value=above, effect=found)
    needed = cases_needed(
        found.num_cases, standard_error=found.standard_error, distance=found.distance, level=level / number
    )
    enough = "no number of cases" if needed >= CASES_NEEDED_MAX else f"about {needed:,} cases like these"
    return Outcome(
        rule=rule,
        verdict=Verdict.INCONCLUSIVE,
        explanation=(
            f"{facts} The limit {limit} cannot be told from it: p {min(above, below):.2g}{shared}, at most {level:g} "
            f"allowed. It has {found.num_cases:,} cases; {enough} would probably decide."
        ),
        num_cases_needed=needed,
        p_value=above,
        effect=found,
    )


def _facts(rule: Rule, effect: Effect) -> str:
    where = f" in {rule.slice}" if rule.slice else ""
    judged = ", judge corrected by human anchors" if rule.anchors else ""
    interval = f"{effect.confidence:.0%} interval {_text(rule, effect.low)} to {_text(rule, effect.high)}{judged}."
    if rule.relation is Relation.FLOOR:
        return f"Score{where} {_text(rule, effect.value)}, {interval}"
    word = "better" if effect.value >= 0 else "worse"
    return f"The candidate is {abs(effect.value):.1%} {word}{where}, {interval}"


def _text(rule: Rule, value: float) -> str:
    return f"{value:.4g}" if rule.relation is Relation.FLOOR else f"{value:+.1%}"
