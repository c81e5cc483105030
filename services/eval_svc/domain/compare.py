"""Paired comparison of two models on the same cases."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from eval_svc.config import CONFIDENCE
from eval_svc.domain.cases import Grader
from eval_svc.domain.results import CaseResult, safe_exp
from eval_svc.domain.statistics import Estimate, mcnemar_clustered, ratio

__all__ = ["Pair", "Paired", "adjusted_difference", "compare", "flips", "log_change", "pair_up"]


@dataclass(frozen=True, slots=True)
class Pair:
    """What both models did on one case; both scored it."""

    baseline: CaseResult
    candidate: CaseResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """A difference with its interval.

    Units: `difference`, `low`, `high`, `standard_error` in score units, candidate minus baseline; for perplexity
    the relative change, so that -0.2 means a perplexity 20 % lower.
    """

    baseline: float
    candidate: float
    difference: float
    low: float
    high: float
    standard_error: float
    p_value: float
    num_pairs: int
    num_clusters: int
    num_better: int
    num_worse: int
    higher_is_better: bool


def pair_up(baseline: Sequence[CaseResult], candidate: Sequence[CaseResult]) -> list[Pair]:
    """Pair the cases that both models have a score for, in the baseline's order."""
    by_id = {result.id: result for result in candidate if result.score is not None}
    return [Pair(result, by_id[result.id]) for result in baseline if result.score is not None and result.id in by_id]


def compare(pairs: Sequence[Pair], grader: Grader) -> Paired:
    """Compare over pairs; at least one."""
    return _compare_perplexity(pairs) if grader is Grader.PERPLEXITY else _compare_correctness(pairs)


def flips(pairs: Sequence[Pair], grader: Grader, *, num_max: int) -> list[Pair]:
    """Pick the most telling changes: what got worse first, then what got better, largest change first."""
    changed = sorted(
        (pair for pair in pairs if _gain(pair, grader) != 0),
        key=lambda pair: (-abs(_gain(pair, grader)), pair.baseline.id),
    )
    worse = [pair for pair in changed if _gain(pair, grader) < 0]
    better = [pair for pair in changed if _gain(pair, grader) > 0]
    num_worse = max(num_max // 2, num_max - len(better))
    return worse[:num_worse] + better[: num_max - len(worse[:num_worse])]


def adjusted_difference(pairs: Sequence[Pair], *, confidence: float) -> Estimate:
    """Estimate the difference of scores between 0 and 1, candidate less baseline.

    One invented win and one invented loss, each a cluster of its own, keep the interval honest when few cases or none
    changed; without them ten unchanged cases would prove two models equal.
    Source: Bonett & Price 2012, Adjusted Wald confidence interval for a difference of binomial proportions based on
    paired data.
    """
    differences = [(pair.candidate.score or 0.0) - (pair.baseline.score or 0.0) for pair in pairs]
    clusters = [pair.baseline.cluster for pair in pairs]
    estimate = ratio(
        [*differences, 1.0, -1.0],
        [1.0] * (len(pairs) + 2),
        [*(("case", cluster) for cluster in clusters), ("invented", "win"), ("invented", "loss")],
        confidence=confidence,
    )
    return replace(estimate, low=max(-1.0, estimate.low), high=min(1.0, estimate.high))


def log_change(pairs: Sequence[Pair], *, confidence: float) -> Estimate:
    """Estimate the change in nats per token of the baseline.

    With one tokenizer this is the log of the ratio of the two perplexities; with two it still compares the same text.
    """
    return ratio(
        [pair.candidate.nll - pair.baseline.nll for pair in pairs],
        [float(pair.baseline.tokens) for pair in pairs],
        [pair.baseline.cluster for pair in pairs],
        confidence=confidence,
    )


def _compare_correctness(pairs: Sequence[Pair]) -> Paired:
    """Compare scores between 0 and 1."""
    differences = [(pair.candidate.score or 0.0) - (pair.baseline.score or 0.0) for pair in pairs]
    adjusted = adjusted_difference(pairs, confidence=CONFIDENCE)
    count = len(pairs)
    gains: defaultdict[str, float] = defaultdict(float)
    for pair, difference in zip(pairs, differences, strict=True):
        gains[pair.baseline.cluster] += difference
    whole = all(gain.is_integer() for gain in gains.values())
    return Paired(
        baseline=math.fsum(pair.baseline.score or 0.0 for pair in pairs) / count,
        candidate=math.fsum(pair.candidate.score or 0.0 for pair in pairs) / count,
        difference=math.fsum(differences) / count,
        low=adjusted.low,
        high=adjusted.high,
        standard_error=adjusted.standard_error,
        p_value=mcnemar_clustered([int(gain) for gain in gains.values()]) if whole else adjusted.p_value,
        num_pairs=count,
        num_clusters=len(gains),
        num_better=sum(d > 0 for d in differences),
        num_worse=sum(d < 0 for d in differences),
        higher_is_better=True,
    )


def _compare_perplexity(pairs: Sequence[Pair]) -> Paired:
    """Compare perplexities over the same text."""
    changes = [pair.candidate.nll - pair.baseline.nll for pair in pairs]
    change = log_change(pairs, confidence=CONFIDENCE)
    return Paired(
        baseline=_perplexity([pair.baseline for pair in pairs]),
        candidate=_perplexity([pair.candidate for pair in pairs]),
        difference=math.expm1(min(change.value, 700)),
        low=safe_exp(change.low) - 1,
        high=safe_exp(change.high) - 1,
        standard_error=change.standard_error * safe_exp(change.value),
        p_value=change.p_value,
        num_pairs=len(pairs),
        num_clusters=change.num_clusters,
        num_better=sum(c < 0 for c in changes),
        num_worse=sum(c > 0 for c in changes),
        higher_is_better=False,
    )


def _perplexity(results: Sequence[CaseResult]) -> float:
    return safe_exp(math.fsum(result.nll for result in results) / sum(result.tokens for result in results))


def _gain(pair: Pair, grader: Grader) -> float:
    if grader is Grader.PERPLEXITY:
        return (pair.baseline.nll - pair.candidate.nll) / pair.baseline.tokens
    return (pair.candidate.score or 0.0) - (pair.baseline.score or 0.0)
