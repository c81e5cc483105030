"""A service that has nothing but jobs: real store, real gRPC server, real worker processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from bessemer.api.common.v1 import job_pb2
from bessemer.api.train.v1.training_job_pb2 import Checkpoint, TrainingJob, TrainingResult
from bessemer.api.worker.v1 import worker_service_pb2_grpc
from bessemer.jobs.decide import Policy
from bessemer.jobs.job_rpcs import JobRpcs
from bessemer.jobs.launcher_local import LocalLauncher, worker_env
from bessemer.jobs.runtime import TABLES, JobKind, JobRuntime
from bessemer.jobs.states import is_terminal, state_name
from bessemer.kernel.clock import SystemClock
from bessemer.svckit.auth import Authenticator
from bessemer.svckit.authorization import Authorizer
from bessemer.svckit.config import AuthConfig, ServiceConfig
from bessemer.svckit.health import Health
from bessemer.svckit.interceptors import Admission, Chain
from bessemer.svckit.objects import ObjectsConfig, open_objects
from bessemer.svckit.server import build_server, collect
from bessemer.svckit.store import Store

HERE = Path(__file__).resolve().parent
PATIENCE_S = 60.0


def on_success(tx, job, result, artifacts):
    job.usage.steps = TrainingResult.FromString(result).parameters
    job.model_version = artifacts[0].key
    return job


def on_progress(tx, job, saved_state):
    tx.put(Checkpoint(name=f"{job.name}/checkpoints/step-{int(saved_state):06d}"), verb="created")
    return job


KIND = JobKind("trainingJobs", TrainingJob, "jobs_worker", on_success)


class JobService:
    """Starts, stops and starts again; workers live on."""

    def __init__(
        self,
        home: Path,
        *,
        kind: JobKind[Any] = KIND,
        launcher: type[LocalLauncher] = LocalLauncher,
        **policy: Any,
    ) -> None:
        self.home = home
        self.kind = kind
        self.policy = Policy(**{"lease_s": 1.5, **policy})
        self.launcher_class = launcher
        self.listen = "127.0.0.1:0"

    async def start(self) -> None:
        store = Store.open(f"sqlite:///{self.home}/service.db", service="train", clock=SystemClock(), extra=TABLES)
        self.store = store
        objects_url = f"file://{self.home}/objects"
        objects = open_objects(ObjectsConfig(objects_url))
        config = ServiceConfig(name="train", home=self.home, objects_url=objects_url)
        self.launcher = self.launcher_class(self.home, "train", {})
        self.runtime = JobRuntime(store, [self.kind], self.launcher, objects, SystemClock(), policy=self.policy)
        self.rpcs = JobRpcs(self.runtime, self.kind)
        services = collect([(worker_service_pb2_grpc.add_WorkerServiceServicer_to_server, self.runtime.servicer)])
        chain = Chain(Authenticator(AuthConfig()), Authorizer(), Admission())

        async def probe() -> None:
            pass

        self.server, port = build_server(self.listen, services, chain=chain, health=Health(list(services), probe))
        await self.server.start()
        self.listen = f"127.0.0.1:{port}"  # the same after a restart, as workers know it
        self.launcher._env = worker_env(config, address=self.listen) | {"PYTHONPATH": str(HERE)}
        self.loop = asyncio.create_task(self.runtime.run())

    async def stop(self) -> None:
        self.loop.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.loop
        await self.server.stop(0)
        self.store.close()

    async def restart(self, *, down_s: float = 0.0) -> None:
        await self.stop()
        await asyncio.sleep(down_s)
        await self.start()

    async def submit(self, name: str = "j", **labels: str) -> str:
        job = TrainingJob(name=f"projects/p/trainingJobs/{name}", labels=labels)
        stored = await self.store.write(lambda tx: self.runtime.submit(tx, job))
        assert stored.status.state == job_pb2.JOB_STATE_QUEUED
        return stored.name

    async def get(self, name: str) -> TrainingJob:
        return await self.store.read(lambda tx: tx.get(name, TrainingJob))

    async def until(self, name: str, done: Callable[[TrainingJob], bool]) -> TrainingJob:
        deadline = time.monotonic() + PATIENCE_S
        while not done(job := await self.get(name)):
            logs = [path.read_text() for path in (self.home / "logs").rglob("*.log")]
            assert time.monotonic() < deadline, f"{job.status}\n" + "\n".join(logs)
            assert not self.loop.done(), self.loop.exception()
            assert not is_terminal(job.status.state), job.status  # or it would wait in vain
            await asyncio.sleep(0.02)
        return job

    async def until_state(self, name: str, state: str) -> TrainingJob:
        return await self.until(name, lambda job: state_name(job.status.state) == state)

    async def until_step(self, name: str, step: int) -> TrainingJob:
        return await self.until(name, lambda job: job.status.stage.startswith("step ") and _step(job) >= step)

    async def events(self, name: str) -> list[tuple[str, str, TrainingJob]]:
        """Return (verb, previous state, job) of every change."""
        from bessemer.api.event.v1.train_events_pb2 import TrainingJobChanged

        records = await self.store.read(lambda tx: tx.changes(0, limit=10_000, name=name))
        changed = [(record.type.split(".")[-2], TrainingJobChanged.FromString(record.payload)) for record in records]
        return [(verb, event.previous_state, event.training_job) for verb, event in changed]

    def pids(self) -> list[int]:
        """Return the worker processes that run now."""
        return [p.pid for p in psutil.process_iter(["cwd"]) if self._is_worker(p)]

    def _is_worker(self, process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.Error):
            mine = str(process.info["cwd"] or "").startswith(str(self.home))
            return mine and process.status() != psutil.STATUS_ZOMBIE
        return False

    def kill(self, number: int = signal.SIGKILL) -> None:
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def log(self, name: str, attempt: int) -> str:
        return self.runtime.log_path(name, attempt).read_text()

    async def until_said(self, name: str, attempt: int, text: str) -> None:
        path = self.runtime.log_path(name, attempt)
        await eventually(lambda: path.exists() and text in path.read_text())

    async def until_tidy(self) -> None:
        """Wait until nothing is left of ended workers but their logs."""
        run = self.home / "run"
        await eventually(lambda: not list((run / "workers" / "train").iterdir()) and not list((run / "work").iterdir()))

    async def until_gone(self) -> None:
        await eventually(lambda: not self.pids())


async def eventually(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not check():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def _step(job: TrainingJob) -> int:
    return int(job.status.stage.split()[1])
