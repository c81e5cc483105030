"""From an endpoint and a user to the deployment that answers, and to what its answer is evidence for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bessemer.api.serve.v1 import deployment_pb2 as api
from bessemer.api.serve.v1.rollout_pb2 import ROLLOUT_STATE_RUNNING, Rollout
from bessemer.kernel.errors import FailedPrecondition, NotFound, Unavailable
from bessemer.svckit.store import Tx
from sqlalchemy import select

from serve_svc.app.adapters import adapter_of
from serve_svc.app.tables import SERVING
from serve_svc.app.traffic import shares_of
from serve_svc.codec import read_plan
from serve_svc.domain.betting import BLOCK_MAX, Arm
from serve_svc.domain.plan import Plan
from serve_svc.domain.split import order_of, place_of

__all__ = ["Route", "Trial", "resolve"]


@dataclass(frozen=True, slots=True)
class Trial:
    """What an answer counts for in a rollout; `shadow` pairs it with what the candidate says to the same."""

    rollout: str
    plan: Plan
    arm: Arm
    subject: str
    shadow: bool


@dataclass(frozen=True, slots=True)
class Route:
    """Who is to answer, who stands in if that one is down, who listens, and what it counts for.

    `adapter` is the id of the adapters that all of `deployments` have, or empty.
    """

    endpoint: str
    deployments: Sequence[api.Deployment]
    shadow: api.Deployment | None
    trial: Trial | None
    adapter: str = ""


def resolve(tx: Tx, target: str, user: str, response_id: str, adapter: str = "") -> Route:
    """Return the route of a request; without a user it is its own. No rollout and no shadow sees one with adapters.

    Raises: NotFound without endpoint, deployment or adapters; Unavailable while the first one loads; FailedPrecondition
    if all that have traffic failed.
    """
    endpoint = tx.get(target, api.Endpoint)
    place = place_of(endpoint.rollout or endpoint.name, user or response_id)
    names = order_of(shares_of(endpoint.traffic), place)
    if not names:
        if tx.connection.execute(select(SERVING.c.deployment).where(SERVING.c.endpoint == target)).first():
            text = f"{target} is loading its first model; try again in some seconds"
            raise Unavailable(text, reason="MODEL_LOADING", resource=target, retry_after_s=2)
        raise NotFound(f"{target} has no deployment; deploy a model version first", resource=target)
    found = [tx.get(name, api.Deployment) for name in names]
    usable = [one for one in found if one.state != api.DEPLOYMENT_STATE_FAILED]
    if not usable:
        text = f"{found[0].name} failed: {found[0].error.message}; deploy a model version again"
        raise FailedPrecondition(text, resource=found[0].name)
    if adapter:
        having = [one for one in usable if adapter_of(one, adapter) is not None]
        if not having:
            known = ", ".join(sorted({one.id for each in usable for one in each.adapters})[:20]) or "none"
            raise NotFound(f"{target} has no adapters {adapter!r}; it has {known}", resource=target, field="adapter")
        return Route(target, having, None, None, adapter)
    shadow, listened = None, place_of(f"shadow\0{endpoint.name}", response_id) < endpoint.shadow.percent
    if endpoint.HasField("shadow") and listened:
        shadow = tx.get(endpoint.shadow.deployment, api.Deployment)
    trial = _trial(tx, endpoint, place, user, response_id) if endpoint.rollout else None
    return Route(target, usable, shadow, trial)


def _trial(tx: Tx, endpoint: api.Endpoint, place: float, user: str, response_id: str) -> Trial | None:
    """Return what a request counts for: the candidate, a control group `BLOCK_MAX` times as large, or none."""
    rollout = tx.get(endpoint.rollout, Rollout)
    if rollout.state != ROLLOUT_STATE_RUNNING:
        return None
    plan = read_plan(rollout.plan)
    stage = plan.stages[rollout.stage]
    if stage.shadow:
        return Trial(rollout.name, plan, Arm.BASELINE, response_id, shadow=True)
    repeats = plan.count_repeats or not user
    # Users are told apart within a rollout only; who they are is not kept.
    subject = response_id if repeats else f"{place_of(rollout.name, user):.17g}"
    if place < stage.percent:
        return Trial(rollout.name, plan, Arm.CANDIDATE, subject, shadow=False)
    if place < stage.percent * (1 + BLOCK_MAX):
        return Trial(rollout.name, plan, Arm.BASELINE, subject, shadow=False)
    return None
