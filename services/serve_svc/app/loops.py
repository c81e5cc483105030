"""Loops: made, looked at, stopped and resumed by callers; every other change is the runner's."""

from __future__ import annotations

from bessemer.api.serve.v1 import loop_pb2 as api
from bessemer.api.serve.v1 import loop_service_pb2 as pb
from bessemer.api.serve.v1.deployment_pb2 import Deployment, Endpoint
from bessemer.kernel.errors import FailedPrecondition, InvalidRequest
from bessemer.kernel.ids import parent_of, project_of
from bessemer.svckit.store import Store, Tx

from serve_svc.domain.loop_requests import form_of
from serve_svc.domain.loops import DOWN_MIN, FAILURES_MAX, RATED_MIN, open_round
from serve_svc.ports import LoopWork

__all__ = ["Loops", "is_over", "running_loops"]


class Loops:
    """Use cases of loops."""

    def __init__(self, store: Store, work: LoopWork) -> None:
        self._store = store
        self._work = work

    async def create(self, request: pb.CreateLoopRequest) -> api.Loop:
        """Write down all defaults and let the loop run.

        Raises: InvalidRequest; NotFound; FailedPrecondition without a model to give versions to.
        """
        project = project_of(request.parent)
        settings = api.LoopSettings()
        settings.CopyFrom(request.loop.settings)
        _check_places(settings, project)
        settings.curation.form = form_of(settings)
        if settings.recipe.WhichOneof("method") is None:
            settings.recipe.sft.SetInParent()
        for name, value in (("rated_min", RATED_MIN), ("down_min", DOWN_MIN)):
            if not settings.curation.HasField(name):
                setattr(settings.curation, name, value)
        if not settings.HasField("failures_max"):
            settings.failures_max = FAILURES_MAX
        policy = await self._work.gate_policy(settings.gate_policy)
        suites = [rule.suite for rule in policy.rules] + list(policy.forgetting_budget.suites)
        settings.suites[:] = sorted({*suites, *settings.audit_suites, *settings.proxy_suites})
        loop = api.Loop(
            name=f"{request.parent}/loops/{request.loop_id}",
            labels=request.loop.labels,
            settings=settings,
            state=api.LOOP_STATE_RUNNING,
            reason="the first round begins",
        )

        def write(tx: Tx) -> api.Loop:
            endpoint = tx.get(request.parent, Endpoint)
            loop.settings.model = settings.model or _model_served(tx, endpoint)
            return tx.put(loop, verb="created")

        return await self._store.write(write)

    async def list(self, request: pb.ListLoopsRequest) -> pb.ListLoopsResponse:
        """Return a page of an endpoint's loops."""
        found, token = await self._store.read(
            lambda tx: tx.list(api.Loop, request.parent, page_size=request.page_size, page_token=request.page_token)
        )
        return pb.ListLoopsResponse(loops=found, next_page_token=token)

    async def stop(self, name: str) -> api.Loop:
        """Stop a loop before its next step; one that does not run stays as it is."""

        def write(tx: Tx) -> api.Loop:
            loop = tx.get(name, api.Loop)
            if loop.state != api.LOOP_STATE_RUNNING:
                return loop
            loop.state, loop.reason = api.LOOP_STATE_STOPPED, "somebody stopped it"
            return tx.put(loop, verb="stopped", previous_state="RUNNING")

        return await self._store.write(write)

    async def resume(self, name: str) -> api.Loop:
        """Let a stopped or blocked loop go on: in its open round, or with the next one.

        Raises: FailedPrecondition if it is finished.
        """

        def write(tx: Tx) -> api.Loop:
            loop = tx.get(name, api.Loop)
            if loop.state == api.LOOP_STATE_RUNNING:
                return loop
            if loop.state == api.LOOP_STATE_FINISHED:
                raise FailedPrecondition(
                    f"{name} has done all its rounds; create another loop",
                    reason="JOB_TERMINAL",
                    resource=name,
                )
            before = api.LoopState.Name(loop.state).removeprefix("LOOP_STATE_")
            current = open_round(loop)
            loop.state = api.LOOP_STATE_RUNNING
            loop.reason = current.reason if current else "the next round begins"
            return tx.put(loop, verb="resumed", previous_state=before)

        return await self._store.write(write)


def is_over(loop: api.Loop) -> bool:
    """Say whether a loop does not go on by itself."""
    return loop.state != api.LOOP_STATE_RUNNING


def running_loops(tx: Tx) -> list[api.Loop]:
    """Return the loops that run, of all endpoints."""
    return [loop for loop in tx.every_of(api.Loop) if loop.state == api.LOOP_STATE_RUNNING]


def _model_served(tx: Tx, endpoint: Endpoint) -> str:
    if not endpoint.deployment:
        raise FailedPrecondition(
            f"{endpoint.name} serves nothing yet; deploy a model version, or name settings.model",
            resource=endpoint.name,
        )
    return parent_of(tx.get(endpoint.deployment, Deployment).model_version)


def _check_places(settings: api.LoopSettings, project: str) -> None:
    names = {
        "model": [settings.model],
        "gate_policy": [settings.gate_policy],
        "curation.dataset": [settings.curation.dataset],
        "audit_suites": settings.audit_suites,
        "proxy_suites": settings.proxy_suites,
        "replay": settings.replay,
    }
    for field, given in names.items():
        for name in given:
            if name and project_of(name) != project:
                raise InvalidRequest(
                    f"{field} must lie in projects/{project} like the endpoint; got {name}",
                    field=f"loop.settings.{field}",
                )
    if settings.curation.model_versions or settings.curation.HasField("until_time"):
        raise InvalidRequest(
            "model versions and until_time of the curation are the loop's; leave them out",
            field="loop.settings.curation",
        )
