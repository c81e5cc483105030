"""Rollouts: started by somebody, moved by evidence, ended by either; every step in one transaction with the traffic."""

from __future__ import annotations

from datetime import UTC

from bessemer.api.serve.v1 import deployment_pb2, rollout_service_pb2
from bessemer.api.serve.v1 import rollout_pb2 as api
from bessemer.kernel.errors import FailedPrecondition, InvalidRequest
from bessemer.kernel.ids import new_id, parent_of
from bessemer.svckit.store import Store, Tx
from sqlalchemy import delete, insert

from serve_svc.app import evidence
from serve_svc.app.deployments import Admission, Deployments, record
from serve_svc.app.outcomes import metrics_of, record_said, rollout_of
from serve_svc.app.tables import OUTCOMES, ROLLOUT_ANSWERS, ROLLOUTS
from serve_svc.app.traffic import change, give_back, refuse_during_rollout, retire, take_over
from serve_svc.codec import read_plan, to_plan
from serve_svc.domain.plan import Plan, Signal
from serve_svc.domain.rollout import Move, decide, fresh_evidence

__all__ = ["Rollouts", "advance", "is_over", "rollback"]

OVER = frozenset({api.ROLLOUT_STATE_PROMOTED, api.ROLLOUT_STATE_ROLLED_BACK, api.ROLLOUT_STATE_ABORTED})
_VERBS = {
    api.ROLLOUT_STATE_PROMOTED: "promoted",
    api.ROLLOUT_STATE_ROLLED_BACK: "rolled_back",
    api.ROLLOUT_STATE_ABORTED: "aborted",
}
STEPS_KEPT = 40


class Rollouts:
    """What callers may do with rollouts."""

    def __init__(self, store: Store, deployments: Deployments) -> None:
        self._store = store
        self._deployments = deployments

    async def start(self, request: rollout_service_pb2.StartRolloutRequest) -> api.Rollout:
        """Record a rollout of a standby, or of a version that is to be loaded first, gated as every deployment is.

        Raises: InvalidRequest; FailedPrecondition without a passed gate, without a baseline, or during another rollout.
        """
        if bool(request.model_version) == bool(request.deployment):
            raise InvalidRequest("give either a model version with its gate, or a deployment", field="model_version")
        plan = read_plan(request.plan)
        wish = None
        if request.model_version:
            wish = await self._deployments.admit(
                request.endpoint, request.model_version, decision=request.gate_decision, waiver=request.gate_waiver
            )
        name = f"{request.endpoint}/rollouts/{request.rollout_id or new_id('ro')}"
        return await self._store.write(lambda tx: _start(tx, name, plan, request.deployment, wish))

    async def get(self, name: str) -> api.Rollout:
        """Return a rollout with the evidence of now."""
        return await self._store.read(lambda tx: evidence.fill(tx, tx.get(name, api.Rollout)))

    async def abort(self, name: str, reason: str) -> api.Rollout:
        """Give the baseline all traffic; one that lost stays as it is.

        Raises: FailedPrecondition if the candidate has all traffic already.
        """

        def write(tx: Tx) -> api.Rollout:
            if tx.get(name, api.Rollout).state == api.ROLLOUT_STATE_PROMOTED:
                text = f"{name} was promoted; give the traffic back with RollbackEndpoint"
                raise FailedPrecondition(text, reason="JOB_TERMINAL", resource=name)
            return end(tx, name, api.ROLLOUT_STATE_ABORTED, reason or "somebody aborted it")

        return await self._store.write(write)

    async def promote(self, name: str, reason: str) -> api.Rollout:
        """Give the candidate all traffic.

        Raises: FailedPrecondition if it does not answer yet, or was ended otherwise.
        """

        def write(tx: Tx) -> api.Rollout:
            rollout = tx.get(name, api.Rollout)
            ended = is_over(rollout) and rollout.state != api.ROLLOUT_STATE_PROMOTED
            if ended or rollout.state == api.ROLLOUT_STATE_PENDING:
                state = api.RolloutState.Name(rollout.state).removeprefix("ROLLOUT_STATE_").lower()
                text = f"{name} is {state}; only a running rollout can be promoted"
                raise FailedPrecondition(text, resource=name)
            return end(tx, name, api.ROLLOUT_STATE_PROMOTED, reason or "somebody promoted it")

        return await self._store.write(write)

    async def report(self, request: rollout_service_pb2.ReportVerdictRequest) -> bool:
        """Take a verifier's verdict; say whether it counts.

        Raises: InvalidRequest for a metric that the running rollout does not have.
        """

        def write(tx: Tx) -> bool:
            rollout = rollout_of(tx, request.response_id)
            if not rollout or parent_of(rollout) != request.endpoint:
                return False
            known = metrics_of(tx, rollout, Signal.VERDICT)
            wanted = [request.metric] if request.metric else known
            if len(wanted) != 1 or wanted[0] not in known:
                text = f"{rollout} has these metrics for verdicts: {', '.join(known) or 'none'}; name one of them"
                raise InvalidRequest(text, field="metric")
            return record_said(tx, request.response_id, wanted, rollout=rollout, good=request.good)

        return await self._store.write(write)


