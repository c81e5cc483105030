"""What the cases say about one rule: an estimate, its interval, and how surely it lies above the rule's limit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from statistics import NormalDist

from eval_svc.domain import bootstrap
from eval_svc.domain.cases import Grader
from eval_svc.domain.compare import Pair, adjusted_difference, log_change, pair_up
from eval_svc.domain.judge import Anchors, corrected_difference, corrected_share
from eval_svc.domain.results import CaseResult, safe_exp, why_invalid
from eval_svc.domain.statistics import Estimate, effective_cases, proportion, ratio, student_t_cdf

__all__ = ["Effect", "Gap", "Relation", "Rule", "in_slice", "measure"]


class Relation(StrEnum):
    """What a rule asks of a candidate."""

    DIFFERENCE = "difference"
    NON_INFERIOR = "non_inferior"
    SUPERIOR = "superior"
    FLOOR = "floor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a candidate must show on one suite, or on the cases of it whose cluster matches `slice`.

    Units: `limit` is a gain, better counted as positive, in score units, for perplexity and `relative` rules as a
    share of the baseline's score; for FLOOR it is a score.
    """

    suite: str
    limit: float
    blocking: bool
    relation: Relation = Relation.DIFFERENCE
    relative: bool = False
    slice: str = ""
    anchors: Anchors | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """An estimate against a limit.

    Units: `value`, `low`, `high` as the rule's limit; `distance` from the limit and `standard_error` on the scale of
    the test. `p_above` is the one-sided p-value against "the truth is no better than the limit".
    """

    value: float
    low: float
    high: float
    confidence: float
    p_above: float
    distance: float
    standard_error: float
    num_cases: int
    num_clusters: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Why there is no estimate; `invalid` if the suite was run but its results must not count."""

    reason: str
    invalid: bool = False


def in_slice(cluster: str, pattern: str) -> bool:
    """Say whether a case belongs to a slice, such as `contracts/*`; every case belongs to the empty one."""
    return not pattern or fnmatchcase(cluster, pattern)


def measure(
    rule: Rule,
    baseline: Sequence[CaseResult] | None,
    candidate: Sequence[CaseResult],
    grader: Grader,
    *,
    confidence: float,
) -> Effect | Gap:
    """Measure what a rule is about; `confidence` is that of the interval, two-sided.

    Shapes: results of both models on the whole suite; a floor needs no baseline.
    """
    unfit = _why_unfit(rule, grader)
    if unfit:
        return Gap(unfit, invalid=True)
    floor = rule.relation is Relation.FLOOR
    if baseline is None and not floor:
        return Gap("The run of the baseline has no results on this suite.")
    chosen = []
    for name, results in (("candidate", candidate), ("baseline", baseline or ())):
        chosen.append([result for result in results if in_slice(result.cluster, rule.slice)])
        if name == "baseline" and floor:
            continue
        if not chosen[-1]:
            return Gap(f"No case of the suite has a cluster like {rule.slice!r}.")
        if why_invalid(chosen[-1]):
            return Gap(f"Run of the {name}: {why_invalid(chosen[-1])}.", invalid=True)
    if floor:
        return _floor_effect(chosen[0], rule, grader, confidence=confidence)
    pairs = pair_up(chosen[1], chosen[0])
    return (
        _gain_effect(pairs, rule, grader, confidence=confidence) if pairs else Gap("No case was scored in both runs.")
    )


def _why_unfit(rule: Rule, grader: Grader) -> str:
    if rule.anchors and grader is Grader.PERPLEXITY:
        return "Perplexity has no judge; take the anchors away."
    if rule.relation is Relation.FLOOR and grader is not Grader.PERPLEXITY and rule.limit >= 1:
        return f"A floor for a share of right answers must lie below 1; got {rule.limit:g}."
    return rule.anchors.why_unfit() if rule.anchors else ""


def _gain_effect(pairs: Sequence[Pair], rule: Rule, grader: Grader, *, confidence: float) -> Effect | Gap:
    """Measure the candidate's gain over the baseline."""
    if grader is Grader.PERPLEXITY:
        return _perplexity_gain(pairs, rule, confidence)
    if rule.relative:
        return _relative_gain(pairs, rule, confidence)
    estimate = adjusted_difference(pairs, confidence=confidence)
    if rule.anchors:
        estimate = corrected_difference(estimate, rule.anchors, confidence=confidence)
    value = math.fsum((pair.candidate.score or 0.0) - (pair.baseline.score or 0.0) for pair in pairs) / len(pairs)
    if rule.anchors:
        value /= rule.anchors.youden
    found = _effect(estimate, rule.limit, len(pairs), value=value, low=estimate.low, high=estimate.high)
    return replace(found, num_clusters=len({pair.baseline.cluster for pair in pairs}))  # without the invented two


