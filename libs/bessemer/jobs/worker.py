"""The worker's side of jobs: a process of its own that holds a lease, does the work, and says how it ended."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import resource
import secrets
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

from google.protobuf.message import Message

from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.common.v1.job_pb2 import FAILURE_KIND_NUMERIC
from bessemer.api.common.v1.metric_pb2 import MetricPoint
from bessemer.api.worker.v1 import worker_service_pb2 as pb
from bessemer.jobs.failures import as_bessemer_error, failure_kind
from bessemer.jobs.launcher import GO
from bessemer.jobs.patient_objects import objects_of
from bessemer.jobs.worker_link import Link, is_fenced, is_refused
from bessemer.kernel.errors import BessemerError, Internal, Unavailable
from bessemer.svckit import telemetry
from bessemer.svckit.config import TlsConfig
from bessemer.svckit.objects import ObjectStore
from bessemer.svckit.status import to_status

__all__ = [
    "Cancelled",
    "Done",
    "Handler",
    "LeaseLost",
    "PauseRequested",
    "Paused",
    "Stopped",
    "TaskContext",
    "Terminated",
    "main",
    "surroundings",
    "tls_of",
]

HEARTBEAT_S = 2.0
SILENCE_S = 60.0  # without an answer after which the lease counts as lost
_RETRY_S = 0.5
_REPORT_S = 3600.0  # how long a finished worker offers its result
_METRICS_PER_CALL = 1000
EXIT_OK, EXIT_FAILED, EXIT_NO_TASK, EXIT_LEASE_LOST = 0, 1, 3, 4

_log = logging.getLogger("bessemer.worker")


class Stopped(Exception):
    """Raised by `TaskContext.check` when the attempt should end; let it pass after cleaning up."""


class Cancelled(Stopped):
    """The job was cancelled."""


class PauseRequested(Stopped):
    """The job should pause: return `Paused` with what to go on from, or let this pass to keep what was saved last."""


class Terminated(Stopped):
    """The host wants this process gone; the attempt is tried again."""


class LeaseLost(Stopped):
    """Another attempt has the job, or the service is silent; whatever this one still writes is refused."""


class NotFinite(Internal):
    """A metric is NaN or infinite."""

    failure_kind = FAILURE_KIND_NUMERIC
    default_reason = "TRAINING_DIVERGED"


@dataclass
class Done:
    """The job is finished; the service checks that `artifacts` are in the object store before it believes it."""

    result: Message
    artifacts: Sequence[ArtifactRef] = ()


@dataclass
class Paused:
    """The job is paused; empty keeps the state saved last."""

    saved_state: bytes = b""


class ServiceLink(Protocol):
    """What a context needs of its connection."""

    def beat(self, request: pb.HeartbeatRequest) -> pb.HeartbeatResponse:
        """Renew the lease."""


class TaskContext:
    """One attempt at a job: what to do, where to put things, and how to say how far it is."""

    def __init__(self, task: pb.Task, *, objects: ObjectStore, workdir: Path, link: ServiceLink) -> None:
        self.name: str = task.name
        self.kind: str = task.kind
        self.epoch: int = task.epoch
        self.job: bytes = task.job
        self.saved_state: bytes = task.saved_state
        self.heartbeat_s = min(HEARTBEAT_S, task.lease_seconds / 4)
        self.objects = objects
        self.workdir = workdir
        self._link = link
        self._news = pb.HeartbeatRequest(name=task.name, epoch=task.epoch)
        self._metrics: list[MetricPoint] = []
        self._lock = threading.Lock()
        self._calling = threading.Lock()  # heartbeats go one after the other, so that progress never runs backwards
        self._answered_at = time.monotonic()
        self._wishes = pb.HeartbeatResponse()
        self._fenced = False
        self._terminated = False

    def report(
        self,
        *,
        stage: str,
        fraction: float,
        remaining_s: float = 0,
        metrics: Sequence[MetricPoint] = (),
        saved_state: bytes = b"",
    ) -> None:
        """Say how far the work is; sent with the next heartbeat, or at once and acknowledged with a `saved_state`.

        Raises: NotFinite for a metric that is not; LeaseLost if a state can no longer be saved.
        """
        for point in metrics:
            if not math.isfinite(point.value):
                raise NotFinite(f"{point.key} is {point.value} at step {point.step}", step=point.step)
        with self._lock:
            self._news.stage, self._news.progress = stage[:200], min(1.0, max(0.0, fraction))
            self._news.remaining_seconds = max(0.0, remaining_s)
            self._metrics += metrics
        if saved_state:
            self._save(saved_state)

    def check(self) -> None:
        """Raise Cancelled, PauseRequested, Terminated or LeaseLost if this attempt should end; call it often."""
        if self.is_lost():
            raise LeaseLost(f"attempt {self.epoch} of {self.name} no longer holds the lease")
        if self._wishes.cancel:
            raise Cancelled(f"{self.name} was cancelled")
        if self._wishes.pause:
            raise PauseRequested(f"{self.name} should pause")
        if self._terminated:
            raise Terminated("the worker was asked to end by a signal")

    def is_lost(self) -> bool:
        """Return whether the lease is gone or the service silent for too long."""
        return self._fenced or time.monotonic() - self._answered_at > SILENCE_S

    def terminate(self) -> None:
        """Make `check` raise Terminated; safe in a signal handler."""
        self._terminated = True

    def beat(self, saved_state: bytes = b"") -> None:
        """Send a heartbeat now, with everything that was reported since the last one.

        Raises: BessemerError as the service answers; what was not delivered is kept for the next one.
        """
        with self._calling:
            with self._lock:
                request = pb.HeartbeatRequest()
                request.CopyFrom(self._news)
                batch, self._metrics = self._metrics[:_METRICS_PER_CALL], self._metrics[_METRICS_PER_CALL:]
            request.metrics.extend(batch)
            request.saved_state = saved_state
            request.cpu_seconds = cpu_seconds()
            try:
                self._wishes = self._link.beat(request)
                self._answered_at = time.monotonic()
            except BessemerError as error:
                self._fenced = self._fenced or is_fenced(error)
                with self._lock:
                    self._metrics = batch + self._metrics
                raise

    def take_metrics(self) -> list[MetricPoint]:
        """Deliver all but the last few metrics and return those, for the final report."""
        while True:
            with self._lock:
                if len(self._metrics) <= _METRICS_PER_CALL:
                    batch, self._metrics = self._metrics, []
                    return batch
            self.beat()

    def _save(self, saved_state: bytes) -> None:
        while True:
            try:
                self.beat(saved_state)
            except BessemerError as error:
                if self.is_lost():
                    raise LeaseLost(f"the state could not be saved: {error.message}") from error
                if is_refused(error):
                    raise
                _log.warning("saving the state: %s; trying again", error.message)
                time.sleep(_RETRY_S)
            else:
                self.saved_state = saved_state
                return


Handler = Callable[[TaskContext], Done | Paused]


def main(handlers: Mapping[str, Handler]) -> NoReturn:
    """Be a worker: claim the task named in the environment, run its kind's handler, report, and end the process."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    code = EXIT_NO_TASK
    if sys.stdin.buffer.readline() == GO:
        code = _work(handlers, dict(os.environ))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # a thread that some library left behind must not keep a finished worker


