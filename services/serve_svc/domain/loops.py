"""What a loop does next, decided from the loop and from what is there; nothing is remembered anywhere else.

Everything that a round makes has a name that follows from the loop and the round's number. So it does not matter
where a process dies: what was made is found again, what was not is made, and nothing is made twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bessemer.api.common.v1.job_pb2 import (
    JOB_STATE_CANCELLED,
    JOB_STATE_EXPIRED,
    JOB_STATE_FAILED,
    JOB_STATE_SUCCEEDED,
    JobStatus,
)
from bessemer.api.data.v1.dataset_job_pb2 import DatasetJob
from bessemer.api.data.v1.feedback_curation_pb2 import FeedbackForm
from bessemer.api.data.v1.feedback_service_pb2 import FeedbackCounts
from bessemer.api.eval.v1.audit_service_pb2 import RunAudit
from bessemer.api.eval.v1.evaluation_pb2 import VERDICT_PASS, EvaluationRun, GateDecision, Verdict
from bessemer.api.serve.v1 import loop_pb2 as api
from bessemer.api.train.v1.training_job_pb2 import TrainingJob

__all__ = ["ROUNDS_KEPT", "Need", "Release", "Seen", "Serving", "Turn", "advance", "open_round"]

ROUNDS_KEPT = 20
RATED_MIN, DOWN_MIN, FAILURES_MAX = 300, 50, 3
ENDED = frozenset({api.ROUND_STAGE_RELEASED, api.ROUND_STAGE_REJECTED, api.ROUND_STAGE_FAILED})
_LOST = frozenset({JOB_STATE_FAILED, JOB_STATE_CANCELLED, JOB_STATE_EXPIRED})


@dataclass(frozen=True)
class Serving:
    """What takes an endpoint's traffic, and whether another version is about to."""

    deployment: str = ""
    model_version: str = ""
    is_settled: bool = True


@dataclass(frozen=True)
class Release:
    """How far a new version is on its way into service; `error` says why it will never be.

    `is_taken_back` tells that it was in service and did worse, so that trying again would not help.
    """

    name: str
    is_done: bool = False
    error: str = ""
    is_taken_back: bool = False


@dataclass(frozen=True)
class Seen:
    """What is there of a round; None for what is not, or was not looked for."""

    serving: Serving
    counts: FeedbackCounts | None = None
    dataset_job: DatasetJob | None = None
    training_job: TrainingJob | None = None
    baseline_run: EvaluationRun | None = None
    candidate_run: EvaluationRun | None = None
    gate_decision: GateDecision | None = None
    audit: RunAudit | None = None
    release: Release | None = None
    short_by: Callable[[JobStatus], int] = field(default=lambda _: 0)
    """How much feedback a failed curation says is missing; 0 if it failed for another reason."""


# What a turn asks for: to be made, or, of counts and the audit, to be looked at.
Need = str


@dataclass(frozen=True)
class Turn:
    """The loop as it stands now, and what is to be made before the next turn."""

    loop: api.Loop
    needs: Sequence[Need] = ()


def open_round(loop: api.Loop) -> api.LoopRound | None:
    """Return the round that goes on."""
    return loop.rounds[-1] if loop.rounds and loop.rounds[-1].stage not in ENDED else None


def advance(before: api.Loop, seen: Seen, now: datetime) -> Turn:
    """Return the next state of a running loop; the same loop, sight and time give the same turn."""
    loop = api.Loop()
    loop.CopyFrom(before)
    current = open_round(loop)
    if current is None:
        return _begin(loop, seen, now)
    needs = _STAGES[current.stage](loop, current, seen)
    if current.stage in ENDED:
        current.end_time.FromDatetime(now)
        _settle(loop, current)
    else:
        loop.reason = current.reason
    return Turn(loop, needs)