def is_over(rollout: api.Rollout) -> bool:
    """Say whether a rollout has ended."""
    return rollout.state in OVER


def advance(tx: Tx, name: str) -> bool:
    """Look at the outcomes that came and make at most one move; say whether there may be more to look at."""
    rollout = tx.get(name, api.Rollout)
    if is_over(rollout):
        return False
    candidate = tx.get(rollout.candidate, deployment_pb2.Deployment)
    if candidate.state in {deployment_pb2.DEPLOYMENT_STATE_FAILED, deployment_pb2.DEPLOYMENT_STATE_STOPPED}:
        why = candidate.error.message or "it was stopped"
        end(tx, name, api.ROLLOUT_STATE_ROLLED_BACK, f"{rollout.candidate} does not run: {why}")
        return False
    if rollout.state == api.ROLLOUT_STATE_PENDING:
        if candidate.state == deployment_pb2.DEPLOYMENT_STATE_READY:
            _enter(tx, rollout, 0, "the candidate is loaded")
        return False
    plan = read_plan(rollout.plan)
    stage_s = (tx.clock.now() - rollout.stage_time.ToDatetime(UTC)).total_seconds()
    decision, more = evidence.fold(tx, name, lambda found: decide(plan, rollout.stage, found, stage_s))
    match decision.move:
        case Move.ADVANCE:
            _enter(tx, rollout, rollout.stage + 1, decision.reason)
        case Move.PROMOTE:
            end(tx, name, api.ROLLOUT_STATE_PROMOTED, decision.reason)
        case Move.ROLL_BACK:
            end(tx, name, api.ROLLOUT_STATE_ROLLED_BACK, decision.reason)
        case Move.STAY:
            return more
    return True


def end(tx: Tx, name: str, state: api.RolloutState, reason: str) -> api.Rollout:
    """End a rollout one way or the other; one that is over stays as it is."""
    rollout = tx.get(name, api.Rollout)
    if is_over(rollout):
        return rollout
    before = api.RolloutState.Name(rollout.state).removeprefix("ROLLOUT_STATE_")
    rollout.state = state
    rollout.end_time.FromDatetime(tx.clock.now())
    _note(tx, rollout, -1, reason)
    stored = tx.put(rollout, verb=_VERBS[state], previous_state=before)
    endpoint = tx.get(parent_of(name), deployment_pb2.Endpoint)
    endpoint.rollout = ""
    if state == api.ROLLOUT_STATE_PROMOTED:
        # The way back leads to the baseline, not to the last stage.
        del endpoint.traffic[:]
        endpoint.traffic.add(deployment=rollout.baseline, percent=100)
        take_over(tx, endpoint, rollout.candidate, verb="updated")
    else:
        baseline = [deployment_pb2.TrafficShare(deployment=rollout.baseline, percent=100)]
        change(tx, endpoint, baseline, verb="updated", remember=False)
        retire(tx, endpoint, rollout.candidate)
    for table in (ROLLOUTS, OUTCOMES, ROLLOUT_ANSWERS):
        tx.connection.execute(delete(table).where(table.c.rollout == name))
    return stored


