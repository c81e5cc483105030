"""The gRPC door: one class per service of the contract, one line per method."""
# ruff: noqa: ARG002, N802 - methods are named and shaped by the contract

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from bessemer.api.data.v1 import (
    artifact_service_pb2,
    artifact_service_pb2_grpc,
    dataset_job_pb2,
    dataset_job_service_pb2,
    dataset_job_service_pb2_grpc,
    dataset_pb2,
    dataset_service_pb2,
    dataset_service_pb2_grpc,
    feedback_service_pb2,
    feedback_service_pb2_grpc,
    lineage_service_pb2,
    lineage_service_pb2_grpc,
    mixture_pb2,
    mixture_service_pb2,
    mixture_service_pb2_grpc,
    project_service_pb2,
    project_service_pb2_grpc,
)
from bessemer.jobs.job_rpcs import JobRpcs

from data_svc.app.contents import Contents
from data_svc.app.curation import Curation
from data_svc.app.dataset_jobs import DatasetJobs
from data_svc.app.datasets import Datasets
from data_svc.app.deletion import Deletion
from data_svc.app.feedback import Feedback
from data_svc.app.lineage import Ancestry
from data_svc.app.mixtures import Mixtures
from data_svc.app.projects import Projects
from data_svc.app.uploads import Uploads

__all__ = [
    "ArtifactApi",
    "CurationApi",
    "DatasetApi",
    "DatasetJobApi",
    "FeedbackApi",
    "LineageApi",
    "MixtureApi",
    "ProjectApi",
]


class ProjectApi(project_service_pb2_grpc.ProjectServiceServicer):
    """Projects."""

    def __init__(self, projects: Projects) -> None:
        self._projects = projects

    async def CreateProject(
        self, request: project_service_pb2.CreateProjectRequest, context: Any
    ) -> project_service_pb2.Project:
        """See the contract."""
        return await self._projects.create(request)

    async def GetProject(
        self, request: project_service_pb2.GetProjectRequest, context: Any
    ) -> project_service_pb2.Project:
        """See the contract."""
        return await self._projects.get(request.name)

    async def ListProjects(
        self, request: project_service_pb2.ListProjectsRequest, context: Any
    ) -> project_service_pb2.ListProjectsResponse:
        """See the contract."""
        return await self._projects.list(request.page_size, request.page_token)