def _work(handlers: Mapping[str, Handler], env: Mapping[str, str]) -> int:
    token_file = env.get("BESSEMER_TOKEN_FILE")
    link = Link(env["BESSEMER_WORKER_ADDRESS"], Path(token_file) if token_file else None, tls_of(env))
    workdir = Path(env["BESSEMER_WORKER_DIR"])
    workdir.mkdir(parents=True, exist_ok=True)
    telemetry.attach(env.get("TRACEPARENT", ""))
    try:
        task = _acquire(link, env["BESSEMER_WORKER_TASK"], env["BESSEMER_WORKER_ATTEMPT"])
        if task is None:
            _log.error("there is no task for this worker any more")
            return EXIT_NO_TASK
        objects, _ = surroundings(env)
        context = TaskContext(task, objects=objects, workdir=workdir, link=link)
        signal.signal(signal.SIGTERM, lambda *_: context.terminate())
        return _attempt(context, link, handlers)
    finally:
        link.close()
        shutil.rmtree(workdir, ignore_errors=True)


def surroundings(env: Mapping[str, str]) -> tuple[ObjectStore, Path]:
    """Return the object store and the scratch folder that a worker's environment names."""
    return objects_of(env), Path(env["BESSEMER_WORKER_DIR"])


def _attempt(context: TaskContext, link: Link, handlers: Mapping[str, Handler]) -> int:
    _log.info("attempt %d of %s begins", context.epoch, context.name)
    stopped, finished = threading.Event(), threading.Event()
    threading.Thread(target=_beat_until, args=(context, stopped, finished), name="heartbeat", daemon=True).start()
    outcome = _run(context, handlers)
    stopped.set()
    if outcome is None:
        return EXIT_LEASE_LOST
    outcome.name, outcome.epoch = context.name, context.epoch
    with contextlib.suppress(BessemerError):
        outcome.metrics.extend(context.take_metrics())
    delivered = _deliver(link, outcome)
    finished.set()
    if not delivered:
        return EXIT_LEASE_LOST
    return EXIT_FAILED if outcome.HasField("failure") else EXIT_OK


