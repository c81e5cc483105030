"""The gRPC door: one class per service of the contract, one line per method."""
# ruff: noqa: ARG002, N802 - methods are named and shaped by the contract

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from bessemer.api.train.v1 import (
    mixture_job_pb2,
    mixture_job_service_pb2,
    mixture_job_service_pb2_grpc,
    model_pb2,
    model_service_pb2,
    model_service_pb2_grpc,
    planning_service_pb2,
    planning_service_pb2_grpc,
    training_job_pb2,
    training_service_pb2,
    training_service_pb2_grpc,
)
from bessemer.jobs.job_rpcs import JobRpcs

from train_svc.app.mixture_jobs import MixtureJobs
from train_svc.app.model_jobs import ModelJobs
from train_svc.app.planning import Planning
from train_svc.app.registry import Registry
from train_svc.app.training import Training

__all__ = ["MixtureJobApi", "ModelApi", "PlanningApi", "TrainingApi"]


class ModelApi(model_service_pb2_grpc.ModelServiceServicer):
    """Models, their versions, and the jobs that bring them in and out."""

    def __init__(self, registry: Registry, model_jobs: ModelJobs, jobs: JobRpcs[model_pb2.ModelJob]) -> None:
        self._registry = registry
        self._model_jobs = model_jobs
        self._jobs = jobs

    async def GetModel(self, request: model_service_pb2.GetModelRequest, context: Any) -> model_pb2.Model:
        """See the contract."""
        return await self._registry.get(request.name)

    async def ListModels(
        self, request: model_service_pb2.ListModelsRequest, context: Any
    ) -> model_service_pb2.ListModelsResponse:
        """See the contract."""
        return await self._registry.list(request)

    async def GetModelVersion(
        self, request: model_service_pb2.GetModelVersionRequest, context: Any
    ) -> model_pb2.ModelVersion:
        """See the contract."""
        return await self._registry.get_version(request.name)

    async def ListModelVersions(
        self, request: model_service_pb2.ListModelVersionsRequest, context: Any
    ) -> model_service_pb2.ListModelVersionsResponse:
        """See the contract."""
        return await self._registry.list_versions(request)

    async def SetVersionAlias(self, request: model_service_pb2.SetVersionAliasRequest, context: Any) -> model_pb2.Model:
        """See the contract."""
        return await self._registry.set_alias(request)

    async def CreateModelJob(
        self, request: model_service_pb2.CreateModelJobRequest, context: Any
    ) -> model_pb2.ModelJob:
        """See the contract."""
        return await self._model_jobs.create(request)

    async def GetModelJob(self, request: model_service_pb2.GetModelJobRequest, context: Any) -> model_pb2.ModelJob:
        """See the contract."""
        return await self._jobs.get(request)

    async def ListModelJobs(
        self, request: model_service_pb2.ListModelJobsRequest, context: Any
    ) -> model_service_pb2.ListModelJobsResponse:
        """See the contract."""
        return await self._jobs.list(request, model_service_pb2.ListModelJobsResponse)

    async def CancelModelJob(
        self, request: model_service_pb2.CancelModelJobRequest, context: Any
    ) -> model_pb2.ModelJob:
        """See the contract."""
        return await self._jobs.cancel(request)

    async def WatchModelJob(
        self, request: model_service_pb2.WatchModelJobRequest, context: Any
    ) -> AsyncIterator[model_service_pb2.WatchModelJobResponse]:
        """See the contract."""
        async for message in self._jobs.watch(request, model_service_pb2.WatchModelJobResponse):
            yield message

    async def TailModelJobLogs(
        self, request: model_service_pb2.TailModelJobLogsRequest, context: Any
    ) -> AsyncIterator[model_service_pb2.TailModelJobLogsResponse]:
        """See the contract."""
        async for message in self._jobs.tail(request, model_service_pb2.TailModelJobLogsResponse):
            yield message


