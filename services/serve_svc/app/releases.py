"""How a loop puts a version into service: a deployment that takes over when it is ready."""

from __future__ import annotations

from bessemer.api.serve.v1 import deployment_pb2 as api
from bessemer.api.serve.v1 import loop_pb2
from bessemer.kernel.ids import id_of, parent_of
from bessemer.svckit.store import Store, Tx

from serve_svc.app.deployments import Deployments, wanted
from serve_svc.domain.loop_requests import deploy_request, release_id
from serve_svc.domain.loops import Release

__all__ = ["DeploymentReleases"]


class DeploymentReleases:
    """Releases at once, to everybody."""

    def __init__(self, store: Store, deployments: Deployments) -> None:
        self._store = store
        self._deployments = deployments

    async def start(self, loop: loop_pb2.Loop, current: loop_pb2.LoopRound) -> None:
        """Deploy the new version of a round; its gate is checked again.

        Raises: AlreadyExists; FailedPrecondition GATE_NOT_PASSED.
        """
        await self._deployments.deploy(deploy_request(loop, current))

    async def find(self, loop: loop_pb2.Loop, current: loop_pb2.LoopRound) -> Release | None:
        """Return how far the release of a round is; None if there is none."""
        name = f"{parent_of(loop.name)}/deployments/{release_id(loop, current)}"
        found = await self._store.read(lambda tx: tx.find(name, api.Deployment))
        if found is None:
            return None
        error = found.error.message or "the engine could not be started"
        if found.state == api.DEPLOYMENT_STATE_STOPPED:
            error = "it was taken down before the loop saw it ready"
        is_lost = found.state in (api.DEPLOYMENT_STATE_FAILED, api.DEPLOYMENT_STATE_STOPPED)
        return Release(name, found.state == api.DEPLOYMENT_STATE_READY, error if is_lost else "")

    async def is_settled(self, endpoint: str, *, besides: str) -> bool:
        """Say whether no version is on its way into service, but for a deployment with the id `besides`."""

        def read(tx: Tx) -> bool:
            serving = tx.get(endpoint, api.Endpoint).deployment
            others = [d.name for d in wanted(tx) if parent_of(d.name) == endpoint and d.name != serving]
            return all(id_of(name) == besides for name in others)

        return await self._store.read(read)
