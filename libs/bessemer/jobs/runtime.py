"""The service's side of jobs: accepts them, launches workers, takes their reports, and settles what went wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.message import Message

from bessemer.api.common.v1.job_pb2 import JOB_STATE_PENDING
from bessemer.api.common.v1.metric_pb2 import MetricPoint
from bessemer.api.worker.v1 import worker_service_pb2 as pb
from bessemer.jobs import decide, tasks
from bessemer.jobs.attempts import Attempts, JobKind, instant
from bessemer.jobs.decide import Effect, Expire, Kill, Launch, Lose, Policy, Stop, Submit, Task
from bessemer.jobs.failures import as_bessemer_error, failure_kind
from bessemer.jobs.launcher import Launcher, LaunchSpec, WorkerState, WorkerStatus
from bessemer.jobs.servicer import WorkerServicer
from bessemer.jobs.states import LEASED, Event, is_terminal
from bessemer.jobs.verification import verify_artifacts
from bessemer.kernel.clock import Clock
from bessemer.kernel.errors import BessemerError, Conflict, LimitReached, Unavailable
from bessemer.svckit import log
from bessemer.svckit.objects import ObjectStore
from bessemer.svckit.status import to_status
from bessemer.svckit.store import Store
from bessemer.svckit.tx import Tx

__all__ = ["TABLES", "JobKind", "JobRuntime"]

M = TypeVar("M", bound=Message)
TABLES = tasks.TABLES  # give these to `Store.open(extra=...)`

_KILL_GRACE_S = 10.0
_LINGER_S = 15.0  # for a worker to end after its report
_IDLE_S = 1.0
_BUSY_S = 0.2  # how soon the death of a worker is seen


class JobRuntime:
    """Jobs of one service; everything it knows is in the store, so that it may be killed at any time."""

    def __init__(
        self,
        store: Store,
        kinds: Sequence[JobKind[Any]],
        launcher: Launcher,
        objects: ObjectStore,
        clock: Clock,
        *,
        policy: Policy | None = None,
    ) -> None:
        self.store = store
        self.policy = policy or Policy()
        self.servicer = WorkerServicer(self)
        self._attempts = Attempts({kind.collection: kind for kind in kinds}, clock, self.policy)
        self._launcher = launcher
        self._objects = objects
        self._clock = clock
        self._started_s = clock.monotonic()
        self._lingering: dict[str, float] = {}

    def submit(self, tx: Tx, job: M) -> M:
        """Accept a job: it runs or ends with a reason. Returns it as stored, QUEUED."""
        return self._attempts.submit(tx, job)

    def cancel(self, tx: Tx, name: str, message: type[M]) -> M:
        """Ask for the end of a job; asking again changes nothing.

        Raises: FailedPrecondition JOB_TERMINAL; NotFound.
        """
        return self._attempts.request(tx, name, message, Event.CANCEL)

    def pause(self, tx: Tx, name: str, message: type[M]) -> M:
        """Ask a running job to save its state and free its worker; asking again changes nothing.

        Raises: FailedPrecondition JOB_TERMINAL or JOB_STATE_INVALID; NotFound.
        """
        return self._attempts.request(tx, name, message, Event.PAUSE)

    def resume(self, tx: Tx, name: str, message: type[M]) -> M:
        """Queue a paused job again.

        Raises: FailedPrecondition JOB_TERMINAL or JOB_STATE_INVALID; NotFound.
        """
        return self._attempts.request(tx, name, message, Event.RESUME)

    def query(self, tx: Tx, name: str, keys: Sequence[str] = (), points_max: int = 0) -> list[MetricPoint]:
        """Return metrics by series and step, each series thinned evenly to `points_max` (0: 500)."""
        return tasks.query_metrics(tx.connection, name, keys, points_max)

    def log_path(self, name: str, attempt: int) -> Path:
        """Return the log file of an attempt; it may not exist yet."""
        return self._launcher.log_path(name, attempt)

    async def newest_attempt(self, name: str) -> int:
        """Return the number of a job's newest attempt; 0 before the first.

        Raises: NotFound.
        """
        return (await self.store.read(lambda tx: tasks.load(tx.connection, name))).epoch

    async def has_finished(self, name: str) -> bool:
        """Return whether a job has ended for ever."""
        return is_terminal((await self.store.read(lambda tx: tasks.load(tx.connection, name))).state)

    async def has_ended(self, name: str, attempt: int) -> bool:
        """Return whether an attempt is over."""
        task = await self.store.read(lambda tx: tasks.load(tx.connection, name))
        return task.epoch != attempt or not _is_attempted(task)

    async def worker_status(self, name: str, attempt: int) -> WorkerStatus:
        """Return the state of an attempt's process."""
        return await asyncio.to_thread(self._launcher.get, LaunchSpec(name, attempt, "").id)

    async def run(self) -> None:
        """Launch, watch and settle until cancelled."""
        self._started_s = self._clock.monotonic()
        signal = self.store.changed()
        while True:
            sequence, wait_s = signal.head, _IDLE_S
            try:
                if await self.reconcile():
                    wait_s = _BUSY_S
            except (Unavailable, LimitReached) as error:
                log.warning("jobs.reconcile_failed", error=error)
                await asyncio.sleep(_IDLE_S)
            await signal.wait_after(sequence, wait_s)

    async def reconcile(self) -> bool:
        """Compare what should be with what is, once; return whether there is something to keep an eye on."""
        live = await self.store.read(lambda tx: tasks.live(tx.connection))
        workers = await asyncio.to_thread(self._launcher.list)
        slots = self.policy.parallelism - sum(w.state == WorkerState.RUNNING for w in workers.values())
        for task in live:
            worker = workers.get(LaunchSpec(task.name, task.epoch, "").id, WorkerStatus(WorkerState.UNKNOWN))
            effect = decide.decide(
                task,
                worker,
                instant(self._clock),
                policy=self.policy,
                started_s=self._started_s,
                slots=slots,
            )
            if effect is not None:
                slots -= isinstance(effect, Launch | Submit)
                try:
                    await self._carry_out(task, effect)
                except BessemerError as error:  # one job must not keep the others from running
                    log.error("jobs.effect_failed", job=task.name, effect=effect, cause=error)
        await self._clean_up(workers, {LaunchSpec(t.name, t.epoch, "").id for t in live if _is_attempted(t)})
        return bool(workers) or any(task.not_before_s > self._clock.monotonic() for task in live)

    async def report(self, request: pb.ReportAttemptRequest) -> None:
        """Take a worker's report; one that was recorded before is answered as the first time.

        Raises: Conflict STALE_LEASE.
        """
        if await self.store.read(lambda tx: self._attempts.is_reported(tx, request)):
            return
        outcome = request.WhichOneof("outcome")
        if outcome == "failure":
            await self.store.write(lambda tx: self._attempts.fail(tx, request, request.failure))
        elif outcome in {"paused_state", "cancelled"}:
            await self.store.write(lambda tx: self._attempts.release(tx, request))
        else:
            await self._take_result(request)

    async def claim(self, request: pb.AcquireTaskRequest) -> pb.AcquireTaskResponse:
        """Hand a task to the worker that was launched for it."""
        return await self.store.write(lambda tx: self._attempts.claim(tx, request))

    async def beat(self, request: pb.HeartbeatRequest) -> pb.HeartbeatResponse:
        """Renew a lease.

        Raises: Conflict STALE_LEASE.
        """
        return await self.store.write(lambda tx: self._attempts.beat(tx, request))

    async def _take_result(self, request: pb.ReportAttemptRequest) -> None:
        try:
            await asyncio.to_thread(verify_artifacts, self._objects, request.name, request.artifacts)
            await self.store.write(lambda tx: self._attempts.succeed(tx, request))
        except (Unavailable, Conflict):
            raise  # the worker asks again, or must stop
        except Exception as error:  # noqa: BLE001 - whatever a kind's on_success raises ends the attempt
            log.error("jobs.result_refused", exc=error, job=request.name, attempt=request.epoch)
            status = to_status(as_bessemer_error(error))
            failure = pb.AttemptFailure(error=status, kind=failure_kind(error))
            await self.store.write(lambda tx: self._attempts.fail(tx, request, failure))

    async def _carry_out(self, task: Task, effect: Effect) -> None:
        worker = LaunchSpec(task.name, task.epoch, "").id
        match effect:
            case Launch():
                spec = await self.store.write(lambda tx: self._attempts.launch(tx, task))
                if spec is not None:
                    await self._submit(spec)
            case Submit():
                await self._submit(await self.store.read(lambda tx: self._attempts.spec(tx, task)))
            case Kill():
                await asyncio.to_thread(self._launcher.cancel, worker, grace_s=_KILL_GRACE_S)
            case Lose(message, kill):
                log.warning("jobs.worker_lost", job=task.name, attempt=task.epoch, cause=message)
                if kill:
                    await asyncio.to_thread(self._launcher.cancel, worker, grace_s=0.0)
                await self.store.write(lambda tx: self._attempts.lose(tx, task, message))
            case Stop():
                await self.store.write(lambda tx: self._attempts.end(tx, task, Event.STOP))
            case Expire():
                await self.store.write(lambda tx: self._attempts.end(tx, task, Event.EXPIRE))

    async def _submit(self, spec: LaunchSpec) -> None:
        try:
            await asyncio.to_thread(self._launcher.submit, spec)
        except BessemerError as error:
            message = error.message
            log.warning("jobs.launch_failed", job=spec.task, attempt=spec.attempt, cause=message)
            task = await self.store.read(lambda tx: tasks.load(tx.connection, spec.task))
            if task.epoch == spec.attempt:
                await self.store.write(lambda tx: self._attempts.lose(tx, task, message))
        else:
            log.info("jobs.launched", job=spec.task, attempt=spec.attempt)

    async def _clean_up(self, workers: Mapping[str, WorkerStatus], wanted: Iterable[str]) -> None:
        """Forget workers that have ended and end those that nobody waits for any more."""
        now_s = self._clock.monotonic()
        unwanted = workers.keys() - set(wanted)
        self._lingering = {worker: self._lingering.get(worker, now_s) for worker in unwanted}
        for worker, since_s in self._lingering.items():
            if workers[worker].state == WorkerState.EXITED:
                await asyncio.to_thread(self._launcher.forget, worker)
            elif now_s - since_s > _LINGER_S:
                await asyncio.to_thread(self._launcher.cancel, worker, grace_s=_KILL_GRACE_S)


def _is_attempted(task: Task) -> bool:
    return task.state in LEASED or task.state == JOB_STATE_PENDING
