"""What an alarm says: what moved, since when, why probably, and what to collect."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from eval_svc.domain.drift.features import Role

__all__ = ["Alarm", "Cause", "cause_of", "examples_wanted", "explain"]

# A feature whose evidence has gone half of the way to its threshold, on a logarithmic scale, has probably moved too:
# that happens by chance within 10,000 requests with a chance of about the square root of the budget.
_SUSPECT = 0.5


class Cause(StrEnum):
    """What kind of drift it is; each has another cure."""

    COVARIATE = "covariate"  # requests are others: collect examples of them
    CONCEPT = "concept"  # the same requests have another outcome: look at recent answers, train on new labels
    SYSTEM = "system"  # the same requests get other answers or other service: look at what was deployed


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """A feature is not like its reference any more; numbers of requests count from the monitor's first."""

    feature: str
    role: Role
    cause: Cause
    finding: str
    request: int  # at which the alarm was raised
    since: int  # at which the run of evidence began
    evidence: float
    threshold: float
    before: float | None  # mean in the reference; of a text the share of strange ones
    now: float | None  # mean of about the last 200
    exemplars: tuple[str, ...]
    buckets: tuple[int, ...]
    num_wanted: int  # examples to collect; 0 where collecting does not help


def cause_of(role: Role, progress: Mapping[Role, float]) -> Cause:
    """Return the probable cause of an alarm on a feature of a role.

    `progress` gives for each role the most that one of its features has gone towards its threshold, on a logarithmic
    scale from 0 to 1. Inputs explain outputs and outcomes; only what inputs do not explain is concept or system.
    """
    if role is Role.SYSTEM:
        return Cause.SYSTEM
    if role is Role.INPUT or progress.get(Role.INPUT, 0.0) >= _SUSPECT:
        return Cause.COVARIATE
    if role is Role.OUTCOME and progress.get(Role.SYSTEM, 0.0) < _SUSPECT:
        return Cause.CONCEPT
    return Cause.SYSTEM


def examples_wanted(share: float, num_reference: int) -> int:
    """Return how many examples of what is new would give it the share among `num_reference` that requests have."""
    share = min(max(share, 0.0), 0.9)
    return math.ceil(share / (1 - share) * num_reference)


def explain(alarm: Alarm, terms: Sequence[str] = ()) -> str:
    """Return a sentence or two for people; `terms` are words behind the alarm's buckets, if somebody has the texts."""
    moved = f"{alarm.feature}: {alarm.finding} since about request {alarm.since}"
    if alarm.before is not None and alarm.now is not None:
        moved += f" ({alarm.before:.4g} in the reference, {alarm.now:.4g} now)"
    if alarm.num_wanted:
        what = f" that speak of {', '.join(terms)}" if terms else " like the exemplars"
        return f"{moved}. Collect about {alarm.num_wanted} more examples{what}."
    advice = {
        Cause.COVARIATE: "Requests have changed; look at the exemplars.",
        Cause.CONCEPT: "The same kind of requests ends differently; label recent answers and evaluate again.",
        Cause.SYSTEM: "Requests have not changed; look at what was deployed or configured since then.",
    }
    return f"{moved}. {advice[alarm.cause]}"
