"""What to do about a task, decided from facts alone; the runtime carries it out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bessemer.api.common.v1.job_pb2 import (
    FAILURE_KIND_INFRA,
    FAILURE_KIND_NUMERIC,
    FAILURE_KIND_SYSTEM,
    FAILURE_KIND_USER,
    JOB_STATE_CANCELLING,
    JOB_STATE_PAUSING,
    JOB_STATE_PENDING,
    JOB_STATE_QUEUED,
    JOB_STATE_RUNNING,
    FailureKind,
    JobState,
)
from bessemer.jobs.launcher import WorkerState, WorkerStatus

__all__ = [
    "RETRIES",
    "Effect",
    "Expire",
    "Failure",
    "Instant",
    "Kill",
    "Launch",
    "Lose",
    "Policy",
    "Stop",
    "Submit",
    "Task",
    "Verdict",
    "decide",
    "judge",
]

# Retries allowed per kind of failure; anything not listed is a defect of the program.
RETRIES: Mapping[FailureKind, int] = {
    FAILURE_KIND_USER: 0,
    FAILURE_KIND_SYSTEM: 1,
    FAILURE_KIND_NUMERIC: 2,
    FAILURE_KIND_INFRA: 10,
}
# A task that fails this often at the same progress will fail there again.
_REPEATS_MAX = 3
_DELAY_MAX_S = 60.0


@dataclass(frozen=True)
class Policy:
    """Time limits and the number of workers a service runs at once."""

    lease_s: float = 15.0
    claim_s: float = 120.0  # from launch to claim: a worker imports its libraries first
    pause_grace_s: float = 60.0
    queue_limit_s: float = 7 * 86_400.0
    parallelism: int = 1


@dataclass(frozen=True)
class Instant:
    """A moment on the boot clock, which leases go by, and on the wall clock, for records."""

    boot_s: float
    boot_id: str
    wall_s: float


@dataclass(frozen=True)
class Task:
    """What the service remembers about a job besides its resource; times are on the boot clock of `boot_id`."""

    name: str
    kind: str
    state: JobState
    queued_wall_s: float
    boot_id: str
    since_s: float  # of the current state
    epoch: int = 0  # newest attempt, fencing token
    reported_epoch: int = 0  # newest attempt whose report was recorded
    worker: str = ""  # who claimed it
    lease_until_s: float = 0.0
    not_before_s: float = 0.0
    published_s: float = 0.0  # when progress was last put into the resource
    saved_state: bytes = b""
    progress: float = 0.0
    failures: Mapping[str, int] = field(default_factory=dict)  # by name of the kind
    failed_at: str = ""  # progress marker of the newest failure
    repeats: int = 0  # failures at that marker
    cpu_done_s: float = 0.0  # of ended attempts
    traceparent: str = ""


@dataclass(frozen=True)
class Launch:
    """Start the next attempt."""


@dataclass(frozen=True)
class Submit:
    """Hand the pending attempt to the launcher again; it never arrived there."""


@dataclass(frozen=True)
class Kill:
    """End the worker process."""


@dataclass(frozen=True)
class Lose:
    """Count the attempt as failed because its worker is gone."""

    message: str
    kill: bool = False


@dataclass(frozen=True)
class Stop:
    """Finish a cancel: no worker is left."""


@dataclass(frozen=True)
class Expire:
    """End a job that waited too long."""


Effect = Launch | Submit | Kill | Lose | Stop | Expire


def decide(
    task: Task, worker: WorkerStatus, now: Instant, *, policy: Policy, started_s: float, slots: int
) -> Effect | None:
    """Return what to do about one task, if anything.

    `worker` is the process of the task's newest attempt; `started_s` is when this service began to listen, as a
    worker cannot renew its lease while nobody listens; `slots` is how many more workers may run.
    """
    facts = _Facts(
        worker=worker,
        now=now,
        policy=policy,
        rebooted=task.boot_id != now.boot_id,
        age_s=now.boot_s - max(task.since_s, started_s),
        expired=now.boot_s > max(task.lease_until_s, started_s + policy.lease_s),
        slots=slots,
    )
    rule = _RULES.get(task.state)
    return rule(task, facts) if rule else None


@dataclass(frozen=True)
class _Facts:
    worker: WorkerStatus
    now: Instant
    policy: Policy
    rebooted: bool
    age_s: float  # of the state, while this service listened
    expired: bool  # the lease
    slots: int


def _queued(task: Task, facts: _Facts) -> Effect | None:
    if task.epoch == 0 and facts.now.wall_s - task.queued_wall_s > facts.policy.queue_limit_s:
        return Expire()
    waiting = not facts.rebooted and facts.now.boot_s < task.not_before_s
    return Launch() if facts.slots > 0 and not waiting else None


def _pending(_: Task, facts: _Facts) -> Effect | None:
    if facts.rebooted:
        return Lose("the host was restarted")
    if facts.worker.state == WorkerState.UNKNOWN:
        return Submit()
    if facts.worker.state == WorkerState.EXITED:
        return Lose(f"the worker process {facts.worker.ending()} before it took the job")
    if facts.age_s > facts.policy.claim_s:
        return Lose(f"the worker did not take the job within {facts.policy.claim_s:g} s", kill=True)
    return None


def _running(_: Task, facts: _Facts) -> Effect | None:
    if facts.rebooted:
        return Lose("the host was restarted")
    if facts.worker.state == WorkerState.EXITED:
        return Lose(f"the worker process {facts.worker.ending()} without a result")
    if facts.expired:
        return Lose(f"the worker has not been heard of for {facts.policy.lease_s:g} s", kill=True)
    return None


def _pausing(task: Task, facts: _Facts) -> Effect | None:
    effect = _running(task, facts)
    return Kill() if effect is None and facts.age_s > facts.policy.pause_grace_s else effect


def _cancelling(_: Task, facts: _Facts) -> Effect | None:
    if facts.rebooted or facts.worker.state != WorkerState.RUNNING:
        return Stop()
    return Stop() if facts.expired and facts.age_s > facts.policy.lease_s else Kill()


_RULES: Mapping[JobState, Callable[[Task, _Facts], Effect | None]] = {
    JOB_STATE_QUEUED: _queued,
    JOB_STATE_PENDING: _pending,
    JOB_STATE_RUNNING: _running,
    JOB_STATE_PAUSING: _pausing,
    JOB_STATE_CANCELLING: _cancelling,
}


@dataclass(frozen=True)
class Failure:
    """Why an attempt ended; `reported` says that the worker itself said so."""

    kind: FailureKind
    message: str
    reported: bool


@dataclass(frozen=True)
class Verdict:
    """Whether a failed attempt is followed by another one, and the counts to remember."""

    retry: bool
    delay_s: float
    message: str
    failures: Mapping[str, int]
    failed_at: str
    repeats: int


def judge(task: Task, failure: Failure) -> Verdict:
    """Return whether to try again after `failure`, and if not, a message that says why not."""
    kind = FailureKind.Name(failure.kind).removeprefix("FAILURE_KIND_")
    state_digest = hashlib.sha256(task.saved_state).hexdigest()[:16]
    failed_at = f"{state_digest}:{task.progress:.6f}"
    failures = dict(task.failures)
    if not task.failed_at.startswith(state_digest):
        failures.pop("INFRA", None)  # progress was saved since: the budget starts anew
    failures[kind] = count = failures.get(kind, 0) + 1
    # A worker that says "the store is down" knows that the place is not to blame.
    blameless = failure.kind == FAILURE_KIND_INFRA and failure.reported
    repeats = (task.repeats if failed_at == task.failed_at else 0) + (0 if blameless else 1)
    allowed = RETRIES.get(failure.kind, RETRIES[FAILURE_KIND_SYSTEM])
    message = ""
    if allowed and repeats >= _REPEATS_MAX:
        message = f"failed {repeats} times at the same progress ({task.progress:.0%}); {failure.message}"
    elif count > allowed:
        message = failure.message if count == 1 else f"failed {count} times ({kind}); {failure.message}"
    delay_s = _delay_s(task, count) if failure.kind == FAILURE_KIND_INFRA else 0.0
    return Verdict(not message, delay_s, message, failures, failed_at, repeats)


def _delay_s(task: Task, count: int) -> float:
    """Return 0 for the first failure, then 0.5 to 1 times 1, 2, 4, ... seconds; always the same for an attempt."""
    if count <= 1:
        return 0.0
    digest = hashlib.sha256(f"{task.name}:{task.epoch}".encode()).digest()
    return min(_DELAY_MAX_S, 2.0 ** (count - 2)) * (0.5 + digest[0] / 512)