def _begin(loop: api.Loop, seen: Seen, now: datetime) -> Turn:
    last = loop.rounds[-1] if loop.rounds else None
    number = last.number + 1 if last else 1
    if loop.settings.rounds_max and number > loop.settings.rounds_max:
        loop.state, loop.reason = api.LOOP_STATE_FINISHED, f"all {loop.settings.rounds_max} rounds are done"
        return Turn(loop)
    if last and now < last.start_time.ToDatetime(now.tzinfo) + timedelta(seconds=loop.settings.every_s):
        loop.reason = f"round {number} begins {loop.settings.every_s} s after the one before"
        return Turn(loop)
    if not seen.serving.model_version:
        loop.reason = "the endpoint serves nothing yet; deploy a model version"
        return Turn(loop)
    if not seen.serving.is_settled:
        loop.reason = "another version is on its way into service; its traffic counts once that has ended"
        return Turn(loop)
    current = loop.rounds.add(number=number, stage=api.ROUND_STAGE_COLLECTING)
    current.start_time.FromDatetime(now)
    current.base_model_version, current.base_deployment = seen.serving.model_version, seen.serving.deployment
    current.feedback_model_versions.extend(_policies(loop, current))
    current.feedback_needed = _needed(loop, current)
    del loop.rounds[:-ROUNDS_KEPT]
    loop.reason = current.reason = f"round {number} waits for feedback on {current.base_model_version}"
    return Turn(loop, ["counts"])


def _policies(loop: api.Loop, current: api.LoopRound) -> list[str]:
    """Return the served version and the wanted number of earlier releases, newest first; all of them are over."""
    earlier = [r.base_model_version for r in reversed(loop.rounds[:-1]) if r.stage == api.ROUND_STAGE_RELEASED]
    others = [name for name in dict.fromkeys(earlier) if name != current.base_model_version]
    return [current.base_model_version, *others[: loop.settings.earlier_releases]]


def _needed(loop: api.Loop, current: api.LoopRound) -> int:
    """Return how much feedback to wait for: after a rejected round as much news as a first round needs."""
    least = loop.settings.curation.rated_min
    for past in reversed(loop.rounds[:-1]):
        if past.base_model_version != current.base_model_version:
            break
        if past.stage == api.ROUND_STAGE_REJECTED:
            return _amount(loop, past.counts) + least
    return 0


def _amount(loop: api.Loop, counts: FeedbackCounts) -> int:
    return counts.num_edits if _is_of_edits(loop) else counts.num_up + counts.num_down


def _is_of_edits(loop: api.Loop) -> bool:
    return loop.settings.curation.form == FeedbackForm.FEEDBACK_FORM_EDITS


def _collecting(loop: api.Loop, current: api.LoopRound, seen: Seen) -> list[Need]:
    if seen.serving.model_version != current.base_model_version:
        _end(current, api.ROUND_STAGE_REJECTED, "another version was put into service meanwhile")
        return []
    if seen.counts is None:
        return ["counts"]
    curation, counts, have = loop.settings.curation, seen.counts, _amount(loop, seen.counts)
    if _is_of_edits(loop):
        enough, need = have >= curation.down_min, curation.down_min
    else:
        enough, need = have >= curation.rated_min or counts.num_down >= curation.down_min, curation.rated_min
    if not enough or have < current.feedback_needed:
        current.reason = f"{have} of {max(need, current.feedback_needed)} pieces of feedback are there"
        return []
    current.counts.CopyFrom(counts)
    current.stage, current.reason = api.ROUND_STAGE_CURATING, f"curates {have} pieces of feedback"
    return ["dataset_job"]


def _curating(loop: api.Loop, current: api.LoopRound, seen: Seen) -> list[Need]:
    job = seen.dataset_job
    if job is None:
        return ["dataset_job"]
    current.dataset_job = job.name
    if job.status.state == JOB_STATE_SUCCEEDED:
        current.dataset_version = job.result.dataset_version
        current.curation.CopyFrom(job.result.feedback)
        current.stage, current.reason = api.ROUND_STAGE_TRAINING, f"learns from {current.dataset_version}"
        return ["training_job"]
    if job.status.state in _LOST:
        missing = seen.short_by(job.status)
        if not missing:
            _lost(current, job.name, job.status)
            return []
        current.curations_short += 1
        current.feedback_needed = _amount(loop, current.counts) + missing
        current.stage = api.ROUND_STAGE_COLLECTING
        current.reason = f"{job.name} left too few rows; waits for {missing} more"
    return []


def _training(loop: api.Loop, current: api.LoopRound, seen: Seen) -> list[Need]:
    del loop
    job = seen.training_job
    if job is None:
        return ["training_job"]
    current.training_job = job.name
    if job.status.state == JOB_STATE_SUCCEEDED:
        current.model_version = job.model_version
        current.stage, current.reason = api.ROUND_STAGE_EVALUATING, f"evaluates {current.model_version}"
        return []  # the served version may have been judged before: look first
    if job.status.state in _LOST:
        _lost(current, job.name, job.status)
    return []


