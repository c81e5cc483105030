"""The lineage graph as the events of the other services draw it."""

from __future__ import annotations

import pytest
from bessemer.api.common.v1.job_pb2 import JobState, JobStatus
from bessemer.api.common.v1.system_service_pb2 import EventRecord
from bessemer.api.data.v1.lineage_service_pb2 import GetLineageRequest, LineageDirection
from bessemer.api.eval.v1.evaluation_pb2 import EvaluationRun, GateDecision
from bessemer.api.event.v1 import eval_events_pb2, serve_events_pb2, train_events_pb2
from bessemer.api.serve.v1.deployment_pb2 import Deployment, DeploymentState
from bessemer.api.train.v1.model_pb2 import ImportTask, ModelJob, ModelVersion
from bessemer.kernel.clock import SystemClock
from bessemer.kernel.errors import NotFound
from bessemer.svckit import context
from bessemer.svckit.store import Store
from data_svc.adapters.lineage_sql import TABLES, LineageTables
from data_svc.app.lineage import Ancestry
from data_svc.events import lineage_handler

P = "projects/plant"
BASE, OWN, TEXT = f"{P}/models/base/versions/v1", f"{P}/models/own/versions/v1", f"{P}/datasets/text/versions/v1"
RUN, OTHER_RUN, GATE = f"{P}/evaluationRuns/new", f"{P}/evaluationRuns/old", f"{P}/gateDecisions/g"
DEPLOYMENT = f"{P}/endpoints/e/deployments/d"
DONE = JobStatus(state=JobState.JOB_STATE_SUCCEEDED)
EVENTS = [
    (
        "train.model_job.succeeded",
        train_events_pb2.ModelJobChanged(
            model_job=ModelJob(
                model_version=BASE, **{"import": ImportTask(model=f"{P}/models/base", catalogue="smollm2")}
            )
        ),
    ),
    ("train.model_version.created", train_events_pb2.ModelVersionChanged(model_version=ModelVersion(name=BASE))),
    (
        "train.model_version.created",
        train_events_pb2.ModelVersionChanged(
            model_version=ModelVersion(name=OWN, parent=BASE, dataset_versions=[TEXT])
        ),
    ),
    (
        "eval.evaluation_run.queued",
        eval_events_pb2.EvaluationRunChanged(evaluation_run=EvaluationRun(name=f"{P}/evaluationRuns/x")),
    ),
    (
        "eval.evaluation_run.succeeded",
        eval_events_pb2.EvaluationRunChanged(evaluation_run=EvaluationRun(name=RUN, model_version=OWN, status=DONE)),
    ),
    (
        "eval.gate_decision.created",
        eval_events_pb2.GateDecisionChanged(
            gate_decision=GateDecision(name=GATE, model_version=OWN, baseline_run=OTHER_RUN, candidate_run=RUN)
        ),
    ),
    (
        "serve.deployment.updated",
        serve_events_pb2.DeploymentChanged(
            deployment=Deployment(
                name=DEPLOYMENT,
                model_version=OWN,
                gate_decision=GATE,
                state=DeploymentState.DEPLOYMENT_STATE_READY,
            )
        ),
    ),
    ("serve.endpoint.updated", serve_events_pb2.EndpointChanged()),
]


@pytest.fixture
async def ancestry(tmp_path):
    store = Store.open(f"sqlite:///{tmp_path}/service.db", service="data", clock=SystemClock(), extra=TABLES)
    graph = LineageTables()
    handle = lineage_handler(graph)
    for _ in range(2):  # telling the same twice changes nothing
        for kind, message in EVENTS:
            event = EventRecord(type=f"bessemer.{kind}.v1", payload=message.SerializeToString())
            await store.write(lambda tx, event=event: handle(tx, event))
    yield Ancestry(store, graph)
    store.close()


async def edges(ancestry, name: str, **request) -> set[tuple[str, str, str]]:
    graph = await ancestry.get(GetLineageRequest(name=name, **request))
    assert {edge.source for edge in graph.edges} | {edge.target for edge in graph.edges} | {name} == {
        node.name for node in graph.nodes
    }
    return {(edge.source, edge.target, edge.relation) for edge in graph.edges}


async def test_deployment_leads_back_to_everything_it_came_from(ancestry):
    assert await edges(ancestry, DEPLOYMENT) == {
        ("catalogue/smollm2", BASE, "imported_from"),
        (BASE, OWN, "trained_from"),
        (TEXT, OWN, "trained_on"),
        (OWN, RUN, "evaluates"),
        (RUN, GATE, "compares"),
        (OTHER_RUN, GATE, "compares"),
        (OWN, GATE, "decides_on"),
        (OWN, DEPLOYMENT, "deploys"),
        (GATE, DEPLOYMENT, "allowed_by"),
    }


async def test_walk_stops_at_depth_and_keeps_its_direction(ancestry):
    assert await edges(ancestry, OWN, depth=1) == {
        (BASE, OWN, "trained_from"),
        (TEXT, OWN, "trained_on"),
        (OWN, RUN, "evaluates"),
        (OWN, GATE, "decides_on"),
        (OWN, DEPLOYMENT, "deploys"),
    }
    down = LineageDirection.LINEAGE_DIRECTION_DOWNSTREAM
    assert await edges(ancestry, TEXT, depth=1, direction=down) == {(TEXT, OWN, "trained_on")}
    assert await edges(ancestry, TEXT, direction=LineageDirection.LINEAGE_DIRECTION_UPSTREAM) == set()


async def test_unknown_names_and_unfinished_runs_have_no_lineage(ancestry):
    for name in (f"{P}/evaluationRuns/x", f"{P}/models/none/versions/v1"):
        with pytest.raises(NotFound):
            await ancestry.get(GetLineageRequest(name=name))


async def test_resources_of_projects_the_caller_may_not_enter_are_left_out(ancestry):
    token = context.principal.set(context.Principal("guest", projects=frozenset({"mill"})))
    try:
        assert await edges(ancestry, BASE) == set()
    finally:
        context.principal.reset(token)