def rollback(tx: Tx, name: str, reason: str) -> deployment_pb2.Endpoint:
    """Give an endpoint's traffic back to who had it before, at once; a running rollout ends."""
    endpoint = tx.get(name, deployment_pb2.Endpoint)
    if endpoint.rollout:
        end(tx, endpoint.rollout, api.ROLLOUT_STATE_ABORTED, reason or "somebody rolled the endpoint back")
        return tx.get(name, deployment_pb2.Endpoint)
    return give_back(tx, endpoint)


def _start(tx: Tx, name: str, plan: Plan, standby: str, wish: Admission | None) -> api.Rollout:
    endpoint = tx.get(parent_of(name), deployment_pb2.Endpoint)
    refuse_during_rollout(endpoint)
    with_traffic = [share for share in endpoint.traffic if share.percent]
    if len(with_traffic) != 1:
        raise FailedPrecondition(
            f"{endpoint.name} has {len(with_traffic)} deployments with traffic; a rollout starts from exactly one",
            resource=endpoint.name,
        )
    baseline, candidate = with_traffic[0].deployment, standby or f"{endpoint.name}/deployments/{new_id('d')}"
    if wish is not None:
        record(tx, deployment_pb2.Deployment(name=candidate, standby=True), wish)
    else:
        _check_standby(tx, candidate, endpoint.name, baseline)
    rollout = api.Rollout(
        name=name, candidate=candidate, baseline=baseline, plan=to_plan(plan), state=api.ROLLOUT_STATE_PENDING
    )
    _note(tx, rollout, 0, f"{candidate} is to take over from {baseline}")
    stored = tx.put(rollout, verb="created")
    fresh = evidence.dump_all(fresh_evidence(plan))
    tx.connection.execute(insert(ROLLOUTS).values(rollout=name, endpoint=endpoint.name, sequence=0, evidence=fresh))
    endpoint.rollout = name
    change(tx, endpoint, [_share(baseline, 100), _share(candidate, 0)], verb="updated", remember=False)
    return stored


def _check_standby(tx: Tx, name: str, endpoint: str, baseline: str) -> None:
    if parent_of(name) != endpoint or name == baseline:
        raise InvalidRequest(f"deployment must be another one of {endpoint}; got {name}", field="deployment")
    found = tx.get(name, deployment_pb2.Deployment)
    if found.state in {deployment_pb2.DEPLOYMENT_STATE_FAILED, deployment_pb2.DEPLOYMENT_STATE_STOPPED}:
        raise FailedPrecondition(f"{name} does not run; give its model version instead", resource=name)


def _enter(tx: Tx, rollout: api.Rollout, number: int, reason: str) -> None:
    """Begin a stage: its traffic from the next request on."""
    before = api.RolloutState.Name(rollout.state).removeprefix("ROLLOUT_STATE_")
    rollout.state = api.ROLLOUT_STATE_RUNNING
    _note(tx, rollout, number, reason)  # with the evidence as the stage before asked for it
    rollout.stage = number
    rollout.stage_time.FromDatetime(tx.clock.now())
    tx.put(rollout, verb="advanced", previous_state=before)
    endpoint, stage = tx.get(parent_of(rollout.name), deployment_pb2.Endpoint), rollout.plan.stages[number]
    percent = 0.0 if stage.shadow else stage.percent
    # The candidate lies first on the line, so that who has it keeps it while its share grows.
    shares = [_share(rollout.candidate, percent), _share(rollout.baseline, 100 - percent)]
    shadow = deployment_pb2.ShadowTraffic(deployment=rollout.candidate, percent=stage.percent) if stage.shadow else None
    change(tx, endpoint, shares, shadow=shadow, verb="updated", remember=False)


def _note(tx: Tx, rollout: api.Rollout, stage: int, reason: str) -> None:
    evidence.fill(tx, rollout)
    step = api.RolloutStep(stage=stage, state=rollout.state, reason=reason, evidence=rollout.evidence)
    step.time.FromDatetime(tx.clock.now())
    rollout.steps.append(step)
    del rollout.steps[:-STEPS_KEPT]


def _share(deployment: str, percent: float) -> deployment_pb2.TrafficShare:
    return deployment_pb2.TrafficShare(deployment=deployment, percent=percent)
