"""The worker protocol on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bessemer.api.worker.v1 import worker_service_pb2 as pb
from bessemer.api.worker.v1 import worker_service_pb2_grpc
from bessemer.kernel.errors import InvalidRequest

if TYPE_CHECKING:
    from bessemer.jobs.runtime import JobRuntime

__all__ = ["WorkerServicer"]


class WorkerServicer(worker_service_pb2_grpc.WorkerServiceServicer):
    """Leases tasks to workers; every write carries the fencing token."""

    def __init__(self, runtime: JobRuntime) -> None:
        self._runtime = runtime

    async def AcquireTask(self, request: pb.AcquireTaskRequest, _: Any) -> pb.AcquireTaskResponse:  # noqa: N802
        """Claim a task."""
        return await self._runtime.claim(request)

    async def Heartbeat(self, request: pb.HeartbeatRequest, _: Any) -> pb.HeartbeatResponse:  # noqa: N802
        """Renew the lease, hand progress in and intents out."""
        return await self._runtime.beat(request)

    async def ReportAttempt(self, request: pb.ReportAttemptRequest, _: Any) -> pb.ReportAttemptResponse:  # noqa: N802
        """End an attempt."""
        if request.WhichOneof("outcome") is None:
            raise InvalidRequest("outcome must be set", field="outcome")
        await self._runtime.report(request)
        return pb.ReportAttemptResponse()
