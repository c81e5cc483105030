"""Every change of a job, as functions of one write transaction: the task's row and the job's resource move together.

Whoever calls holds a transaction, so what is checked here (state, attempt number) still holds when it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message
from google.rpc import status_pb2

from bessemer.api.common.v1 import job_pb2
from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.common.v1.job_pb2 import (
    FAILURE_KIND_INFRA,
    FAILURE_KIND_SYSTEM,
    JOB_STATE_CANCELLED,
    JOB_STATE_CANCELLING,
    JOB_STATE_PAUSED,
    JOB_STATE_PAUSING,
    JOB_STATE_PENDING,
    JOB_STATE_QUEUED,
    JOB_STATE_RUNNING,
)
from bessemer.api.worker.v1 import worker_service_pb2 as pb
from bessemer.jobs import tasks
from bessemer.jobs.decide import Failure, Instant, Policy, Task, judge
from bessemer.jobs.launcher import LaunchSpec
from bessemer.jobs.process_identity import boot_id
from bessemer.jobs.states import LEASED, Event, is_terminal, move, state_name
from bessemer.kernel.clock import Clock
from bessemer.kernel.errors import Conflict, Internal, Unavailable
from bessemer.kernel.ids import check_name
from bessemer.svckit.context import current_traceparent
from bessemer.svckit.status import to_status
from bessemer.svckit.tx import Tx

__all__ = ["Attempts", "JobKind", "instant"]

M = TypeVar("M", bound=Message)
_ATTEMPTS_KEPT = 20
_PUBLISH_EVERY_S = 1.0
_REFRESH_EVERY_S = 15.0  # when nothing but CPU seconds changed


@dataclass(frozen=True)
class JobKind(Generic[M]):
    """A kind of job: a message with `name` and `status`, and the module of its worker."""

    collection: str  # such as `trainingJobs`
    message: type[M]
    entry: str  # run as `python -m <entry>`
    on_success: Callable[[Tx, M, bytes, Sequence[ArtifactRef]], M]  # in the transaction that marks SUCCEEDED
    on_progress: Callable[[Tx, M, bytes], M] | None = None  # in the transaction that stores a new saved state
    num_ranks: Callable[[M], int] = lambda _job: 1  # processes that share the work of a job


def instant(clock: Clock) -> Instant:
    """Return the moment on both clocks."""
    return Instant(clock.monotonic(), boot_id(), clock.now().timestamp())


class Attempts:
    """Moves jobs of the given kinds."""

    def __init__(self, kinds: Mapping[str, JobKind[Any]], clock: Clock, policy: Policy) -> None:
        self._kinds = kinds
        self._clock = clock
        self._policy = policy

    def submit(self, tx: Tx, job: M) -> M:
        """Accept a job and return it as stored."""
        name: str = job.name  # type: ignore[attr-defined]
        kind = self._kind_of(type(job))
        check_name(name, f"projects/*/{kind.collection}/*")
        now = instant(self._clock)
        stored = type(job)()
        stored.CopyFrom(job)
        status = job_pb2.JobStatus(state=JOB_STATE_QUEUED)
        status.queue_time.FromDatetime(self._clock.now())
        stored.status.CopyFrom(status)  # type: ignore[attr-defined]
        result = tx.put(stored, verb="created")
        task = Task(
            name=name,
            kind=kind.collection,
            state=JOB_STATE_QUEUED,
            queued_wall_s=now.wall_s,
            boot_id=now.boot_id,
            since_s=now.boot_s,
            traceparent=current_traceparent(),
        )
        tasks.insert(tx.connection, task)
        return result

    def request(self, tx: Tx, name: str, message: type[M], event: Event) -> M:
        """Carry out a caller's cancel, pause or resume; asking twice is asking once.

        Raises: FailedPrecondition JOB_TERMINAL or JOB_STATE_INVALID.
        """
        kind = self._kind_of(message)
        check_name(name, f"projects/*/{kind.collection}/*")
        task = self._load(tx, name)
        job = tx.get(name, message)
        if task.state in _ALREADY[event]:
            return job
        if event == Event.RESUME:
            task = replace(task, queued_wall_s=self._clock.now().timestamp(), not_before_s=0.0)
        return self._move(tx, task, job, event)

    def launch(self, tx: Tx, seen: Task) -> LaunchSpec | None:
        """Begin the next attempt; None if the task changed since it was `seen`."""
        task = self._unchanged(tx, seen)
        if task is None:
            return None
        task = replace(task, epoch=task.epoch + 1, worker="")
        job = self._job(tx, task)
        job.status.attempt = task.epoch
        job.status.stage = "starting"
        job.status.attempts.add(attempt=task.epoch)
        del job.status.attempts[:-_ATTEMPTS_KEPT]
        self._move(tx, task, job, Event.LAUNCH)
        return self.spec(tx, task)

    def spec(self, tx: Tx, task: Task) -> LaunchSpec:
        """Return the worker of a task's newest attempt."""
        env = {"BESSEMER_WORKER_TASK": task.name, "BESSEMER_WORKER_ATTEMPT": str(task.epoch)}
        if task.traceparent:
            env["TRACEPARENT"] = task.traceparent
        kind = self._kinds[task.kind]
        return LaunchSpec(task.name, task.epoch, kind.entry, env, kind.num_ranks(self._job(tx, task)))

    def claim(self, tx: Tx, request: pb.AcquireTaskRequest) -> pb.AcquireTaskResponse:
        """Give the lease to the worker that was launched for it; the same answer when it asks again."""
        launch_id = request.worker.rpartition("/")[0]  # of `<task>@<attempt>/<process>`
        name = request.task or launch_id.rpartition("@")[0]
        found = tasks.find(tx.connection, name)
        if found is None or launch_id != f"{found.name}@{found.epoch}":
            return pb.AcquireTaskResponse()
        task, now = self._rebase(found), instant(self._clock)
        if task.state == JOB_STATE_PENDING:
            task = replace(
                task, worker=request.worker, lease_until_s=now.boot_s + self._policy.lease_s, published_s=0.0
            )
            job = self._job(tx, task)
            newest = job.status.attempts[-1]
            newest.worker = request.worker
            newest.start_time.FromDatetime(self._clock.now())
            if not job.status.HasField("start_time"):
                job.status.start_time.CopyFrom(newest.start_time)
            job = self._move(tx, task, job, Event.CLAIM)
        elif task.state in LEASED and task.worker == request.worker:
            job = self._job(tx, task)
        else:
            return pb.AcquireTaskResponse()
        leased = pb.Task(
            name=task.name,
            kind=task.kind,
            epoch=task.epoch,
            job=job.SerializeToString(),
            lease_seconds=self._policy.lease_s,
            saved_state=task.saved_state,
        )
        return pb.AcquireTaskResponse(task=leased)

    def beat(self, tx: Tx, request: pb.HeartbeatRequest) -> pb.HeartbeatResponse:
        """Renew the lease and store what came with it.

        Raises: Conflict STALE_LEASE.
        """
        task, now = self._leased(tx, request.name, request.epoch), instant(self._clock)
        tasks.save_metrics(tx.connection, task.name, request.metrics)
        saves = bool(request.saved_state) and request.saved_state != task.saved_state
        task = replace(
            task,
            lease_until_s=now.boot_s + self._policy.lease_s,
            saved_state=request.saved_state or task.saved_state,
            progress=request.progress,
        )
        age_s = now.boot_s - task.published_s
        if saves or age_s >= _PUBLISH_EVERY_S:
            job = self._job(tx, task)
            on_progress = self._kinds[task.kind].on_progress
            if saves and on_progress:
                job = on_progress(tx, job, request.saved_state)
            status = job.status
            news = (status.stage, status.progress) != (request.stage, request.progress)
            if saves or news or age_s >= _REFRESH_EVERY_S:
                status.stage, status.progress = request.stage, request.progress
                status.remaining_seconds = request.remaining_seconds
                status.cpu_seconds = task.cpu_done_s + request.cpu_seconds
                tx.put(job, verb="progressed", previous_state=state_name(task.state))
                task = replace(task, published_s=now.boot_s)
        tasks.save(tx.connection, task)
        return pb.HeartbeatResponse(cancel=task.state == JOB_STATE_CANCELLING, pause=task.state == JOB_STATE_PAUSING)

    def is_reported(self, tx: Tx, request: pb.ReportAttemptRequest) -> bool:
        """Say whether this report was recorded before, so that a worker may repeat it.

        Raises: Conflict STALE_LEASE if it was not and must not be any more.
        """
        task = tasks.load(tx.connection, request.name)
        if task.reported_epoch == request.epoch and request.epoch > 0:
            return True
        self._leased(tx, request.name, request.epoch)
        return False

    def succeed(self, tx: Tx, request: pb.ReportAttemptRequest) -> None:
        """Record a result whose artifacts were verified."""
        if self.is_reported(tx, request):
            return
        task, job = self._end_attempt(tx, request)
        job = self._kinds[task.kind].on_success(tx, job, request.result, request.artifacts)
        job.status.progress, job.status.remaining_seconds = 1.0, 0.0
        self._move(tx, replace(task, progress=1.0), job, Event.SUCCEED)

    def release(self, tx: Tx, request: pb.ReportAttemptRequest) -> None:
        """Record that the worker let go: paused with a saved state, or stopped by a cancel."""
        if self.is_reported(tx, request):
            return
        task, job = self._end_attempt(tx, request)
        if request.WhichOneof("outcome") == "paused_state":
            saved_state = request.paused_state or task.saved_state
            on_progress = self._kinds[task.kind].on_progress
            if on_progress and saved_state != task.saved_state:
                job = on_progress(tx, job, saved_state)
            task = replace(task, saved_state=saved_state)
        if task.state == JOB_STATE_RUNNING:
            defect = Internal("the worker stopped although nobody asked it to")
            self._settle(tx, task, job, Failure(FAILURE_KIND_SYSTEM, defect.message, reported=True), to_status(defect))
        else:
            self._move(tx, task, job, Event.STOP if task.state == JOB_STATE_CANCELLING else Event.RELEASE)

    def fail(self, tx: Tx, request: pb.ReportAttemptRequest, failure: pb.AttemptFailure) -> None:
        """Record a failure that the worker reported, or that its result caused."""
        if self.is_reported(tx, request):
            return
        task, job = self._end_attempt(tx, request)
        cause = Failure(failure.kind, failure.error.message, reported=True)
        self._settle(tx, task, job, cause, failure.error)

    def lose(self, tx: Tx, seen: Task, message: str) -> None:
        """Record that the worker of an attempt is gone, if the task is still as it was `seen`."""
        task = self._unchanged(tx, seen)
        if task is None:
            return
        job = self._job(tx, task)
        error = to_status(Unavailable(message, reason="WORKER_LOST", attempt=task.epoch))
        task = replace(task, cpu_done_s=job.status.cpu_seconds)
        self._settle(tx, task, job, Failure(FAILURE_KIND_INFRA, message, reported=False), error)

    def end(self, tx: Tx, seen: Task, event: Event) -> None:
        """Stop a cancelled job or expire a waiting one, if the task is still as it was `seen`."""
        task = self._unchanged(tx, seen)
        if task is not None:
            job = self._job(tx, task)
            _close(job.status, self._clock)
            self._move(tx, task, job, event)

    def _settle(self, tx: Tx, task: Task, job: Any, failure: Failure, error: status_pb2.Status) -> None:
        """Retry a failed attempt, or end the job."""
        status = job.status
        _close(status, self._clock)
        status.attempts[-1].error.CopyFrom(error)
        status.attempts[-1].failure_kind = failure.kind
        verdict = judge(task, failure)
        task = replace(task, failures=verdict.failures, failed_at=verdict.failed_at, repeats=verdict.repeats)
        if task.state == JOB_STATE_CANCELLING and failure.kind == FAILURE_KIND_INFRA:
            self._move(tx, task, job, Event.STOP)
        elif verdict.retry and task.state != JOB_STATE_CANCELLING:
            task = replace(task, not_before_s=self._clock.monotonic() + verdict.delay_s)
            status.stage = f"trying again: {failure.message}"[:200]
            self._move(tx, task, job, Event.RELEASE if task.state == JOB_STATE_PAUSING else Event.RETRY)
        else:
            status.error.CopyFrom(error)
            status.error.message = verdict.message or failure.message
            status.failure_kind = failure.kind
            self._move(tx, task, job, Event.FAIL)

    def _end_attempt(self, tx: Tx, request: pb.ReportAttemptRequest) -> tuple[Task, Any]:
        task = self._leased(tx, request.name, request.epoch)
        tasks.save_metrics(tx.connection, task.name, request.metrics)
        task = replace(task, reported_epoch=task.epoch, cpu_done_s=task.cpu_done_s + request.cpu_seconds)
        job = self._job(tx, task)
        job.status.cpu_seconds = task.cpu_done_s
        _close(job.status, self._clock)
        return task, job

    def _move(self, tx: Tx, task: Task, job: M, event: Event) -> M:
        """Change the state in both places and publish it."""
        target = move(task.state, event)
        status: job_pb2.JobStatus = job.status  # type: ignore[attr-defined]
        status.state = target
        if is_terminal(target):
            status.end_time.FromDatetime(self._clock.now())
        verb = state_name(target).lower()
        stored = tx.put(job, verb=verb, previous_state=state_name(task.state))
        worker = task.worker if target in LEASED else ""
        task = replace(self._rebase(task), state=target, since_s=self._clock.monotonic(), worker=worker)
        tasks.save(tx.connection, task)
        return stored

    def _load(self, tx: Tx, name: str) -> Task:
        return self._rebase(tasks.load(tx.connection, name))

    def _rebase(self, task: Task) -> Task:
        """Return the task with times of this boot; those of another boot mean nothing any more."""
        now = instant(self._clock)
        if task.boot_id == now.boot_id:
            return task
        return replace(
            task, boot_id=now.boot_id, since_s=now.boot_s, lease_until_s=0.0, not_before_s=0.0, published_s=0.0
        )

    def _leased(self, tx: Tx, name: str, epoch: int) -> Task:
        task = self._load(tx, name)
        if task.epoch != epoch or task.state not in LEASED or not task.worker:
            raise Conflict(
                f"attempt {epoch} of {name} does not hold the lease: the job is {state_name(task.state)} "
                f"at attempt {task.epoch}; stop",
                reason="STALE_LEASE",
            )
        return task

    def _unchanged(self, tx: Tx, seen: Task) -> Task | None:
        task = tasks.find(tx.connection, seen.name)
        if task is None or _place(task) != _place(seen):
            return None
        return self._rebase(task)

    def _job(self, tx: Tx, task: Task) -> Any:
        return tx.get(task.name, self._kinds[task.kind].message)

    def _kind_of(self, message: type[Message]) -> JobKind[Any]:
        for kind in self._kinds.values():
            if kind.message is message:
                return kind
        raise Internal(f"{message.DESCRIPTOR.full_name} is no kind of job of this service")


# States in which a caller's wish is fulfilled or under way.
_ALREADY: Mapping[Event, frozenset[job_pb2.JobState]] = {
    Event.CANCEL: frozenset({JOB_STATE_CANCELLING, JOB_STATE_CANCELLED}),
    Event.PAUSE: frozenset({JOB_STATE_PAUSING, JOB_STATE_PAUSED}),
    Event.RESUME: frozenset(),
}


def _place(task: Task) -> tuple[object, ...]:
    """Return what an observation of a task must still agree on; the lease, because a late heartbeat may renew it."""
    return task.state, task.epoch, task.lease_until_s


def _close(status: job_pb2.JobStatus, clock: Clock) -> None:
    """Note the end of the newest attempt."""
    if status.attempts and not status.attempts[-1].HasField("end_time"):
        status.attempts[-1].end_time.FromDatetime(clock.now())
    status.remaining_seconds = 0.0