class ArtifactApi(artifact_service_pb2_grpc.ArtifactServiceServicer):
    """Uploads and downloads."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads

    async def CreateUpload(
        self, request: artifact_service_pb2.CreateUploadRequest, context: Any
    ) -> artifact_service_pb2.Upload:
        """See the contract."""
        return await self._uploads.create(request)

    async def CompleteUpload(
        self, request: artifact_service_pb2.CompleteUploadRequest, context: Any
    ) -> artifact_service_pb2.Upload:
        """See the contract."""
        return await self._uploads.complete(request.name)

    async def GetUpload(
        self, request: artifact_service_pb2.GetUploadRequest, context: Any
    ) -> artifact_service_pb2.Upload:
        """See the contract."""
        return await self._uploads.get(request.name)

    async def CreateDownload(
        self, request: artifact_service_pb2.CreateDownloadRequest, context: Any
    ) -> artifact_service_pb2.CreateDownloadResponse:
        """See the contract."""
        return await self._uploads.download(request)


class DatasetApi(dataset_service_pb2_grpc.DatasetServiceServicer):
    """Datasets and their versions."""

    def __init__(self, datasets: Datasets, contents: Contents, deletion: Deletion) -> None:
        self._datasets = datasets
        self._contents = contents
        self._deletion = deletion

    async def CreateDataset(
        self, request: dataset_service_pb2.CreateDatasetRequest, context: Any
    ) -> dataset_pb2.Dataset:
        """See the contract."""
        return await self._datasets.create(request)

    async def GetDataset(self, request: dataset_service_pb2.GetDatasetRequest, context: Any) -> dataset_pb2.Dataset:
        """See the contract."""
        return await self._datasets.get(request.name)

    async def ListDatasets(
        self, request: dataset_service_pb2.ListDatasetsRequest, context: Any
    ) -> dataset_service_pb2.ListDatasetsResponse:
        """See the contract."""
        return await self._datasets.list(request)

    async def GetDatasetVersion(
        self, request: dataset_service_pb2.GetDatasetVersionRequest, context: Any
    ) -> dataset_pb2.DatasetVersion:
        """See the contract."""
        return await self._datasets.get_version(request.name)

    async def ListDatasetVersions(
        self, request: dataset_service_pb2.ListDatasetVersionsRequest, context: Any
    ) -> dataset_service_pb2.ListDatasetVersionsResponse:
        """See the contract."""
        return await self._datasets.list_versions(request)

    async def SetDatasetVersionAlias(
        self, request: dataset_service_pb2.SetDatasetVersionAliasRequest, context: Any
    ) -> dataset_pb2.Dataset:
        """See the contract."""
        return await self._datasets.set_alias(request)

    async def DeleteDatasetVersion(
        self, request: dataset_service_pb2.DeleteDatasetVersionRequest, context: Any
    ) -> dataset_pb2.DatasetVersion:
        """See the contract."""
        return await self._deletion.delete(request)

    async def PreviewDatasetVersion(
        self, request: dataset_service_pb2.PreviewDatasetVersionRequest, context: Any
    ) -> dataset_service_pb2.PreviewDatasetVersionResponse:
        """See the contract."""
        return await self._contents.preview(request)

    async def ProfileDatasetVersion(
        self, request: dataset_service_pb2.ProfileDatasetVersionRequest, context: Any
    ) -> dataset_service_pb2.DatasetProfile:
        """See the contract."""
        return await self._contents.profile(request.name)


class CurationApi(dataset_service_pb2_grpc.CurationServiceServicer):
    """Jobs that make dataset versions."""

    def __init__(self, curation: Curation, jobs: JobRpcs[dataset_pb2.CurationJob]) -> None:
        self._curation = curation
        self._jobs = jobs

    async def CreateCurationJob(
        self, request: dataset_service_pb2.CreateCurationJobRequest, context: Any
    ) -> dataset_pb2.CurationJob:
        """See the contract."""
        return await self._curation.create(request)

    async def GetCurationJob(
        self, request: dataset_service_pb2.GetCurationJobRequest, context: Any
    ) -> dataset_pb2.CurationJob:
        """See the contract."""
        return await self._jobs.get(request)

    async def ListCurationJobs(
        self, request: dataset_service_pb2.ListCurationJobsRequest, context: Any
    ) -> dataset_service_pb2.ListCurationJobsResponse:
        """See the contract."""
        return await self._jobs.list(request, dataset_service_pb2.ListCurationJobsResponse)

    async def CancelCurationJob(
        self, request: dataset_service_pb2.CancelCurationJobRequest, context: Any
    ) -> dataset_pb2.CurationJob:
        """See the contract."""
        return await self._jobs.cancel(request)

    async def WatchCurationJob(
        self, request: dataset_service_pb2.WatchCurationJobRequest, context: Any
    ) -> AsyncIterator[dataset_service_pb2.WatchCurationJobResponse]:
        """See the contract."""
        async for message in self._jobs.watch(request, dataset_service_pb2.WatchCurationJobResponse):
            yield message

    async def TailCurationJobLogs(
        self, request: dataset_service_pb2.TailCurationJobLogsRequest, context: Any
    ) -> AsyncIterator[dataset_service_pb2.TailCurationJobLogsResponse]:
        """See the contract."""
        async for message in self._jobs.tail(request, dataset_service_pb2.TailCurationJobLogsResponse):
            yield message


class DatasetJobApi(dataset_job_service_pb2_grpc.DatasetJobServiceServicer):
    """Jobs on data that are not curation."""

    def __init__(self, dataset_jobs: DatasetJobs, jobs: JobRpcs[dataset_job_pb2.DatasetJob]) -> None:
        self._dataset_jobs = dataset_jobs
        self._jobs = jobs

    async def CreateDatasetJob(
        self, request: dataset_job_service_pb2.CreateDatasetJobRequest, context: Any
    ) -> dataset_job_pb2.DatasetJob:
        """See the contract."""
        return await self._dataset_jobs.create(request)

    async def GetDatasetJob(
        self, request: dataset_job_service_pb2.GetDatasetJobRequest, context: Any
    ) -> dataset_job_pb2.DatasetJob:
        """See the contract."""
        return await self._jobs.get(request)

    async def ListDatasetJobs(
        self, request: dataset_job_service_pb2.ListDatasetJobsRequest, context: Any
    ) -> dataset_job_service_pb2.ListDatasetJobsResponse:
        """See the contract."""
        return await self._jobs.list(request, dataset_job_service_pb2.ListDatasetJobsResponse)

    async def CancelDatasetJob(
        self, request: dataset_job_service_pb2.CancelDatasetJobRequest, context: Any
    ) -> dataset_job_pb2.DatasetJob:
        """See the contract."""
        return await self._jobs.cancel(request)

    async def WatchDatasetJob(
        self, request: dataset_job_service_pb2.WatchDatasetJobRequest, context: Any
    ) -> AsyncIterator[dataset_job_service_pb2.WatchDatasetJobResponse]:
        """See the contract."""
        async for message in self._jobs.watch(request, dataset_job_service_pb2.WatchDatasetJobResponse):
            yield message

    async def TailDatasetJobLogs(
        self, request: dataset_job_service_pb2.TailDatasetJobLogsRequest, context: Any
    ) -> AsyncIterator[dataset_job_service_pb2.TailDatasetJobLogsResponse]:
        """See the contract."""
        async for message in self._jobs.tail(request, dataset_job_service_pb2.TailDatasetJobLogsResponse):
            yield message


class FeedbackApi(feedback_service_pb2_grpc.FeedbackServiceServicer):
    """What users say."""

    def __init__(self, feedback: Feedback) -> None:
        self._feedback = feedback

    async def SubmitFeedback(
        self, request: feedback_service_pb2.SubmitFeedbackRequest, context: Any
    ) -> feedback_service_pb2.FeedbackRecord:
        """See the contract."""
        return await self._feedback.submit(request)

    async def CountFeedback(
        self, request: feedback_service_pb2.CountFeedbackRequest, context: Any
    ) -> feedback_service_pb2.FeedbackCounts:
        """See the contract."""
        return await self._feedback.count(request)

    async def EraseFeedback(
        self, request: feedback_service_pb2.EraseFeedbackRequest, context: Any
    ) -> feedback_service_pb2.FeedbackRecord:
        """See the contract."""
        return await self._feedback.erase(request.name)

    async def ListFeedback(
        self, request: feedback_service_pb2.ListFeedbackRequest, context: Any
    ) -> feedback_service_pb2.ListFeedbackResponse:
        """See the contract."""
        return await self._feedback.list(request)


class LineageApi(lineage_service_pb2_grpc.LineageServiceServicer):
    """Where everything came from."""

    def __init__(self, ancestry: Ancestry) -> None:
        self._ancestry = ancestry

    async def GetLineage(
        self, request: lineage_service_pb2.GetLineageRequest, context: Any
    ) -> lineage_service_pb2.Lineage:
        """See the contract."""
        return await self._ancestry.get(request)


class MixtureApi(mixture_service_pb2_grpc.MixtureServiceServicer):
    """Mixtures of dataset versions."""

    def __init__(self, mixtures: Mixtures) -> None:
        self._mixtures = mixtures

    async def CreateMixture(
        self, request: mixture_service_pb2.CreateMixtureRequest, context: Any
    ) -> mixture_pb2.Mixture:
        """See the contract."""
        return await self._mixtures.create(request)

    async def GetMixture(self, request: mixture_service_pb2.GetMixtureRequest, context: Any) -> mixture_pb2.Mixture:
        """See the contract."""
        return await self._mixtures.get(request.name)

    async def ListMixtures(
        self, request: mixture_service_pb2.ListMixturesRequest, context: Any
    ) -> mixture_service_pb2.ListMixturesResponse:
        """See the contract."""
        return await self._mixtures.list(request)

    async def PreviewMixture(
        self, request: mixture_service_pb2.PreviewMixtureRequest, context: Any
    ) -> mixture_service_pb2.PreviewMixtureResponse:
        """See the contract."""
        return await self._mixtures.preview(request)
