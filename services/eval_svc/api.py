"""The gRPC door: one line per method."""
# ruff: noqa: ARG002, N802 - methods are named and shaped by the contract

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from bessemer.api.eval.v1 import (
    audit_service_pb2,
    audit_service_pb2_grpc,
    drift_pb2,
    drift_service_pb2_grpc,
    evaluation_pb2,
    evaluation_service_pb2_grpc,
    gate_policy_pb2,
    gate_policy_pb2_grpc,
)
from bessemer.api.eval.v1 import drift_service_pb2 as drift_api
from bessemer.api.eval.v1 import evaluation_service_pb2 as pb
from bessemer.jobs.job_rpcs import JobRpcs

from eval_svc.app.audits import Audits
from eval_svc.app.drift import Drift
from eval_svc.app.gates import Gates
from eval_svc.app.imports import Imports
from eval_svc.app.policies import Policies
from eval_svc.app.runs import Runs
from eval_svc.app.suites import Suites

__all__ = ["AuditApi", "DriftApi", "EvaluationApi", "GatePolicyApi"]


class EvaluationApi(evaluation_service_pb2_grpc.EvaluationServiceServicer):
    """Suites, runs and gates."""

    def __init__(
        self,
        suites: Suites,
        runs: Runs,
        imports: Imports,
        jobs: JobRpcs[evaluation_pb2.EvaluationRun],
        gates: Gates,
    ) -> None:
        self._suites = suites
        self._runs = runs
        self._imports = imports
        self._jobs = jobs
        self._gates = gates

    async def CreateEvaluationSuite(
        self, request: pb.CreateEvaluationSuiteRequest, context: Any
    ) -> evaluation_pb2.EvaluationSuite:
        """See the contract."""
        return await self._suites.create(request)

    async def GetEvaluationSuite(
        self, request: pb.GetEvaluationSuiteRequest, context: Any
    ) -> evaluation_pb2.EvaluationSuite:
        """See the contract."""
        return await self._suites.get(request.name)

    async def ListEvaluationSuites(
        self, request: pb.ListEvaluationSuitesRequest, context: Any
    ) -> pb.ListEvaluationSuitesResponse:
        """See the contract."""
        return await self._suites.page(request)

    async def CreateEvaluationRun(
        self, request: pb.CreateEvaluationRunRequest, context: Any
    ) -> evaluation_pb2.EvaluationRun:
        """See the contract."""
        return await self._runs.create(request)

    async def ImportEvaluationRun(
        self, request: pb.ImportEvaluationRunRequest, context: Any
    ) -> evaluation_pb2.EvaluationRun:
        """See the contract."""
        return await self._imports.create(request)

    async def GetEvaluationRun(self, request: pb.GetEvaluationRunRequest, context: Any) -> evaluation_pb2.EvaluationRun:
        """See the contract."""
        return await self._jobs.get(request)

    async def ListEvaluationRuns(
        self, request: pb.ListEvaluationRunsRequest, context: Any
    ) -> pb.ListEvaluationRunsResponse:
        """See the contract."""
        return await self._jobs.list(request, pb.ListEvaluationRunsResponse)

    async def CancelEvaluationRun(
        self, request: pb.CancelEvaluationRunRequest, context: Any
    ) -> evaluation_pb2.EvaluationRun:
        """See the contract."""
        return await self._jobs.cancel(request)

    async def WatchEvaluationRun(
        self, request: pb.WatchEvaluationRunRequest, context: Any
    ) -> AsyncIterator[pb.WatchEvaluationRunResponse]:
        """See the contract."""
        async for step in self._jobs.watch(request, pb.WatchEvaluationRunResponse):
            yield step

    async def TailEvaluationRunLogs(
        self, request: pb.TailEvaluationRunLogsRequest, context: Any
    ) -> AsyncIterator[pb.TailEvaluationRunLogsResponse]:
        """See the contract."""
        async for piece in self._jobs.tail(request, pb.TailEvaluationRunLogsResponse):
            yield piece

    async def CompareRuns(self, request: pb.CompareRunsRequest, context: Any) -> evaluation_pb2.Comparison:
        """See the contract."""
        return await self._gates.compare(request)

    async def DecideGate(self, request: pb.DecideGateRequest, context: Any) -> evaluation_pb2.GateDecision:
        """See the contract."""
        return await self._gates.decide(request)

    async def GetGateDecision(self, request: pb.GetGateDecisionRequest, context: Any) -> evaluation_pb2.GateDecision:
        """See the contract."""
        return await self._gates.get(request.name)

    async def ListGateDecisions(
        self, request: pb.ListGateDecisionsRequest, context: Any
    ) -> pb.ListGateDecisionsResponse:
        """See the contract."""
        return await self._gates.page(request)


