"""Low-rank adapters of deployments: which requests may name, and which an engine holds right now.

A deployment lists its adapters by digest, so one transaction makes them known to every replica at once. An engine takes
one in when the first request names it, and gives up the one that was asked for longest ago when it holds enough.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.serve.v1 import deployment_pb2 as api
from bessemer.api.serve.v1.deployment_service_pb2 import LoadAdapterRequest, UnloadAdapterRequest
from bessemer.api.train.v1.model_pb2 import ModelVersion
from bessemer.kernel.errors import FailedPrecondition, LimitReached, NotFound
from bessemer.kernel.ids import id_of, parent_of
from bessemer.svckit.store import Store, Tx

from serve_svc.app.deployments import Admission, Deployments, allowed, is_terminal
from serve_svc.app.fleet import Fleet
from serve_svc.ports import Engine, ModelFiles

__all__ = ["ADAPTERS_MAX", "Adapters", "Residents", "adapter_of", "least_recent", "problem_of"]

ADAPTERS_MAX = 256  # of a deployment, whose message names them all


class Residents:
    """Adapters that each engine holds, at most `limit` of one engine; answers in flight keep theirs."""

    def __init__(self, files: ModelFiles, *, limit: int) -> None:
        self._files = files
        self._limit = limit
        self._engines: WeakKeyDictionary[Engine, _Held] = WeakKeyDictionary()

    @asynccontextmanager
    async def hold(self, engine: Engine, manifest: ArtifactRef) -> AsyncIterator[str]:
        """Yield the name by which an engine knows the adapters of a version; it keeps them until this ends.

        Raises: LimitReached if answers with too many others are in flight; the errors of the files and the engine.
        """
        held, name = self._engines.setdefault(engine, _Held()), manifest.sha256
        if name in held.users:
            held.pin(name)
        else:
            # Goes on when the caller leaves, so that what the engine holds is never in doubt.
            pinning = asyncio.ensure_future(self._bring(engine, held, manifest))
            try:
                await asyncio.shield(pinning)
            except asyncio.CancelledError:
                pinning.add_done_callback(lambda done: held.unpin(name) if done.exception() is None else None)
                raise
        try:
            yield name
        finally:
            held.unpin(name)

    def names(self, engine: Engine) -> list[str]:
        """Return what an engine holds, what was asked for longest ago first."""
        return list(self._engines[engine].users) if engine in self._engines else []

    async def _bring(self, engine: Engine, held: _Held, manifest: ArtifactRef) -> None:
        """Have an engine take in what it may not hold yet, pinned for the caller before anybody else could evict it."""
        folder = await self._files.fetch_adapter(manifest)
        async with held.lock:
            if manifest.sha256 in held.users:
                held.pin(manifest.sha256)
                return
            while len(held.users) >= self._limit:
                victim = least_recent(held.users)
                if victim is None:
                    text = f"answers with {self._limit} other adapters are in flight; try again in some seconds"
                    raise LimitReached(text, retry_after_s=2)
                del held.users[victim]  # from now on a request for it waits for the lock
                await engine.unload_adapter(victim)
            await engine.load_adapter(manifest.sha256, str(folder))
            held.pin(manifest.sha256)


class _Held:
    """What one engine holds: answers in flight by name, in the order of their last use."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users: OrderedDict[str, int] = OrderedDict()

    def pin(self, name: str) -> None:
        """Count one more user, who is the latest."""
        self.users[name] = self.users.get(name, 0) + 1
        self.users.move_to_end(name)

    def unpin(self, name: str) -> None:
        """Count one user less."""
        self.users[name] -= 1


def least_recent(users: Mapping[str, int]) -> str | None:
    """Return the name that was used longest ago and that nobody uses now."""
    return next((name for name, count in users.items() if not count), None)


