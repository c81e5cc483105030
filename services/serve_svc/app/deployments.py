"""Endpoints and deployments: who may be deployed, and every change of state."""

from __future__ import annotations

from datetime import UTC, datetime

from bessemer.api.eval.v1.evaluation_pb2 import VERDICT_PASS, GateDecision, Verdict
from bessemer.api.eval.v1.gate_policy_pb2 import GateWaiver
from bessemer.api.serve.v1 import deployment_pb2 as api
from bessemer.api.serve.v1.deployment_service_pb2 import CreateEndpointRequest, DeployModelVersionRequest
from bessemer.api.train.v1.model_pb2 import ModelVersion
from bessemer.kernel.errors import FailedPrecondition, InvalidRequest
from bessemer.kernel.ids import new_id, parent_of, project_of
from bessemer.svckit.store import Store, Tx
from google.rpc.status_pb2 import Status
from sqlalchemy import delete, insert, select

from serve_svc.app.tables import SERVING
from serve_svc.codec import to_precision
from serve_svc.ports import Catalog

__all__ = ["Deployments", "check_gate", "is_terminal", "mark_failed", "mark_loading", "mark_ready", "wanted"]

TERMINAL = frozenset({api.DEPLOYMENT_STATE_FAILED, api.DEPLOYMENT_STATE_STOPPED})


class Deployments:
    """What callers may do with endpoints and deployments."""

    def __init__(self, store: Store, catalog: Catalog) -> None:
        self._store = store
        self._catalog = catalog

    async def create_endpoint(self, request: CreateEndpointRequest) -> api.Endpoint:
        """Create an endpoint."""
        name = f"{request.parent}/endpoints/{request.endpoint_id}"
        endpoint = api.Endpoint(name=name, display_name=request.endpoint.display_name)
        return await self._store.write(lambda tx: tx.put(endpoint, verb="created"))

    async def deploy(self, request: DeployModelVersionRequest) -> api.Deployment:
        """Record a deployment that the reconcile loop will load.

        Raises: FailedPrecondition GATE_NOT_PASSED without a passed gate or a waiver.
        """
        project = project_of(request.endpoint)
        for field in ("model_version", "gate_decision", "gate_waiver"):
            name = getattr(request, field)
            if name and project_of(name) != project:
                raise InvalidRequest(
                    f"{field} must lie in projects/{project} like its endpoint; got {name}", field=field
                )
        await self._store.read(lambda tx: tx.get(request.endpoint, api.Endpoint))
        version = await self._catalog.get_model_version(request.model_version)
        decision = await self._catalog.get_gate_decision(request.gate_decision) if request.gate_decision else None
        waiver = await self._catalog.get_gate_waiver(request.gate_waiver) if request.gate_waiver else None
        name = f"{request.endpoint}/deployments/{request.deployment_id or new_id('d')}"

        def write(tx: Tx) -> api.Deployment:
            tx.get(request.endpoint, api.Endpoint)
            passed = check_gate(version, decision, waiver, tx.clock.now())
            deployment = api.Deployment(
                name=name,
                model_version=version.name,
                gate_decision=request.gate_decision if passed else "",
                waiver=None if passed or waiver is None else _waiver(waiver),
                state=api.DEPLOYMENT_STATE_LOADING,
                model_manifest=version.manifest,
                context_length=version.context_length,
                precision=request.precision,
            )
            stored = tx.put(deployment, verb="created")
            tx.connection.execute(insert(SERVING).values(deployment=name, endpoint=request.endpoint))
            return stored

        return await self._store.write(write)

    async def undeploy(self, name: str) -> api.Deployment:
        """Stop a deployment; one that has ended stays as it is."""

        def write(tx: Tx) -> api.Deployment:
            deployment = tx.get(name, api.Deployment)
            if is_terminal(deployment):
                return deployment
            stopped = _stop(tx, deployment)
            endpoint = tx.get(parent_of(name), api.Endpoint)
            if endpoint.deployment == name:
                endpoint.deployment = ""
                tx.put(endpoint, verb="updated")
            return stopped

        return await self._store.write(write)


def check_gate(version: ModelVersion, decision: GateDecision | None, waiver: GateWaiver | None, now: datetime) -> bool:
    """Return True if the decision allows the version, False if the waiver does.

    Raises: FailedPrecondition GATE_NOT_PASSED saying what to do.
    """
    problem = _problem(version, decision)
    if problem is None:
        return True
    if waiver is None:
        raise FailedPrecondition(
            f"{problem}; evaluate the version and decide its gate, then give the passed decision, "
            "or have a waiver signed and give it as gate_waiver",
            reason="GATE_NOT_PASSED",
            resource=version.name,
        )
    problem = _problem_of_waiver(version, waiver, now)
    if problem is not None:
        raise FailedPrecondition(
            f"{problem}; have a new waiver signed, or give a passed decision",
            reason="GATE_NOT_PASSED",
            resource=waiver.name,
        )
    return False


