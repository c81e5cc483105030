"""Plans of rollouts: their defaults, and what makes one impossible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Metric", "Plan", "Signal", "Stage", "default_metrics", "default_stages", "problem_of"]

ALPHA = 0.05


class Signal(StrEnum):
    """Where outcomes come from."""

    FEEDBACK = "feedback"
    SUCCESS = "success"
    TTFT = "ttft"
    TPOT = "tpot"
    VERDICT = "verdict"

    @property
    def of_people(self) -> bool:
        """Whether somebody has to see the answer first."""
        return self in {Signal.FEEDBACK, Signal.VERDICT}

    @property
    def timed(self) -> bool:
        """Whether outcomes come from a time and its budget."""
        return self in {Signal.TTFT, Signal.TPOT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A share of good outcomes; `margin` is how much lower the candidate's may be."""

    id: str
    signal: Signal
    margin: float
    budget_s: float = 0.0
    guard_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A share of the traffic, and the loss to be ruled out before the next stage."""

    percent: float
    shadow: bool = False
    harm: float = 0.0
    min_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to roll out."""

    stages: Sequence[Stage]
    metrics: Sequence[Metric]
    alpha: float = ALPHA
    count_repeats: bool = False

    @property
    def worse_threshold(self) -> float:
        """Evidence that rolls back: alpha is shared by the metrics, since any one of them may do it."""
        return len(self.metrics) / self.alpha

    @property
    def safe_threshold(self) -> float:
        """Evidence that passes a stage: undivided, since all metrics have to agree."""
        return 1 / self.alpha

    def harm(self, metric: Metric, stage: int) -> float:
        """Return the loss in a metric that a stage rules out; never less than the margin."""
        return max(self.stages[stage].harm, metric.margin)

    def needed(self, metric: Metric, stage: int) -> bool:
        """Say whether a stage waits for a metric; what people say cannot be waited for while nobody sees answers."""
        return not metric.guard_only and not (self.stages[stage].shadow and metric.signal.of_people)


def default_stages() -> list[Stage]:
    """Return stages in which many see the candidate only after much harm was ruled out among few."""
    return [
        Stage(shadow=True, percent=100, harm=0.2),
        Stage(percent=1, harm=0.2),
        Stage(percent=10, harm=0.1),
        Stage(percent=50),
    ]


def default_metrics() -> list[Metric]:
    """Return what fits every endpoint; budgets are what a reader notices."""
    return [
        Metric(id="feedback", signal=Signal.FEEDBACK, margin=0.03),
        Metric(id="success", signal=Signal.SUCCESS, margin=0.01),
        Metric(id="ttft", signal=Signal.TTFT, margin=0.05, budget_s=2.0, guard_only=True),
        Metric(id="tpot", signal=Signal.TPOT, margin=0.05, budget_s=0.2, guard_only=True),
    ]


def problem_of(plan: Plan) -> tuple[str, str] | None:
    """Return the field and the fault of a plan that cannot be carried out; None when it can."""
    ids = [metric.id for metric in plan.metrics]
    if len(set(ids)) < len(ids):
        return "plan.metrics", f"ids of metrics must differ; got {', '.join(ids)}"
    if all(metric.guard_only for metric in plan.metrics):
        return "plan.metrics", "at least one metric must not be guard_only, or nothing could ever promote"
    for metric in plan.metrics:
        if metric.signal.timed != (metric.budget_s > 0):
            return "plan.metrics", f"metric {metric.id}: budget_s must be above 0 for TTFT and TPOT, and 0 for others"
    return _problem_of_stages(plan.stages)


def _problem_of_stages(stages: Sequence[Stage]) -> tuple[str, str] | None:
    seen = [stage for stage in stages if not stage.shadow]
    if not seen:
        return "plan.stages", "at least one stage must show the candidate's answers"
    if any(stage.shadow for stage in stages[1:]):
        return "plan.stages", "only the first stage may be a shadow"
    percents = [stage.percent for stage in seen]
    if percents != sorted(set(percents)) or percents[-1] > 50:
        return "plan.stages", f"percents must rise to at most 50, so that both arms are seen; got {percents}"
    if stages[-1].harm:
        return "plan.stages", "the last stage rules out what the metrics' margins say; leave its harm at 0"
    return None
