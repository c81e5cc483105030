"""What loops ask of the other services, with the identity of this one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
from bessemer.api.data.v1 import dataset_job_service_pb2 as data_jobs
from bessemer.api.data.v1.dataset_job_pb2 import DatasetJob
from bessemer.api.data.v1.dataset_job_service_pb2_grpc import DatasetJobServiceStub
from bessemer.api.data.v1.feedback_service_pb2 import CountFeedbackRequest, FeedbackCounts
from bessemer.api.data.v1.feedback_service_pb2_grpc import FeedbackServiceStub
from bessemer.api.eval.v1 import evaluation_service_pb2 as evaluation
from bessemer.api.eval.v1.audit_service_pb2 import AuditRunsRequest, RunAudit
from bessemer.api.eval.v1.audit_service_pb2_grpc import AuditServiceStub
from bessemer.api.eval.v1.evaluation_pb2 import EvaluationRun, GateDecision
from bessemer.api.eval.v1.evaluation_service_pb2_grpc import EvaluationServiceStub
from bessemer.api.eval.v1.gate_policy_pb2 import GatePolicy, GetGatePolicyRequest
from bessemer.api.eval.v1.gate_policy_pb2_grpc import GatePolicyServiceStub
from bessemer.api.train.v1 import training_service_pb2 as training
from bessemer.api.train.v1.training_job_pb2 import TrainingJob
from bessemer.api.train.v1.training_service_pb2_grpc import TrainingServiceStub
from bessemer.kernel.errors import NotFound
from bessemer.svckit.status import from_rpc_error

from serve_svc.adapters.peers import Peers

__all__ = ["GrpcLoopWork"]


class GrpcLoopWork:
    """Jobs, runs, decisions and audits of data_svc, train_svc and eval_svc."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def count(self, project: str, model_versions: Sequence[str]) -> FeedbackCounts:
        """Count what was said."""
        stub = FeedbackServiceStub(self._peers.channel("data"))
        found: FeedbackCounts = await _call(
            stub.CountFeedback, CountFeedbackRequest(parent=project, model_versions=model_versions)
        )
        return found

    async def dataset_job(self, name: str) -> DatasetJob | None:
        """Look for a dataset job."""
        stub = DatasetJobServiceStub(self._peers.channel("data"))
        found: DatasetJob | None = await _find(stub.GetDatasetJob, data_jobs.GetDatasetJobRequest(name=name))
        return found

    async def create_dataset_job(self, request: data_jobs.CreateDatasetJobRequest) -> None:
        """Make a dataset job."""
        await _call(DatasetJobServiceStub(self._peers.channel("data")).CreateDatasetJob, request)

    async def training_job(self, name: str) -> TrainingJob | None:
        """Look for a training job."""
        stub = TrainingServiceStub(self._peers.channel("train"))
        found: TrainingJob | None = await _find(stub.GetTrainingJob, training.GetTrainingJobRequest(name=name))
        return found

    async def create_training_job(self, request: training.CreateTrainingJobRequest) -> None:
        """Make a training job."""
        await _call(TrainingServiceStub(self._peers.channel("train")).CreateTrainingJob, request)

    async def evaluation_run(self, name: str) -> EvaluationRun | None:
        """Look for an evaluation run."""
        stub = EvaluationServiceStub(self._peers.channel("eval"))
        found: EvaluationRun | None = await _find(stub.GetEvaluationRun, evaluation.GetEvaluationRunRequest(name=name))
        return found

    async def create_evaluation_run(self, request: evaluation.CreateEvaluationRunRequest) -> None:
        """Make an evaluation run."""
        await _call(EvaluationServiceStub(self._peers.channel("eval")).CreateEvaluationRun, request)

    async def gate_policy(self, name: str) -> GatePolicy:
        """Ask for a policy."""
        stub = GatePolicyServiceStub(self._peers.channel("eval"))
        found: GatePolicy = await _call(stub.GetGatePolicy, GetGatePolicyRequest(name=name))
        return found

    async def gate_decision(self, name: str) -> GateDecision | None:
        """Look for a decision."""
        stub = EvaluationServiceStub(self._peers.channel("eval"))
        found: GateDecision | None = await _find(stub.GetGateDecision, evaluation.GetGateDecisionRequest(name=name))
        return found

    async def decide_gate(self, request: evaluation.DecideGateRequest) -> None:
        """Make a decision."""
        await _call(EvaluationServiceStub(self._peers.channel("eval")).DecideGate, request)

    async def audit(self, request: AuditRunsRequest) -> RunAudit:
        """Ask for an audit."""
        found: RunAudit = await _call(AuditServiceStub(self._peers.channel("eval")).AuditRuns, request)
        return found


async def _call(method: Any, request: Any) -> Any:
    try:
        return await method(request)
    except grpc.RpcError as error:
        raise from_rpc_error(error) from None


async def _find(method: Any, request: Any) -> Any:
    try:
        return await _call(method, request)
    except NotFound:
        return None