def _evaluating(loop: api.Loop, current: api.LoopRound, seen: Seen) -> list[Need]:
    del loop
    runs = {"baseline_run": seen.baseline_run, "candidate_run": seen.candidate_run}
    if missing := [need for need, run in runs.items() if run is None]:
        return missing
    for need, run in runs.items():
        assert run is not None
        setattr(current, need, run.name)
        if run.status.state in _LOST:
            _lost(current, run.name, run.status)
            return []
    if any(run.status.state != JOB_STATE_SUCCEEDED for run in runs.values() if run is not None):
        return []
    decision = seen.gate_decision
    if decision is None:
        return ["gate_decision"]
    current.gate_decision, current.verdict = decision.name, decision.verdict
    if decision.verdict != VERDICT_PASS:
        verdict = Verdict.Name(decision.verdict).removeprefix("VERDICT_")
        why = "; ".join(rule.explanation for rule in decision.rules if rule.verdict != VERDICT_PASS)
        _end(current, api.ROUND_STAGE_REJECTED, f"the gate says {verdict}: {why}"[:2000])
        return []
    current.stage, current.reason = api.ROUND_STAGE_AUDITING, "the gate was passed; audits the answers"
    return ["audit"]


def _auditing(loop: api.Loop, current: api.LoopRound, seen: Seen) -> list[Need]:
    if seen.audit is None:
        return ["audit"]
    current.audit.CopyFrom(seen.audit)
    if seen.audit.breached:
        broken = "; ".join(found.explanation for found in seen.audit.findings if found.breached)
        _end(current, api.ROUND_STAGE_FAILED, f"the audit is broken: {broken}"[:2000])
        loop.state = api.LOOP_STATE_BLOCKED
        return []
    if seen.serving.model_version != current.base_model_version:
        _end(current, api.ROUND_STAGE_REJECTED, "another version was put into service meanwhile")
        return []
    current.stage, current.reason = api.ROUND_STAGE_ROLLING_OUT, f"{current.model_version} takes over"
    return ["release"]


def _rolling_out(loop: api.Loop, current: api.LoopRound, seen: Seen) -> list[Need]:
    del loop
    if seen.release is None:
        return ["release"]
    current.release = seen.release.name
    if seen.release.error:
        stage = api.ROUND_STAGE_REJECTED if seen.release.is_taken_back else api.ROUND_STAGE_FAILED
        _end(current, stage, f"{seen.release.name}: {seen.release.error}"[:2000])
    elif seen.release.is_done:
        _end(current, api.ROUND_STAGE_RELEASED, f"{current.model_version} is served")
    return []


def _lost(current: api.LoopRound, name: str, status: JobStatus) -> None:
    why = status.error.message or "it was cancelled or expired"
    _end(current, api.ROUND_STAGE_FAILED, f"{name}: {why}"[:2000])


def _end(current: api.LoopRound, stage: api.RoundStage, reason: str) -> None:
    current.stage, current.reason = stage, reason


def _settle(loop: api.Loop, current: api.LoopRound) -> None:
    """Say what an ended round means for the loop."""
    loop.reason = f"round {current.number}: {current.reason}"
    if loop.state == api.LOOP_STATE_BLOCKED:
        return
    failed = 0
    for past in reversed(loop.rounds):
        if past.stage != api.ROUND_STAGE_FAILED:
            break
        failed += 1
    if failed >= loop.settings.failures_max:
        loop.state = api.LOOP_STATE_BLOCKED
        loop.reason = f"{failed} rounds in a row failed, the last because {current.reason}"


_Stage = Callable[[api.Loop, api.LoopRound, Seen], list[Need]]
_STAGES: Mapping[int, _Stage] = {
    api.ROUND_STAGE_COLLECTING: _collecting,
    api.ROUND_STAGE_CURATING: _curating,
    api.ROUND_STAGE_TRAINING: _training,
    api.ROUND_STAGE_EVALUATING: _evaluating,
    api.ROUND_STAGE_AUDITING: _auditing,
    api.ROUND_STAGE_ROLLING_OUT: _rolling_out,
}
