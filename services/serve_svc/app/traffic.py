"""Who has an endpoint's traffic: every change of it, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, timedelta

from bessemer.api.serve.v1 import deployment_pb2 as api
from bessemer.api.serve.v1.deployment_service_pb2 import SetTrafficRequest
from bessemer.kernel.errors import FailedPrecondition, InvalidRequest
from bessemer.kernel.ids import parent_of
from bessemer.svckit.store import Tx
from sqlalchemy import select

from serve_svc.app.tables import SERVING
from serve_svc.domain.split import problem_of_traffic

__all__ = [
    "KEEP_WARM_S",
    "change",
    "give_back",
    "keep_warm_s",
    "refuse_during_rollout",
    "retire",
    "set_traffic",
    "shares_of",
    "take_over",
]

KEEP_WARM_S = 600  # long enough to see that a release was a mistake


def shares_of(traffic: Sequence[api.TrafficShare]) -> list[tuple[str, float]]:
    """Return deployments and percents."""
    return [(share.deployment, share.percent) for share in traffic]


def keep_warm_s(endpoint: api.Endpoint) -> int:
    """Return for how long a deployment that lost its traffic stays loaded."""
    return endpoint.keep_warm_s if endpoint.HasField("keep_warm_s") else KEEP_WARM_S


def set_traffic(tx: Tx, request: SetTrafficRequest) -> api.Endpoint:
    """Carry out a change that somebody wants.

    Raises: InvalidRequest for shares that cannot be; FailedPrecondition during a rollout, or for a deployment that does
    not answer; Conflict if the endpoint changed since it was read.
    """
    endpoint = tx.get(request.name, api.Endpoint)
    refuse_during_rollout(endpoint)
    problem = problem_of_traffic(shares_of(request.traffic))
    if problem is not None:
        raise InvalidRequest(problem, field="traffic")
    shadow = request.shadow if request.HasField("shadow") else None
    if shadow is not None and any(one.deployment == shadow.deployment and one.percent for one in request.traffic):
        text = f"{shadow.deployment} answers itself; a shadow is another deployment, with 0 percent or none"
        raise InvalidRequest(text, field="shadow.deployment")
    for name in [share.deployment for share in request.traffic] + ([shadow.deployment] if shadow else []):
        _check_ready(tx, endpoint, name)
    if request.HasField("keep_warm_s"):
        endpoint.keep_warm_s = request.keep_warm_s
    return change(tx, endpoint, request.traffic, shadow=shadow, verb="traffic_set", etag=request.etag)


def give_back(tx: Tx, endpoint: api.Endpoint) -> api.Endpoint:
    """Give the traffic back to who had it before the last change.

    Raises: FailedPrecondition if nobody had, or if one of them does not answer any more.
    """
    if not endpoint.previous_traffic:
        text = f"{endpoint.name} has had no other traffic; there is nothing to go back to"
        raise FailedPrecondition(text, resource=endpoint.name)
    for share in endpoint.previous_traffic:
        if share.percent:
            _check_ready(tx, endpoint, share.deployment)
    return change(tx, endpoint, endpoint.previous_traffic, verb="rolled_back")


def take_over(tx: Tx, endpoint: api.Endpoint, deployment: str, *, verb: str) -> api.Endpoint:
    """Give one deployment all traffic."""
    return change(tx, endpoint, [api.TrafficShare(deployment=deployment, percent=100)], verb=verb)


def change(
    tx: Tx,
    endpoint: api.Endpoint,
    traffic: Sequence[api.TrafficShare],
    *,
    shadow: api.ShadowTraffic | None = None,
    verb: str,
    etag: str | None = None,
    remember: bool = True,
) -> api.Endpoint:
    """Store who has the traffic; who lost it retires later, who has some does not.

    `remember` False keeps the way back as it is, for the steps of a rollout, which has its own.
    """
    traffic, before = list(traffic), list(endpoint.traffic)
    until = tx.clock.now() + timedelta(seconds=keep_warm_s(endpoint))
    if remember and before and shares_of(before) != shares_of(traffic):
        del endpoint.previous_traffic[:]
        endpoint.previous_traffic.extend(before)
        endpoint.previous_until.FromDatetime(until)
    del endpoint.traffic[:]
    endpoint.traffic.extend(traffic)
    endpoint.deployment = max(traffic, key=lambda share: share.percent).deployment if traffic else ""
    endpoint.ClearField("shadow")
    if shadow is not None:
        endpoint.shadow.CopyFrom(shadow)
    stored = tx.put(endpoint, verb=verb, etag=etag)
    kept = {share.deployment for share in traffic} | ({shadow.deployment} if shadow else set())
    for name in kept:
        _keep(tx, name)
    for share in before:
        if share.deployment not in kept:
            retire(tx, endpoint, share.deployment)
    return stored


def retire(tx: Tx, endpoint: api.Endpoint, name: str) -> None:
    """Let a deployment stop after the endpoint's time for second thoughts."""
    deployment = tx.find(name, api.Deployment)
    loaded = select(SERVING.c.deployment).where(SERVING.c.deployment == name)
    if deployment is None or tx.connection.execute(loaded).first() is None:
        return
    deployment.retire_time.FromDatetime(tx.clock.now() + timedelta(seconds=keep_warm_s(endpoint)))
    tx.put(deployment, verb="retiring")


def refuse_during_rollout(endpoint: api.Endpoint) -> None:
    """Raise FailedPrecondition if a rollout sets the traffic."""
    if endpoint.rollout:
        raise FailedPrecondition(
            f"{endpoint.rollout} sets the traffic of {endpoint.name}; abort or promote it first",
            resource=endpoint.rollout,
        )


def _keep(tx: Tx, name: str) -> None:
    deployment = tx.get(name, api.Deployment)
    if deployment.HasField("retire_time"):
        deployment.ClearField("retire_time")
        tx.put(deployment, verb="kept")


def _check_ready(tx: Tx, endpoint: api.Endpoint, name: str) -> None:
    if parent_of(name) != endpoint.name:
        raise InvalidRequest(f"{name} does not belong to {endpoint.name}", field="traffic")
    deployment = tx.get(name, api.Deployment)
    if deployment.state != api.DEPLOYMENT_STATE_READY:
        state = api.DeploymentState.Name(deployment.state).removeprefix("DEPLOYMENT_STATE_").lower()
        until = endpoint.previous_until.ToDatetime(UTC)
        hint = (
            f"; what had traffic before stayed loaded until {until:%Y-%m-%d %H:%M}"
            if endpoint.previous_until.seconds
            else ""
        )
        raise FailedPrecondition(f"{name} is {state}; deploy its model version again{hint}", resource=name)
