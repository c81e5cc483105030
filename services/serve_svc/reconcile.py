"""The loops that make the world match the store.

One starts engines that are to run, restarts those that ended and stops the rest; one moves rollouts by their evidence.
"""

from __future__ import annotations

import asyncio
import time

from bessemer.api.serve.v1.deployment_pb2 import Deployment
from bessemer.api.serve.v1.rollout_pb2 import Rollout
from bessemer.kernel.errors import BessemerError, Internal, LimitReached, Unavailable
from bessemer.svckit import log, status
from bessemer.svckit.store import Store, Tx

from serve_svc.app import evidence
from serve_svc.app.answers import Answers
from serve_svc.app.deployments import is_due, mark_failed, mark_loading, mark_ready, retire_due, wanted
from serve_svc.app.fleet import Fleet
from serve_svc.app.measures import Measures
from serve_svc.app.rollouts import advance
from serve_svc.codec import precision_name
from serve_svc.config import ServeConfig
from serve_svc.ports import Engine, Engines, ModelFiles, Servers, TensorEngines

__all__ = ["Reconciler", "RolloutLoop", "backoff_s", "is_final"]

LOOK_EVERY_S = 5.0  # commits of this process wake the loop at once
PRUNE_EVERY_S = 60.0
MOVE_EVERY_S = 0.25  # one transaction for the outcomes of so long; each outcome in it is looked at
STABLE_S = 60.0  # an engine that ran so long did not crash at start


class Reconciler:
    """One task per deployment that is to run."""

    def __init__(
        self,
        store: Store,
        engines: Engines,
        tensors: TensorEngines,
        servers: Servers,
        files: ModelFiles,
        *,
        fleet: Fleet,
        answers: Answers,
        config: ServeConfig,
    ) -> None:
        self._store = store
        self._engines = engines
        self._tensors = tensors
        self._servers = servers
        self._files = files
        self._fleet = fleet
        self._answers = answers
        self._config = config
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Go on until cancelled; then end all engines, whose deployments stay ready in the store."""
        pruned_s, seen = -PRUNE_EVERY_S, 0
        try:
            while True:
                try:
                    await self._turn()
                    if time.monotonic() - pruned_s > PRUNE_EVERY_S:
                        pruned_s = time.monotonic()
                        await self._answers.prune()
                except BessemerError as error:
                    log.warning("reconcile_failed", reason=error.reason, message=error.message)
                seen = await self._store.changed().wait_after(seen, LOOK_EVERY_S)
        finally:
            tasks = [*self._tasks.values(), *self._stopping]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _turn(self) -> None:
        for task in self._tasks.values():
            if task.done():
                task.result()  # a defect of ours ends the service, loudly
        deployments = {deployment.name: deployment for deployment in await self._store.read(wanted)}
        if any(is_due(deployment, self._store.facts.clock.now()) for deployment in deployments.values()):
            await self._store.write(retire_due)
            deployments = {deployment.name: deployment for deployment in await self._store.read(wanted)}
        for name in self._tasks.keys() - deployments.keys():
            task = asyncio.create_task(self._stop(name, self._tasks.pop(name)))
            self._stopping.add(task)
            task.add_done_callback(self._stopping.discard)
        for name in deployments.keys() - self._tasks.keys():
            self._tasks[name] = asyncio.create_task(self._keep(deployments[name]))

    async def _stop(self, name: str, task: asyncio.Task[None]) -> None:
        """Let answers in flight end, then the engine."""
        try:
            await self._fleet.drain(name, self._config.drain_s)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            log.info("deployment_stopped", deployment=name)

    async def _keep(self, deployment: Deployment) -> None:
        """Keep one deployment running until cancelled or beyond hope."""
        name, num_failures, num_crashes = deployment.name, 0, 0
        while True:
            started_s = time.monotonic()
            try:
                await self._store.write(lambda tx: mark_loading(tx, name))
                await self._serve(deployment)
                error: BessemerError = Internal(f"the engine of {name} ended; its log says why")
            except BessemerError as caught:
                error = caught
            log.warning("engine_down", deployment=name, reason=error.reason, message=error.message)
            if time.monotonic() - started_s > STABLE_S:
                num_failures = num_crashes = 0
            num_failures += 1
            num_crashes += isinstance(error, Internal)
            if is_final(error) or num_crashes >= self._config.crashes_max:
                await self._fail(name, error)
                return
            await asyncio.sleep(backoff_s(num_failures, self._config.backoff_s_max))

    async def _fail(self, name: str, error: BessemerError) -> None:
        await self._store.write(lambda tx: mark_failed(tx, name, status.to_status(error)))

    async def _serve(self, deployment: Deployment) -> None:
        """Load, answer, return when the engine has ended."""
        engine = await self._start(deployment)
        try:
            self._fleet.add(deployment.name, engine)
            await self._store.write(
                lambda tx: mark_ready(
                    tx, deployment.name, engine.context_length, engine=engine.kind, precision=engine.precision
                )
            )
            log.info("deployment_ready", deployment=deployment.name, model_version=deployment.model_version)
            await self._until_ended(deployment.name, engine)
        finally:
            self._fleet.remove(deployment.name)
            await asyncio.shield(engine.close())

    async def _start(self, deployment: Deployment) -> Engine:
        if deployment.server:
            return await self._servers.connect(deployment)
        if deployment.export_job:
            return await self._tensors.start(deployment.name, await self._files.fetch_export(deployment.export_archive))
        folder = await self._files.fetch(deployment.model_manifest)
        return await self._engines.start(deployment.name, folder, precision_name(deployment.precision))

    async def _until_ended(self, name: str, engine: Engine) -> None:
        settings = self._config.engine
        while not await engine.ended(settings.ping_every_s):
            if not await engine.responds(settings.ping_timeout_s):
                log.error("engine_hangs", deployment=name)
                return


class RolloutLoop:
    """Moves all rollouts; what it knows is in the store, so it may end at any point."""

    def __init__(self, store: Store, measures: Measures) -> None:
        self._store = store
        self._measures = measures

    async def run(self) -> None:
        """Go on until cancelled."""
        seen = 0
        while True:
            try:
                await self.turn()
            except BessemerError as error:
                log.warning("rollouts_wait", reason=error.reason, message=error.message)
            await asyncio.sleep(MOVE_EVERY_S)
            seen = await self._store.changed().wait_after(seen, LOOK_EVERY_S)

    async def turn(self) -> None:
        """Move each rollout as far as its outcomes take it."""
        for name in await self._store.read(evidence.running):
            while await self._store.write(lambda tx, name=name: advance(tx, name)):  # type: ignore[misc]
                pass
        self._measures.set_rollouts(await self._store.read(_running_rollouts))


def _running_rollouts(tx: Tx) -> list[Rollout]:
    return [evidence.fill(tx, tx.get(name, Rollout)) for name in evidence.running(tx)]


def is_final(error: BessemerError) -> bool:
    """Say whether trying again with the same files is pointless; outages pass, and engines may have been unlucky."""
    return not isinstance(error, (Unavailable, LimitReached, Internal))


def backoff_s(num_failures: int, longest_s: float) -> float:
    """Return how long to wait before the next try: half a second, doubling."""
    return float(min(longest_s, 0.25 * 2 ** min(num_failures, 16)))
