"""Whether a rollout goes on, ends or turns back; the reason is a sentence with the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from serve_svc.domain.betting import Arm
from serve_svc.domain.evidence import Evidence
from serve_svc.domain.plan import Metric, Plan

__all__ = ["Decision", "Move", "decide", "fresh_evidence"]


class Move(StrEnum):
    """What to do now."""

    STAY = "stay"
    ADVANCE = "advance"
    PROMOTE = "promote"
    ROLL_BACK = "roll_back"


@dataclass(frozen=True, slots=True)
class Decision:
    """A move and why."""

    move: Move
    reason: str = ""


def fresh_evidence(plan: Plan) -> dict[str, Evidence]:
    """Return the state of each metric before the first outcome."""
    stages = range(len(plan.stages))
    return {one.id: Evidence.of(one.margin, [plan.harm(one, stage) for stage in stages]) for one in plan.metrics}


def decide(plan: Plan, stage: int, evidence: Mapping[str, Evidence], stage_s: float) -> Decision:
    """Return the move after any outcome; `stage_s` is how long the stage has lasted, in seconds."""
    for metric in plan.metrics:
        worse = evidence[metric.id].worse.evidence
        if worse >= plan.worse_threshold:
            text = (
                f"{_counts(metric, evidence[metric.id])}; evidence {worse:.3g} of {plan.worse_threshold:g} that it is "
                f"more than {100 * metric.margin:g} points worse"
            )
            return Decision(Move.ROLL_BACK, text)
    needed = [metric for metric in plan.metrics if plan.needed(metric, stage)]
    shown = all(evidence[one.id].excludes(plan.harm(one, stage), plan.safe_threshold) for one in needed)
    if not shown or stage_s < plan.stages[stage].min_s:
        return Decision(Move.STAY)
    texts = [
        f"{_counts(one, evidence[one.id])}, a loss of {100 * plan.harm(one, stage):g} points ruled out at evidence "
        f"{plan.safe_threshold:g}"
        for one in needed
    ]
    last = stage == len(plan.stages) - 1
    return Decision(Move.PROMOTE if last else Move.ADVANCE, "; ".join(texts) or "the stage's time is over")


def _counts(metric: Metric, found: Evidence) -> str:
    shares = [
        f"{100 * found.good[arm] / max(1, found.total[arm]):.1f} % of {found.total[arm]}"
        for arm in (Arm.CANDIDATE, Arm.BASELINE)
    ]
    return f"{metric.id}: {shares[0]} good against {shares[1]} in {found.pairs} pairs"
