"""What we hear from the other services: facts that the lineage graph is drawn from, and suites to keep clear of."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bessemer.api.common.v1.job_pb2 import JobState
from bessemer.api.common.v1.system_service_pb2 import EventRecord
from bessemer.api.data.v1.lineage_service_pb2 import Lineage
from bessemer.api.event.v1 import eval_events_pb2, serve_events_pb2, train_events_pb2
from bessemer.api.serve.v1.deployment_pb2 import DeploymentState
from bessemer.svckit.tx import Tx

from data_svc import codec
from data_svc.ports import KnownSuites, LineageGraph

__all__ = ["PRODUCERS", "lineage_handler", "suite_handler"]

PRODUCERS = ("train", "eval", "serve")


def _model_version(payload: bytes) -> Lineage:
    return codec.lineage_of_model_version(train_events_pb2.ModelVersionChanged.FromString(payload).model_version)


def _model_job(payload: bytes) -> Lineage:
    return codec.lineage_of_import(train_events_pb2.ModelJobChanged.FromString(payload).model_job)


def _evaluation_run(payload: bytes) -> Lineage:
    run = eval_events_pb2.EvaluationRunChanged.FromString(payload).evaluation_run
    return codec.lineage_of_evaluation_run(run) if run.status.state == JobState.JOB_STATE_SUCCEEDED else Lineage()


def _evaluation_suite(payload: bytes) -> Lineage:
    return codec.lineage_of_evaluation_suite(
        eval_events_pb2.EvaluationSuiteChanged.FromString(payload).evaluation_suite
    )


def _gate_decision(payload: bytes) -> Lineage:
    return codec.lineage_of_gate_decision(eval_events_pb2.GateDecisionChanged.FromString(payload).gate_decision)


def _deployment(payload: bytes) -> Lineage:
    deployment = serve_events_pb2.DeploymentChanged.FromString(payload).deployment
    ready = deployment.state == DeploymentState.DEPLOYMENT_STATE_READY
    return codec.lineage_of_deployment(deployment) if ready else Lineage()


# By what changed; the verb does not matter, since adding twice adds nothing.
HEARD: Mapping[str, Callable[[bytes], Lineage]] = {
    "bessemer.train.model_version": _model_version,
    "bessemer.train.model_job": _model_job,
    "bessemer.eval.evaluation_run": _evaluation_run,
    "bessemer.eval.evaluation_suite": _evaluation_suite,
    "bessemer.eval.gate_decision": _gate_decision,
    "bessemer.serve.deployment": _deployment,
}


def lineage_handler(graph: LineageGraph) -> Callable[[Tx, EventRecord], None]:
    """Return the handler that draws what an event tells; others pass unheard."""

    def handle(tx: Tx, event: EventRecord) -> None:
        read = HEARD.get(event.type.rsplit(".", 2)[0])
        if read is not None:
            graph.add(tx, read(event.payload))

    return handle


def suite_handler(suites: KnownSuites) -> Callable[[Tx, EventRecord], None]:
    """Return the handler that remembers which suites there are; other events of eval_svc pass unheard."""

    def handle(tx: Tx, event: EventRecord) -> None:
        kind, verb, _ = event.type.rsplit(".", 2)
        if kind != "bessemer.eval.evaluation_suite":
            return
        suite = eval_events_pb2.EvaluationSuiteChanged.FromString(event.payload).evaluation_suite
        if verb == "deleted":
            suites.remove(tx, suite.name)
        elif suite.HasField("contamination_hashes"):
            suites.add(tx, suite.name, suite.contamination_hashes)

    return handle