class TrainingApi(training_service_pb2_grpc.TrainingServiceServicer):
    """Training jobs."""

    def __init__(self, training: Training, jobs: JobRpcs[training_job_pb2.TrainingJob]) -> None:
        self._training = training
        self._jobs = jobs

    async def CreateTrainingJob(
        self, request: training_service_pb2.CreateTrainingJobRequest, context: Any
    ) -> training_job_pb2.TrainingJob:
        """See the contract."""
        return await self._training.create(request)

    async def GetTrainingJob(
        self, request: training_service_pb2.GetTrainingJobRequest, context: Any
    ) -> training_job_pb2.TrainingJob:
        """See the contract."""
        return await self._jobs.get(request)

    async def ListTrainingJobs(
        self, request: training_service_pb2.ListTrainingJobsRequest, context: Any
    ) -> training_service_pb2.ListTrainingJobsResponse:
        """See the contract."""
        return await self._jobs.list(request, training_service_pb2.ListTrainingJobsResponse)

    async def CancelTrainingJob(
        self, request: training_service_pb2.CancelTrainingJobRequest, context: Any
    ) -> training_job_pb2.TrainingJob:
        """See the contract."""
        return await self._jobs.cancel(request)

    async def PauseTrainingJob(
        self, request: training_service_pb2.PauseTrainingJobRequest, context: Any
    ) -> training_job_pb2.TrainingJob:
        """See the contract."""
        return await self._jobs.pause(request)

    async def ResumeTrainingJob(
        self, request: training_service_pb2.ResumeTrainingJobRequest, context: Any
    ) -> training_job_pb2.TrainingJob:
        """See the contract."""
        return await self._jobs.resume(request)

    async def WatchTrainingJob(
        self, request: training_service_pb2.WatchTrainingJobRequest, context: Any
    ) -> AsyncIterator[training_service_pb2.WatchTrainingJobResponse]:
        """See the contract."""
        async for message in self._jobs.watch(request, training_service_pb2.WatchTrainingJobResponse):
            yield message

    async def TailTrainingJobLogs(
        self, request: training_service_pb2.TailTrainingJobLogsRequest, context: Any
    ) -> AsyncIterator[training_service_pb2.TailTrainingJobLogsResponse]:
        """See the contract."""
        async for message in self._jobs.tail(request, training_service_pb2.TailTrainingJobLogsResponse):
            yield message

    async def ListCheckpoints(
        self, request: training_service_pb2.ListCheckpointsRequest, context: Any
    ) -> training_service_pb2.ListCheckpointsResponse:
        """See the contract."""
        return await self._training.list_checkpoints(request)

    async def QueryMetrics(
        self, request: training_service_pb2.QueryMetricsRequest, context: Any
    ) -> training_service_pb2.QueryMetricsResponse:
        """See the contract."""
        return await self._jobs.query_metrics(request, training_service_pb2.QueryMetricsResponse)

    async def StreamMetrics(
        self, request: training_service_pb2.StreamMetricsRequest, context: Any
    ) -> AsyncIterator[training_service_pb2.StreamMetricsResponse]:
        """See the contract."""
        async for message in self._jobs.stream_metrics(request, training_service_pb2.StreamMetricsResponse):
            yield message


class PlanningApi(planning_service_pb2_grpc.PlanningServiceServicer):
    """Estimates."""

    def __init__(self, planning: Planning) -> None:
        self._planning = planning

    async def EstimateTrainingJob(
        self, request: planning_service_pb2.EstimateTrainingJobRequest, context: Any
    ) -> planning_service_pb2.EstimateTrainingJobResponse:
        """See the contract."""
        return await self._planning.estimate(request)


class MixtureJobApi(mixture_job_service_pb2_grpc.MixtureJobServiceServicer):
    """Jobs that look for the shares of a mixture."""

    def __init__(self, searches: MixtureJobs, jobs: JobRpcs[mixture_job_pb2.MixtureJob]) -> None:
        self._searches = searches
        self._jobs = jobs

    async def CreateMixtureJob(
        self, request: mixture_job_service_pb2.CreateMixtureJobRequest, context: Any
    ) -> mixture_job_pb2.MixtureJob:
        """See the contract."""
        return await self._searches.create(request)

    async def GetMixtureJob(
        self, request: mixture_job_service_pb2.GetMixtureJobRequest, context: Any
    ) -> mixture_job_pb2.MixtureJob:
        """See the contract."""
        return await self._jobs.get(request)

    async def ListMixtureJobs(
        self, request: mixture_job_service_pb2.ListMixtureJobsRequest, context: Any
    ) -> mixture_job_service_pb2.ListMixtureJobsResponse:
        """See the contract."""
        return await self._jobs.list(request, mixture_job_service_pb2.ListMixtureJobsResponse)

    async def CancelMixtureJob(
        self, request: mixture_job_service_pb2.CancelMixtureJobRequest, context: Any
    ) -> mixture_job_pb2.MixtureJob:
        """See the contract."""
        return await self._jobs.cancel(request)

    async def WatchMixtureJob(
        self, request: mixture_job_service_pb2.WatchMixtureJobRequest, context: Any
    ) -> AsyncIterator[mixture_job_service_pb2.WatchMixtureJobResponse]:
        """See the contract."""
        async for message in self._jobs.watch(request, mixture_job_service_pb2.WatchMixtureJobResponse):
            yield message

    async def TailMixtureJobLogs(
        self, request: mixture_job_service_pb2.TailMixtureJobLogsRequest, context: Any
    ) -> AsyncIterator[mixture_job_service_pb2.TailMixtureJobLogsResponse]:
        """See the contract."""
        async for message in self._jobs.tail(request, mixture_job_service_pb2.TailMixtureJobLogsResponse):
            yield message