def _floor_effect(results: Sequence[CaseResult], rule: Rule, grader: Grader, *, confidence: float) -> Effect:
    """Measure the candidate's own score; at least one case is scored."""
    scored = [result for result in results if result.score is not None]
    clusters = [result.cluster for result in scored]
    if grader is Grader.PERPLEXITY:
        nll = ratio([r.nll for r in scored], [float(r.tokens) for r in scored], clusters, confidence=confidence)
        low, high = safe_exp(nll.low), safe_exp(nll.high)
        return _effect(_negated(nll), -math.log(rule.limit), len(scored), value=safe_exp(nll.value), low=low, high=high)
    share = proportion([result.score or 0.0 for result in scored], clusters, confidence=confidence)
    if rule.anchors:
        naive = ratio([result.score or 0.0 for result in scored], [1.0] * len(scored), clusters, confidence=confidence)
        true = corrected_share(naive, rule.anchors, confidence=confidence)
        return _effect(true, rule.limit, len(scored), value=true.value, low=true.low, high=true.high)
    # Wilson's interval is this test turned round: the error is the one that would hold at the limit.
    error = math.sqrt(rule.limit * (1 - rule.limit) / effective_cases(share, len(scored)))
    score = (share.value - rule.limit) / error
    independent = share.num_clusters == len(scored)
    return Effect(
        value=share.value,
        low=share.low,
        high=share.high,
        confidence=confidence,
        p_above=NormalDist().cdf(-score) if independent else student_t_cdf(-score, share.degrees),
        distance=share.value - rule.limit,
        standard_error=error,
        num_cases=len(scored),
        num_clusters=share.num_clusters,
    )


def _perplexity_gain(pairs: Sequence[Pair], rule: Rule, confidence: float) -> Effect:
    """Measure by how much less perplexity the candidate has, as a share of the baseline's."""
    change = log_change(pairs, confidence=confidence)
    low, high = (1 - safe_exp(bound) for bound in (change.high, change.low))
    return _effect(
        _negated(change), -math.log1p(-rule.limit), len(pairs), value=1 - safe_exp(change.value), low=low, high=high
    )


def _relative_gain(pairs: Sequence[Pair], rule: Rule, confidence: float) -> Effect | Gap:
    clusters = [pair.baseline.cluster for pair in pairs]
    num_clusters = len(set(clusters))
    if num_clusters < bootstrap.CLUSTERS_MIN:
        return Gap(f"A relative change needs {bootstrap.CLUSTERS_MIN} independent groups; got {num_clusters}.")
    change = bootstrap.relative_change(
        [pair.baseline.score or 0.0 for pair in pairs], [pair.candidate.score or 0.0 for pair in pairs], clusters
    )
    if change is None:
        return Gap("The baseline's score is so near zero that a relative change means nothing.")
    low, high = change.bounds(confidence)
    return Effect(
        value=change.value,
        low=low,
        high=high,
        confidence=confidence,
        p_above=change.p_above(rule.limit),
        distance=change.value - rule.limit,
        standard_error=change.standard_error,
        num_cases=len(pairs),
        num_clusters=num_clusters,
    )


def _effect(estimate: Estimate, limit: float, num_cases: int, *, value: float, low: float, high: float) -> Effect:
    """Test an estimate against a limit on its own scale; `value`, `low` and `high` are what people read."""
    distance = estimate.value - limit
    # Without any spread an estimate at the limit itself must not pass.
    p_above = estimate.p_above(limit) if distance or estimate.standard_error else 1.0
    return Effect(
        value=value,
        low=low,
        high=high,
        confidence=estimate.confidence,
        p_above=p_above,
        distance=distance,
        standard_error=estimate.standard_error,
        num_cases=num_cases,
        num_clusters=estimate.num_clusters,
    )


def _negated(estimate: Estimate) -> Estimate:
    return replace(estimate, value=-estimate.value, low=-estimate.high, high=-estimate.low, skewness=-estimate.skewness)
