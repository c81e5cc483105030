"""How a loop puts a version into service: by a rollout that its evidence moves, or, without a plan, at once."""

from __future__ import annotations

from bessemer.api.serve.v1 import deployment_pb2 as api
from bessemer.api.serve.v1 import loop_pb2, rollout_pb2
from bessemer.kernel.errors import AlreadyExists
from bessemer.kernel.ids import id_of, parent_of
from bessemer.svckit.store import Store, Tx

from serve_svc.app.deployments import Deployments, placed
from serve_svc.app.rollouts import Rollouts
from serve_svc.domain.loop_requests import deploy_request, release_id, rollout_request
from serve_svc.domain.loops import Release

__all__ = ["LoopReleases"]


class LoopReleases:
    """Rollouts and deployments that a loop starts, found again by the names that follow from its rounds."""

    def __init__(self, store: Store, deployments: Deployments, rollouts: Rollouts) -> None:
        self._store = store
        self._deployments = deployments
        self._rollouts = rollouts

    async def start(self, loop: loop_pb2.Loop, current: loop_pb2.LoopRound) -> None:
        """Put the new version of a round on its way; its gate is checked again.

        Raises: AlreadyExists; FailedPrecondition GATE_NOT_PASSED.
        """
        if await self.find(loop, current) is not None:
            raise AlreadyExists(f"the release of round {current.number} is on its way", resource=loop.name)
        if loop.settings.HasField("rollout"):
            await self._rollouts.start(rollout_request(loop, current))
        else:
            await self._deployments.deploy(deploy_request(loop, current))

    async def find(self, loop: loop_pb2.Loop, current: loop_pb2.LoopRound) -> Release | None:
        """Return how far the release of a round is; None if there is none."""
        collection = "rollouts" if loop.settings.HasField("rollout") else "deployments"
        name = f"{parent_of(loop.name)}/{collection}/{release_id(loop, current)}"
        if collection == "rollouts":
            rollout = await self._store.read(lambda tx: tx.find(name, rollout_pb2.Rollout))
            return None if rollout is None else _of_rollout(rollout)
        deployment = await self._store.read(lambda tx: tx.find(name, api.Deployment))
        return None if deployment is None else _of_deployment(deployment)

    async def is_settled(self, endpoint: str, *, besides: str) -> bool:
        """Say whether no version is on its way into service, but for the release with the id `besides`.

        Versions that lost their traffic and are kept warm, and standbys, are on no way.
        """

        def read(tx: Tx) -> bool:
            found, deployments = placed(tx, endpoint)
            if found.rollout:
                return id_of(found.rollout) == besides
            loading = [d.name for d in deployments if _takes_over_soon(d) and d.name != found.deployment]
            shares = [share for share in found.traffic if share.percent]
            return len(shares) <= 1 and all(id_of(name) == besides for name in loading)

        return await self._store.read(read)


def _takes_over_soon(deployment: api.Deployment) -> bool:
    is_loading = deployment.state == api.DEPLOYMENT_STATE_LOADING
    return is_loading and not deployment.standby and not deployment.HasField("retire_time")


def _of_deployment(deployment: api.Deployment) -> Release:
    error = ""
    if deployment.state == api.DEPLOYMENT_STATE_FAILED:
        error = deployment.error.message or "the engine could not be started"
    elif deployment.state == api.DEPLOYMENT_STATE_STOPPED:
        error = "it was taken down before the loop saw it ready"
    return Release(deployment.name, deployment.state == api.DEPLOYMENT_STATE_READY, error)


def _of_rollout(rollout: rollout_pb2.Rollout) -> Release:
    reason = rollout.steps[-1].reason if rollout.steps else "it ended"
    is_lost = rollout.state in (rollout_pb2.ROLLOUT_STATE_ROLLED_BACK, rollout_pb2.ROLLOUT_STATE_ABORTED)
    return Release(
        rollout.name,
        rollout.state == rollout_pb2.ROLLOUT_STATE_PROMOTED,
        reason if is_lost else "",
        is_taken_back=is_lost,
    )