def is_terminal(deployment: api.Deployment) -> bool:
    """Say whether a deployment has ended for good."""
    return deployment.state in TERMINAL


def wanted(tx: Tx) -> list[api.Deployment]:
    """Return the deployments that are to run."""
    names = tx.connection.execute(select(SERVING.c.deployment).order_by(SERVING.c.deployment)).scalars()
    return [tx.get(name, api.Deployment) for name in names]


def mark_loading(tx: Tx, name: str) -> None:
    """Note that a deployment does not answer right now."""
    deployment = tx.get(name, api.Deployment)
    if deployment.state == api.DEPLOYMENT_STATE_READY:
        deployment.state = api.DEPLOYMENT_STATE_LOADING
        tx.put(deployment, verb="loading", previous_state="READY")


def mark_ready(tx: Tx, name: str, context_length: int, *, engine: str, precision: str) -> None:
    """Give a deployment its endpoint's traffic and stop the older ones, all at once."""
    deployment = tx.get(name, api.Deployment)
    if deployment.state != api.DEPLOYMENT_STATE_LOADING:
        return  # stopped while it was loading
    deployment.state = api.DEPLOYMENT_STATE_READY
    deployment.context_length = context_length
    deployment.engine, deployment.precision = engine, to_precision(precision)
    deployment = tx.put(deployment, verb="ready", previous_state="LOADING")
    endpoint = tx.get(parent_of(name), api.Endpoint)
    if endpoint.deployment != name:
        endpoint.deployment = name
        tx.put(endpoint, verb="updated")
    others = select(SERVING.c.deployment).where(SERVING.c.endpoint == endpoint.name, SERVING.c.deployment != name)
    for other in tx.connection.execute(others).scalars().all():
        older = tx.get(other, api.Deployment)
        if older.uid < deployment.uid:
            _stop(tx, older)


def mark_failed(tx: Tx, name: str, error: Status) -> None:
    """End a deployment that cannot run."""
    deployment = tx.get(name, api.Deployment)
    if is_terminal(deployment):
        return
    previous = api.DeploymentState.Name(deployment.state).removeprefix("DEPLOYMENT_STATE_")
    deployment.state = api.DEPLOYMENT_STATE_FAILED
    deployment.error.CopyFrom(error)
    tx.put(deployment, verb="failed", previous_state=previous)
    tx.connection.execute(delete(SERVING).where(SERVING.c.deployment == name))


def _problem(version: ModelVersion, decision: GateDecision | None) -> str | None:
    if decision is None:
        return f"{version.name} has no gate decision"
    if decision.model_version != version.name:
        return f"{decision.name} is about {decision.model_version}, not about {version.name}"
    if decision.model_sha256 != version.manifest.sha256:
        return f"{decision.name} is about other bytes than {version.name} has now"
    if decision.verdict != VERDICT_PASS:
        verdict = Verdict.Name(decision.verdict).removeprefix("VERDICT_")
        return f"the verdict of {decision.name} is {verdict}"
    return None


def _problem_of_waiver(version: ModelVersion, waiver: GateWaiver, now: datetime) -> str | None:
    if waiver.model_version != version.name:
        return f"{waiver.name} is about {waiver.model_version}, not about {version.name}"
    if waiver.model_sha256 != version.manifest.sha256:
        return f"{waiver.name} is about other bytes than {version.name} has now"
    if waiver.HasField("revoke_time"):
        return f"{waiver.name} was taken back by {waiver.revoker}"
    if waiver.expire_time.ToDatetime(UTC) <= now:
        return f"{waiver.name} expired at {waiver.expire_time.ToJsonString()}"
    return None


def _waiver(waiver: GateWaiver) -> api.Waiver:
    return api.Waiver(
        name=waiver.name,
        reason=waiver.reason,
        approver=waiver.creator,
        time=waiver.create_time,
        expire_time=waiver.expire_time,
    )


def _stop(tx: Tx, deployment: api.Deployment) -> api.Deployment:
    previous = api.DeploymentState.Name(deployment.state).removeprefix("DEPLOYMENT_STATE_")
    deployment.state = api.DEPLOYMENT_STATE_STOPPED
    stored = tx.put(deployment, verb="stopped", previous_state=previous)
    tx.connection.execute(delete(SERVING).where(SERVING.c.deployment == deployment.name))
    return stored
