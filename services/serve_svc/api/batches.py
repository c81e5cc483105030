"""BatchInferenceService."""
# ruff: noqa: ARG002, N802 - methods are named and shaped by the contract

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from bessemer.api.serve.v1 import batch_inference_service_pb2 as api
from bessemer.api.serve.v1.batch_inference_pb2 import BatchInferenceJob
from bessemer.api.serve.v1.batch_inference_service_pb2_grpc import BatchInferenceServiceServicer
from bessemer.svckit.store import Store
from bessemer.svckit.watch import watch

from serve_svc.app.batches import Batches, is_over

__all__ = ["BatchInferenceApi"]


class BatchInferenceApi(BatchInferenceServiceServicer):
    """Batch inference jobs over gRPC."""

    def __init__(self, store: Store, batches: Batches) -> None:
        self._store = store
        self._batches = batches

    async def CreateBatchInferenceJob(
        self, request: api.CreateBatchInferenceJobRequest, context: Any
    ) -> BatchInferenceJob:
        """Queue a job."""
        return await self._batches.create(request)

    async def GetBatchInferenceJob(self, request: api.GetBatchInferenceJobRequest, context: Any) -> BatchInferenceJob:
        """Get a job."""
        return await self._store.read(lambda tx: tx.get(request.name, BatchInferenceJob))

    async def ListBatchInferenceJobs(
        self, request: api.ListBatchInferenceJobsRequest, context: Any
    ) -> api.ListBatchInferenceJobsResponse:
        """List the jobs of a project."""
        found, token = await self._store.read(
            lambda tx: tx.list(
                BatchInferenceJob, request.parent, page_size=request.page_size, page_token=request.page_token
            )
        )
        return api.ListBatchInferenceJobsResponse(batch_inference_jobs=found, next_page_token=token)

    async def CancelBatchInferenceJob(
        self, request: api.CancelBatchInferenceJobRequest, context: Any
    ) -> BatchInferenceJob:
        """End a job."""
        return await self._batches.cancel(request.name)

    async def WatchBatchInferenceJob(
        self, request: api.WatchBatchInferenceJobRequest, context: Any
    ) -> AsyncIterator[api.WatchBatchInferenceJobResponse]:
        """Follow a job to its end."""
        steps = watch(self._store, request.name, BatchInferenceJob, request.resume_token, terminal=is_over)
        async for event, job, token in steps:
            yield api.WatchBatchInferenceJobResponse(event=event, batch_inference_job=job, resume_token=token)
