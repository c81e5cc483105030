"""The states of a job and the only moves between them; drives the code, a property test and `docs/jobs.md`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import StrEnum

from bessemer.api.common.v1.job_pb2 import (
    JOB_STATE_CANCELLED,
    JOB_STATE_CANCELLING,
    JOB_STATE_EXPIRED,
    JOB_STATE_FAILED,
    JOB_STATE_PAUSED,
    JOB_STATE_PAUSING,
    JOB_STATE_PENDING,
    JOB_STATE_QUEUED,
    JOB_STATE_RUNNING,
    JOB_STATE_SUCCEEDED,
    JobState,
)
from bessemer.kernel.errors import FailedPrecondition

__all__ = ["LEASED", "MOVES", "TERMINAL", "Event", "Move", "is_terminal", "move", "state_name", "table"]


class Event(StrEnum):
    """What makes a job move."""

    LAUNCH = "launch"
    CLAIM = "claim"
    SUCCEED = "succeed"
    FAIL = "fail"
    RETRY = "retry"
    PAUSE = "pause"
    RELEASE = "release"
    RESUME = "resume"
    CANCEL = "cancel"
    STOP = "stop"
    EXPIRE = "expire"


@dataclass(frozen=True)
class Move:
    """From any of `sources` to `target` when `event` happens."""

    event: Event
    sources: tuple[JobState, ...]
    target: JobState
    meaning: str


MOVES: tuple[Move, ...] = (
    Move(Event.LAUNCH, (JOB_STATE_QUEUED,), JOB_STATE_PENDING, "A worker is launched; the attempt gets its number."),
    Move(Event.CLAIM, (JOB_STATE_PENDING,), JOB_STATE_RUNNING, "The worker takes the lease."),
    Move(
        Event.SUCCEED,
        (JOB_STATE_RUNNING, JOB_STATE_PAUSING, JOB_STATE_CANCELLING),
        JOB_STATE_SUCCEEDED,
        "The worker reports a result and its files are verified; a result beats a late pause or cancel.",
    ),
    Move(
        Event.FAIL,
        (JOB_STATE_PENDING, JOB_STATE_RUNNING, JOB_STATE_PAUSING, JOB_STATE_CANCELLING),
        JOB_STATE_FAILED,
        "An attempt fails and the retry budget of its kind of failure is spent.",
    ),
    Move(
        Event.RETRY,
        (JOB_STATE_PENDING, JOB_STATE_RUNNING),
        JOB_STATE_QUEUED,
        "An attempt fails and may be tried again as a new attempt.",
    ),
    Move(Event.PAUSE, (JOB_STATE_RUNNING,), JOB_STATE_PAUSING, "Somebody asks for a pause."),
    Move(
        Event.RELEASE,
        (JOB_STATE_PAUSING,),
        JOB_STATE_PAUSED,
        "The worker saved its state and let go, or was lost, in which case the state saved last is kept.",
    ),
    Move(Event.RESUME, (JOB_STATE_PAUSED,), JOB_STATE_QUEUED, "Somebody continues the job."),
    Move(
        Event.CANCEL,
        (JOB_STATE_QUEUED, JOB_STATE_PENDING, JOB_STATE_RUNNING, JOB_STATE_PAUSING, JOB_STATE_PAUSED),
        JOB_STATE_CANCELLING,
        "Somebody asks for the end.",
    ),
    Move(Event.STOP, (JOB_STATE_CANCELLING,), JOB_STATE_CANCELLED, "No worker holds the job any more."),
    Move(Event.EXPIRE, (JOB_STATE_QUEUED,), JOB_STATE_EXPIRED, "The job waited too long for its first worker."),
)

TERMINAL: frozenset[JobState] = frozenset(
    {JOB_STATE_SUCCEEDED, JOB_STATE_FAILED, JOB_STATE_CANCELLED, JOB_STATE_EXPIRED}
)
# States in which the holder of the current attempt number may write.
LEASED: frozenset[JobState] = frozenset({JOB_STATE_RUNNING, JOB_STATE_PAUSING, JOB_STATE_CANCELLING})

_TARGETS = {(source, rule.event): rule.target for rule in MOVES for source in rule.sources}


def is_terminal(state: JobState) -> bool:
    """Return whether a job in `state` never changes again."""
    return state in TERMINAL


def state_name(state: JobState) -> str:
    """Return the name of a state without its prefix, such as `RUNNING`."""
    return JobState.Name(state).removeprefix("JOB_STATE_")


def move(state: JobState, event: Event) -> JobState:
    """Return the state after `event`.

    Raises: FailedPrecondition JOB_TERMINAL for a job that has ended, JOB_STATE_INVALID for any other illegal move.
    """
    target = _TARGETS.get((state, event))
    if target is not None:
        return target
    name = state_name(state)
    if is_terminal(state):
        raise FailedPrecondition(
            f"cannot {event} a job that is {name}: it has ended", reason="JOB_TERMINAL", state=name
        )
    wanted = " or ".join(state_name(source) for rule in MOVES if rule.event == event for source in rule.sources)
    raise FailedPrecondition(
        f"cannot {event} a job that is {name}: it must be {wanted}", reason="JOB_STATE_INVALID", state=name
    )


def table() -> str:
    """Return the moves as a Markdown table."""
    lines = ["| Event | From | To | Meaning |", "|---|---|---|---|"]
    for rule in MOVES:
        sources = ", ".join(state_name(source) for source in rule.sources)
        lines.append(f"| {rule.event} | {sources} | {state_name(rule.target)} | {rule.meaning} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