class GatePolicyApi(gate_policy_pb2_grpc.GatePolicyServiceServicer):
    """Gate policies, waivers, and plans."""

    def __init__(self, policies: Policies) -> None:
        self._policies = policies

    async def CreateGatePolicy(
        self, request: gate_policy_pb2.CreateGatePolicyRequest, context: Any
    ) -> gate_policy_pb2.GatePolicy:
        """See the contract."""
        return await self._policies.create(request)

    async def GetGatePolicy(
        self, request: gate_policy_pb2.GetGatePolicyRequest, context: Any
    ) -> gate_policy_pb2.GatePolicy:
        """See the contract."""
        return await self._policies.get(request.name)

    async def ListGatePolicies(
        self, request: gate_policy_pb2.ListGatePoliciesRequest, context: Any
    ) -> gate_policy_pb2.ListGatePoliciesResponse:
        """See the contract."""
        return await self._policies.page(request)

    async def CreateGateWaiver(
        self, request: gate_policy_pb2.CreateGateWaiverRequest, context: Any
    ) -> gate_policy_pb2.GateWaiver:
        """See the contract."""
        return await self._policies.waive(request)

    async def GetGateWaiver(
        self, request: gate_policy_pb2.GetGateWaiverRequest, context: Any
    ) -> gate_policy_pb2.GateWaiver:
        """See the contract."""
        return await self._policies.waiver(request.name)

    async def ListGateWaivers(
        self, request: gate_policy_pb2.ListGateWaiversRequest, context: Any
    ) -> gate_policy_pb2.ListGateWaiversResponse:
        """See the contract."""
        return await self._policies.waivers(request)

    async def RevokeGateWaiver(
        self, request: gate_policy_pb2.RevokeGateWaiverRequest, context: Any
    ) -> gate_policy_pb2.GateWaiver:
        """See the contract."""
        return await self._policies.revoke(request)

    async def PlanEvaluation(
        self, request: gate_policy_pb2.PlanEvaluationRequest, context: Any
    ) -> gate_policy_pb2.EvaluationPlan:
        """See the contract."""
        return await self._policies.plan(request)


class AuditApi(audit_service_pb2_grpc.AuditServiceServicer):
    """Audits of runs."""

    def __init__(self, audits: Audits) -> None:
        self._audits = audits

    async def AuditRuns(self, request: audit_service_pb2.AuditRunsRequest, context: Any) -> audit_service_pb2.RunAudit:
        """See the contract."""
        return await self._audits.audit(request)


class DriftApi(drift_service_pb2_grpc.DriftServiceServicer):
    """Drift monitors."""

    def __init__(self, drift: Drift) -> None:
        self._drift = drift

    async def CreateDriftMonitor(
        self, request: drift_api.CreateDriftMonitorRequest, context: Any
    ) -> drift_pb2.DriftMonitor:
        """See the contract."""
        return await self._drift.create(request)

    async def GetDriftMonitor(self, request: drift_api.GetDriftMonitorRequest, context: Any) -> drift_pb2.DriftMonitor:
        """See the contract."""
        return await self._drift.get(request.name)

    async def ListDriftMonitors(
        self, request: drift_api.ListDriftMonitorsRequest, context: Any
    ) -> drift_api.ListDriftMonitorsResponse:
        """See the contract."""
        return await self._drift.page(request)

    async def ObserveRequests(self, request: drift_api.ObserveRequestsRequest, context: Any) -> drift_pb2.DriftMonitor:
        """See the contract."""
        return await self._drift.observe(request)

    async def RearmDriftMonitor(
        self, request: drift_api.RearmDriftMonitorRequest, context: Any
    ) -> drift_pb2.DriftMonitor:
        """See the contract."""
        return await self._drift.rearm(request)

    async def ListDriftAlarms(
        self, request: drift_api.ListDriftAlarmsRequest, context: Any
    ) -> drift_api.ListDriftAlarmsResponse:
        """See the contract."""
        return await self._drift.alarms(request)
