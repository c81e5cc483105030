"""Outcomes of answers during rollouts: what each was worth by each metric, kept until it is in the evidence.

The outcomes that a service knows itself are written in the transaction that keeps the answer; what people and
verifiers say later finds its arm by the answer's id.
"""

from __future__ import annotations

from collections.abc import Iterable

from bessemer.api.common.v1.system_service_pb2 import EventRecord
from bessemer.api.data.v1.feedback_service_pb2 import RATING_UNSPECIFIED, RATING_UP, FeedbackRecord
from bessemer.api.event.v1.data_events_pb2 import FeedbackRecordChanged
from bessemer.api.serve.v1.rollout_pb2 import Rollout
from bessemer.svckit.store import Tx
from sqlalchemy import insert, select

from serve_svc.app.measures import Stopwatch
from serve_svc.app.routes import Trial
from serve_svc.app.tables import OUTCOMES, ROLLOUT_ANSWERS, ROLLOUTS
from serve_svc.codec import read_plan
from serve_svc.domain.betting import Arm
from serve_svc.domain.plan import Plan, Signal

__all__ = [
    "metrics_of",
    "on_data_event",
    "outcomes_of",
    "record_failure",
    "record_pair",
    "record_said",
    "record_success",
    "rollout_of",
]

_FEEDBACK_GIVEN = "bessemer.data.feedback_record.created.v1"


def outcomes_of(plan: Plan, times: Stopwatch | None) -> dict[str, bool]:
    """Return whether an answer was good by each metric that tells at once; None is an answer that failed."""
    found = dict[str, bool]()
    for metric in plan.metrics:
        match metric.signal:
            case Signal.SUCCESS:
                found[metric.id] = times is not None
            case Signal.TTFT if times is not None:
                found[metric.id] = times.ttft_s <= metric.budget_s
            case Signal.TPOT if times is not None and times.tpot_s is not None:
                found[metric.id] = times.tpot_s <= metric.budget_s
            case _:
                continue
    return found


def record_success(tx: Tx, *, trial: Trial | None, response_id: str, times: Stopwatch) -> None:
    """Keep the outcomes of an answer that came to its end, and that it took part; a shadow's pair comes later."""
    if trial is None or trial.shadow:
        return
    row = {"response_id": response_id, "rollout": trial.rollout, "arm": trial.arm, "subject": trial.subject}
    tx.connection.execute(insert(ROLLOUT_ANSWERS).values(row))
    _record(tx, trial.rollout, trial.arm, trial.subject, outcomes_of(trial.plan, times))


def record_failure(tx: Tx, trial: Trial) -> None:
    """Keep that an answer failed; what the shadow would have said to it is never asked."""
    if trial.shadow:
        return
    _record(tx, trial.rollout, trial.arm, trial.subject, outcomes_of(trial.plan, None))


def record_pair(tx: Tx, trial: Trial, shown: Stopwatch, shadow: Stopwatch | None) -> None:
    """Keep the outcomes of an answer and its shadow's, where both have one; None is a shadow that failed.

    They lie next to each other, so that they meet in one block.
    """
    ours, theirs = outcomes_of(trial.plan, shown), outcomes_of(trial.plan, shadow)
    for arm, outcomes in ((Arm.BASELINE, ours), (Arm.CANDIDATE, theirs)):
        both = {metric: good for metric, good in outcomes.items() if metric in ours and metric in theirs}
        _record(tx, trial.rollout, arm, trial.subject, both)


def record_said(tx: Tx, response_id: str, metrics: Iterable[str], *, rollout: str, good: bool) -> bool:
    """Keep what somebody said of an answer of a rollout; say whether it counts."""
    mine = ROLLOUT_ANSWERS.c.response_id == response_id, ROLLOUT_ANSWERS.c.rollout == rollout
    row = tx.connection.execute(select(ROLLOUT_ANSWERS).where(*mine)).first()
    return row is not None and _record(tx, rollout, Arm(row.arm), row.subject, dict.fromkeys(metrics, good))


def on_data_event(tx: Tx, event: EventRecord) -> None:
    """Take users' feedback from data_svc's events, once each, whichever way it came there."""
    if event.type != _FEEDBACK_GIVEN:
        return
    feedback: FeedbackRecord = FeedbackRecordChanged.FromString(event.payload).feedback_record
    rollout = rollout_of(tx, feedback.response_id)
    if feedback.rating != RATING_UNSPECIFIED and rollout:
        metrics = metrics_of(tx, rollout, Signal.FEEDBACK)
        record_said(tx, feedback.response_id, metrics, rollout=rollout, good=feedback.rating == RATING_UP)


def rollout_of(tx: Tx, response_id: str) -> str:
    """Return the running rollout that an answer took part in; empty for none."""
    running = ROLLOUT_ANSWERS.join(ROLLOUTS, ROLLOUTS.c.rollout == ROLLOUT_ANSWERS.c.rollout)
    mine = select(ROLLOUTS.c.rollout).select_from(running).where(ROLLOUT_ANSWERS.c.response_id == response_id)
    return str(tx.connection.execute(mine).scalar() or "")


def metrics_of(tx: Tx, rollout: str, signal: Signal) -> list[str]:
    """Return the ids of a rollout's metrics with a signal."""
    plan = read_plan(tx.get(rollout, Rollout).plan)
    return [metric.id for metric in plan.metrics if metric.signal is signal]


def _record(tx: Tx, rollout: str, arm: Arm, subject: str, outcomes: dict[str, bool]) -> bool:
    """Append outcomes of a running rollout, the first of each subject and metric; say whether any was."""
    if tx.connection.execute(select(ROLLOUTS.c.rollout).where(ROLLOUTS.c.rollout == rollout)).first() is None:
        return False
    known = select(OUTCOMES.c.metric).where(
        OUTCOMES.c.rollout == rollout, OUTCOMES.c.arm == arm, OUTCOMES.c.subject == subject
    )
    before = set(tx.connection.execute(known).scalars())
    fresh = [
        {"rollout": rollout, "metric": metric, "arm": arm, "subject": subject, "good": good}
        for metric, good in outcomes.items()
        if metric not in before
    ]
    if fresh:
        tx.connection.execute(insert(OUTCOMES), fresh)
    return bool(fresh)