def _run(context: TaskContext, handlers: Mapping[str, Handler]) -> pb.ReportAttemptRequest | None:
    """Return how the attempt ended; None if nobody wants to know."""
    try:
        handler = handlers.get(context.kind)
        if handler is None:
            raise Internal(f"this worker does not know jobs of kind {context.kind!r}")
        outcome = handler(context)
    except LeaseLost as error:
        _log.error("stopping: %s", error)
        return None
    except Cancelled:
        _log.info("cancelled")
        return pb.ReportAttemptRequest(cancelled=True)
    except PauseRequested:
        _log.info("paused")
        return pb.ReportAttemptRequest(paused_state=context.saved_state)
    except BaseException as error:  # noqa: BLE001 - whatever ends an attempt is reported
        _log.error("failed: %s", error, exc_info=not isinstance(error, BessemerError | Stopped))
        if isinstance(error, Terminated):
            error = Unavailable(str(error), reason="WORKER_LOST")
        failure = pb.AttemptFailure(error=to_status(as_bessemer_error(error)), kind=failure_kind(error))
        return pb.ReportAttemptRequest(failure=failure)
    if isinstance(outcome, Paused):
        return pb.ReportAttemptRequest(paused_state=outcome.saved_state or context.saved_state)
    return pb.ReportAttemptRequest(result=outcome.result.SerializeToString(), artifacts=outcome.artifacts)


def _deliver(link: Link, report: pb.ReportAttemptRequest) -> bool:
    """Report until it is acknowledged; False if the attempt was fenced or nobody ever answered."""
    report.cpu_seconds = cpu_seconds()
    deadline = time.monotonic() + _REPORT_S
    while time.monotonic() < deadline:
        try:
            link.report(report)
        except BessemerError as error:
            if is_fenced(error):
                _log.error("the report was refused: %s", error.message)
                return False
            if is_refused(error) and not report.HasField("failure"):
                _log.error("the report was refused: %s", error.message)
                defect = pb.AttemptFailure(error=to_status(error), kind=failure_kind(Internal("")))
                report = pb.ReportAttemptRequest(name=report.name, epoch=report.epoch, failure=defect)
                continue
            _log.warning("reporting: %s; trying again", error.message)
            time.sleep(_RETRY_S)
        else:
            _log.info("reported: %s", report.WhichOneof("outcome"))
            return True
    return False


def _beat_until(context: TaskContext, stopped: threading.Event, finished: threading.Event) -> None:
    """Send heartbeats until the report is in; end the process if its work goes on long after the lease was lost."""
    lost_at: float | None = None
    while not finished.is_set():
        delay_s = context.heartbeat_s
        try:
            context.beat()
        except BessemerError as error:
            if not stopped.is_set():
                _log.warning("heartbeat: %s", error.message)
            delay_s = min(_RETRY_S, context.heartbeat_s)
        lost_at = (lost_at or time.monotonic()) if context.is_lost() else None
        if lost_at is not None and time.monotonic() - lost_at > SILENCE_S and not stopped.is_set():
            _log.error("the lease is lost and the work does not stop; ending the process")
            os._exit(EXIT_LEASE_LOST)
        finished.wait(delay_s)


def _acquire(link: Link, task: str, attempt: str) -> pb.Task | None:
    request = pb.AcquireTaskRequest(worker=f"{task}@{attempt}/{os.getpid()}-{secrets.token_hex(4)}", task=task)
    deadline = time.monotonic() + SILENCE_S
    while time.monotonic() < deadline:
        try:
            response = link.acquire(request)
        except BessemerError as error:
            _log.warning("claiming the task: %s", error.message)
            if is_refused(error):
                return None
            time.sleep(_RETRY_S)
        else:
            return response.task if response.HasField("task") else None
    return None


def cpu_seconds() -> float:
    """Return the CPU seconds that this process and its ended children have used."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def tls_of(env: Mapping[str, str]) -> TlsConfig | None:
    """Return the certificate that a worker's environment names."""
    cert, key, authority = (env.get(f"BESSEMER_TLS_{part}") for part in ("CERT", "KEY", "CA"))
    return TlsConfig(Path(cert), Path(key), Path(authority) if authority else None) if cert and key else None
