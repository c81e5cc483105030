"""Whether what is served does a task as well as the model's own files, on the same cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eval_svc.config import CONFIDENCE
from eval_svc.domain.cases import Grader
from eval_svc.domain.compare import adjusted_difference, log_change, pair_up
from eval_svc.domain.results import CaseResult

__all__ = ["TaskCheck", "check_task"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCheck:
    """One check of a task; `value` must not exceed `limit`."""

    name: str
    value: float
    limit: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class _Limits:
    """Most that may differ: share of cases with another score, loss in score units, relative change of perplexity."""

    changed: float
    loss: float
    perplexity: float


# Rounding moves answers that were nearly tied. In fp32 one case in fifty may be; the loss is proved, not estimated.
_LIMITS = {
    "fp32": _Limits(0.02, 0.0, 1e-3),
    "fp16": _Limits(0.05, 0.01, 3e-3),
    "bf16": _Limits(0.10, 0.02, 1e-2),
    "int8": _Limits(0.15, 0.03, 3e-2),
    "int4": _Limits(0.35, 0.05, 0.3),
}


def check_task(
    suite: str, local: Sequence[CaseResult], served: Sequence[CaseResult], grader: Grader, precision: str
) -> list[TaskCheck]:
    """Compare results of both on the same cases, pair by pair.

    `task/missing` counts cases that only one of them has a score for; `task/changed` is the share of pairs with another
    score, `task/loss` the least loss that the pairs prove with 97.5 % confidence; of perplexity `task/perplexity` is
    the size of the relative change.
    """
    limits = _LIMITS.get(precision, _LIMITS["fp32"])
    pairs = pair_up(local, served)
    scored = [sum(each.score is not None for each in results) for results in (local, served)]
    checks = [TaskCheck(name=f"task/missing/{suite}", value=sum(scored) - 2 * len(pairs), limit=0)]
    if not pairs:
        return checks
    if grader is Grader.PERPLEXITY:
        change = abs(log_change(pairs, confidence=CONFIDENCE).value)
        return [*checks, TaskCheck(name=f"task/perplexity/{suite}", value=change, limit=limits.perplexity)]
    changed = [pair for pair in pairs if pair.baseline.score != pair.candidate.score]
    loss = max(0.0, -adjusted_difference(pairs, confidence=CONFIDENCE).high)
    # Of few cases a single one is already more than the share that is allowed.
    allowed = max(limits.changed, 1 / len(pairs))
    detail = f"{len(changed)} of {len(pairs)} cases" + (f", first {changed[0].baseline.id[:80]}" if changed else "")
    return [
        *checks,
        TaskCheck(name=f"task/changed/{suite}", value=len(changed) / len(pairs), limit=allowed, detail=detail),
        TaskCheck(name=f"task/loss/{suite}", value=loss, limit=limits.loss),
    ]