class Adapters:
    """What callers may do with the adapters of a deployment."""

    def __init__(self, store: Store, deployments: Deployments, fleet: Fleet, residents: Residents) -> None:
        self._store = store
        self._deployments = deployments
        self._fleet = fleet
        self._residents = residents

    async def load(self, request: LoadAdapterRequest) -> api.Deployment:
        """Let requests name adapters, once this replica's engine has taken them in, if it runs.

        Raises: FailedPrecondition ADAPTER_MISMATCH for adapters of another base, GATE_NOT_PASSED as for a deployment;
        what the engine has against them.
        """
        deployment = await self._store.read(lambda tx: tx.get(request.name, api.Deployment))
        wish = await self._deployments.admit(
            parent_of(request.name),
            request.model_version,
            decision=request.gate_decision,
            waiver=request.gate_waiver,
        )
        base = await self._deployments.version(wish.version.parent) if wish.version.parent else None
        problem = problem_of(deployment, wish.version, base)
        if problem is not None:
            raise FailedPrecondition(problem, reason="ADAPTER_MISMATCH", resource=wish.version.name)
        if self._fleet.has(request.name):
            with self._fleet.use(request.name) as engine:
                async with self._residents.hold(engine, wish.version.manifest):
                    pass
        return await self._store.write(lambda tx: _put(tx, request, wish))

    async def unload(self, request: UnloadAdapterRequest) -> api.Deployment:
        """Take adapters away; engines forget them when they want the room.

        Raises: NotFound.
        """

        def write(tx: Tx) -> api.Deployment:
            deployment = tx.get(request.name, api.Deployment)
            found = adapter_of(deployment, request.adapter_id)
            if found is None:
                raise NotFound(_unknown(deployment, request.adapter_id), resource=request.name)
            deployment.adapters.remove(found)
            return tx.put(deployment, verb="adapter_unloaded")

        return await self._store.write(write)


def adapter_of(deployment: api.Deployment, adapter_id: str) -> api.Adapter | None:
    """Return the adapters that a deployment has under an id."""
    return next((one for one in deployment.adapters if one.id == adapter_id), None)


def problem_of(deployment: api.Deployment, version: ModelVersion, base: ModelVersion | None) -> str | None:
    """Return why a version's adapters cannot be served by a deployment; `base` is what they were trained over."""
    if is_terminal(deployment):
        return f"{deployment.name} has ended; deploy {deployment.model_version} again"
    if elsewhere := deployment.server or deployment.export_job:
        return f"{deployment.name} is computed by {elsewhere}, which takes no adapters; deploy {version.name} itself"
    if not version.adapter_rank or base is None:
        return f"{version.name} has no adapters beside its weights; deploy it as a model of its own"
    if base.manifest.sha256 != deployment.model_manifest.sha256:
        return (
            f"{version.name} holds adapters over {base.name}, but {deployment.name} serves {deployment.model_version}; "
            "load them into a deployment of their base"
        )
    if version.tokenizer.sha256 != base.tokenizer.sha256:
        return f"{version.name} reads text by another tokenizer than {base.name}; deploy it as a model of its own"
    return None


def _put(tx: Tx, request: LoadAdapterRequest, wish: Admission) -> api.Deployment:
    deployment = tx.get(request.name, api.Deployment)
    if is_terminal(deployment):
        raise FailedPrecondition(f"{request.name} ended meanwhile; deploy its version again", resource=request.name)
    gate_decision, waiver = allowed(wish, tx.clock.now())
    made = api.Adapter(
        id=request.adapter_id,
        model_version=wish.version.name,
        gate_decision=gate_decision,
        waiver=waiver,
        manifest=wish.version.manifest,
        rank=wish.version.adapter_rank,
    )
    made.load_time.FromDatetime(tx.clock.now())
    known = adapter_of(deployment, request.adapter_id)
    if known is not None:
        known.CopyFrom(made)
    elif len(deployment.adapters) < ADAPTERS_MAX:
        deployment.adapters.append(made)
    else:
        raise LimitReached(f"{request.name} has {ADAPTERS_MAX} adapters, the most; unload one", resource=request.name)
    return tx.put(deployment, verb="adapter_loaded")


def _unknown(deployment: api.Deployment, adapter_id: str) -> str:
    known = ", ".join(one.id for one in deployment.adapters[:20]) or "none"
    return f"{id_of(deployment.name)} has no adapters {adapter_id!r}; it has {known}"
