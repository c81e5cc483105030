"""Endpoints and deployments: who may be deployed, and every change of state."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
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
from serve_svc.app.traffic import change, refuse_during_rollout, take_over
from serve_svc.codec import to_precision
from serve_svc.ports import Catalog, Servers

__all__ = [
    "Admission",
    "Deployments",
    "allowed",
    "check_gate",
    "is_due",
    "is_terminal",
    "mark_failed",
    "mark_loading",
    "mark_ready",
    "placed",
    "record",
    "retire_due",
    "wanted",
]

TERMINAL = frozenset({api.DEPLOYMENT_STATE_FAILED, api.DEPLOYMENT_STATE_STOPPED})


@dataclass(frozen=True, slots=True)
class Admission:
    """A version and what is to allow it."""

    version: ModelVersion
    decision: GateDecision | None
    waiver: GateWaiver | None


class Deployments:
    """What callers may do with endpoints and deployments."""

    def __init__(self, store: Store, catalog: Catalog, servers: Servers) -> None:
        self._store = store
        self._catalog = catalog
        self._servers = servers

    async def create_endpoint(self, request: CreateEndpointRequest) -> api.Endpoint:
        """Create an endpoint."""
        name = f"{request.parent}/endpoints/{request.endpoint_id}"
        endpoint = api.Endpoint(name=name, display_name=request.endpoint.display_name)
        if request.endpoint.HasField("keep_warm_s"):
            endpoint.keep_warm_s = request.endpoint.keep_warm_s
        return await self._store.write(lambda tx: tx.put(endpoint, verb="created"))

    async def deploy(self, request: DeployModelVersionRequest) -> api.Deployment:
        """Record a deployment that the reconcile loop will load.

        Raises: FailedPrecondition GATE_NOT_PASSED without a passed gate or a waiver; FailedPrecondition if it would
        take the traffic from a running rollout; InvalidRequest for an inference server that the settings do not name.
        """
        if request.export_job and (request.server or request.precision):
            raise InvalidRequest("an export has its own engine and number format; name neither", field="export_job")
        if request.export_job and project_of(request.export_job) != project_of(request.endpoint):
            raise InvalidRequest("export_job must lie in the project of its endpoint", field="export_job")
        if request.server and request.server not in self._servers.names:
            known = ", ".join(self._servers.names) or "none"
            text = f"the settings of the service name no inference server {request.server!r}; they name {known}"
            raise InvalidRequest(text, field="server")
        if request.server and request.precision:
            raise InvalidRequest(
                "an inference server has its own number format; leave precision unset", field="precision"
            )
        endpoint = await self._store.read(lambda tx: tx.get(request.endpoint, api.Endpoint))
        wish = await self.admit(
            request.endpoint, request.model_version, decision=request.gate_decision, waiver=request.gate_waiver
        )
        if not request.standby:
            refuse_during_rollout(endpoint)
        deployment = api.Deployment(
            name=f"{request.endpoint}/deployments/{request.deployment_id or new_id('d')}",
            standby=request.standby,
            precision=request.precision,
            server=request.server,
            served_model=request.served_model,
        )
        if request.export_job:
            deployment.export_job = request.export_job
            deployment.export_archive.CopyFrom(await self._export(request.export_job, wish.version))
        return await self._store.write(lambda tx: record(tx, deployment, wish))

    async def _export(self, name: str, version: ModelVersion) -> ArtifactRef:
        """Return the archive of a version's export to ONNX.

        Raises: InvalidRequest if the job made something else; NotFound, Unavailable.
        """
        job = await self._catalog.get_model_job(name)
        if not job.HasField("archive") or job.export.format != "onnx":
            text = f"{name} has not exported a model to onnx; make one with the format onnx and wait for its end"
            raise InvalidRequest(text, field="export_job")
        if job.export.model_version != version.name:
            text = f"{name} exported {job.export.model_version}, not {version.name}"
            raise InvalidRequest(text, field="export_job")
        return job.archive

    async def admit(self, endpoint: str, model_version: str, *, decision: str, waiver: str) -> Admission:
        """Ask the peers for what allows a version behind an endpoint.

        Raises: InvalidRequest for what lies in another project; NotFound, Unavailable.
        """
        project = project_of(endpoint)
        names = {"model_version": model_version, "gate_decision": decision, "gate_waiver": waiver}
        for field, name in names.items():
            if name and project_of(name) != project:
                raise InvalidRequest(
                    f"{field} must lie in projects/{project} like its endpoint; got {name}", field=field
                )
        return Admission(
            await self._catalog.get_model_version(model_version),
            await self._catalog.get_gate_decision(decision) if decision else None,
            await self._catalog.get_gate_waiver(waiver) if waiver else None,
        )

    async def version(self, name: str) -> ModelVersion:
        """Ask train_svc for a model version.

        Raises: NotFound, Unavailable.
        """
        return await self._catalog.get_model_version(name)

    async def undeploy(self, name: str) -> api.Deployment:
        """Stop a deployment; one that has ended stays as it is."""

        def write(tx: Tx) -> api.Deployment:
            deployment = tx.get(name, api.Deployment)
            if is_terminal(deployment):
                return deployment
            endpoint = tx.get(parent_of(name), api.Endpoint)
            refuse_during_rollout(endpoint)
            stopped = _stop(tx, deployment)
            _leave(tx, endpoint, name)
            return stopped

        return await self._store.write(write)


def record(
    tx: Tx,
    wanted: api.Deployment,
    wish: Admission,
) -> api.Deployment:
    """Create a deployment, of which name and settings are given, if its gate allows it.

    Raises: FailedPrecondition GATE_NOT_PASSED; AlreadyExists.
    """
    endpoint, version = parent_of(wanted.name), wish.version
    tx.get(endpoint, api.Endpoint)
    gate_decision, waiver = allowed(wish, tx.clock.now())
    deployment = api.Deployment(
        model_version=version.name,
        gate_decision=gate_decision,
        waiver=waiver,
        state=api.DEPLOYMENT_STATE_LOADING,
        model_manifest=version.manifest,
        context_length=version.context_length,
    )
    deployment.MergeFrom(wanted)
    stored = tx.put(deployment, verb="created")
    tx.connection.execute(insert(SERVING).values(deployment=wanted.name, endpoint=endpoint))
    return stored


def allowed(wish: Admission, now: datetime) -> tuple[str, api.Waiver | None]:
    """Return what allows a version, a decision's name or a waiver.

    Raises: FailedPrecondition GATE_NOT_PASSED.
    """
    passed = check_gate(wish.version, wish.decision, wish.waiver, now)
    if passed and wish.decision is not None:
        return wish.decision.name, None
    return "", None if wish.waiver is None else _waiver(wish.waiver)


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


def placed(tx: Tx, endpoint: str) -> tuple[api.Endpoint, list[api.Deployment]]:
    """Return an endpoint and its deployments that are loaded or have traffic."""
    found = tx.get(endpoint, api.Endpoint)
    names = {share.deployment for share in found.traffic}
    loaded = select(SERVING.c.deployment).where(SERVING.c.endpoint == endpoint)
    names.update(tx.connection.execute(loaded).scalars())
    return found, [tx.get(name, api.Deployment) for name in sorted(names)]


def mark_loading(tx: Tx, name: str) -> None:
    """Note that a deployment does not answer right now."""
    deployment = tx.get(name, api.Deployment)
    if deployment.state == api.DEPLOYMENT_STATE_READY:
        deployment.state = api.DEPLOYMENT_STATE_LOADING
        tx.put(deployment, verb="loading", previous_state="READY")


def mark_ready(tx: Tx, name: str, context_length: int, *, engine: str, precision: str) -> None:
    """Note that a deployment answers; unless it is a standby or had its turn, it takes the traffic."""
    deployment = tx.get(name, api.Deployment)
    if deployment.state != api.DEPLOYMENT_STATE_LOADING:
        return  # stopped while it was loading
    endpoint = tx.get(parent_of(name), api.Endpoint)
    deployment.state = api.DEPLOYMENT_STATE_READY
    deployment.context_length = context_length
    deployment.engine, deployment.precision = engine, to_precision(precision)
    deployment.standby |= bool(endpoint.rollout)
    deployment = tx.put(deployment, verb="ready", previous_state="LOADING")
    placed = {share.deployment for share in endpoint.traffic}
    if deployment.standby or deployment.HasField("retire_time") or name in placed:
        return
    if all(tx.get(other, api.Deployment).uid < deployment.uid for other in placed):
        take_over(tx, endpoint, name, verb="updated")
        _stop_overtaken(tx, deployment)


def _stop_overtaken(tx: Tx, newer: api.Deployment) -> None:
    """Stop what was to take over too and is still loading."""
    others = select(SERVING.c.deployment).where(
        SERVING.c.endpoint == parent_of(newer.name), SERVING.c.deployment != newer.name
    )
    for name in tx.connection.execute(others).scalars().all():
        older = tx.get(name, api.Deployment)
        loading = older.state == api.DEPLOYMENT_STATE_LOADING and not older.HasField("retire_time")
        if loading and not older.standby and older.uid < newer.uid:
            _stop(tx, older)


def is_due(deployment: api.Deployment, now: datetime) -> bool:
    """Say whether a deployment is to stop."""
    return deployment.HasField("retire_time") and deployment.retire_time.ToDatetime(UTC) <= now


def retire_due(tx: Tx) -> None:
    """Stop the deployments whose time is over."""
    for deployment in wanted(tx):
        if is_due(deployment, tx.clock.now()):
            _stop(tx, deployment)


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


def _leave(tx: Tx, endpoint: api.Endpoint, name: str) -> None:
    """Take a deployment that is gone out of the traffic; what others have grows in proportion."""
    if name not in {share.deployment for share in endpoint.traffic} | {endpoint.shadow.deployment}:
        return
    others = [share for share in endpoint.traffic if share.deployment != name]
    total = sum(share.percent for share in others)
    if total:
        others = [api.TrafficShare(deployment=one.deployment, percent=100 * one.percent / total) for one in others]
    shadow = endpoint.shadow if endpoint.shadow.deployment not in {"", name} else None
    change(tx, endpoint, others if total else [], shadow=shadow, verb="updated", remember=False)


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
