"""data_svc over gRPC."""

from __future__ import annotations

import grpc
from bessemer.api.data.v1.artifact_service_pb2 import GetUploadRequest, Upload
from bessemer.api.data.v1.artifact_service_pb2_grpc import ArtifactServiceStub
from bessemer.api.data.v1.dataset_pb2 import DatasetVersion
from bessemer.api.data.v1.dataset_service_pb2 import GetDatasetVersionRequest
from bessemer.api.data.v1.dataset_service_pb2_grpc import DatasetServiceStub
from bessemer.kernel.errors import NotFound
from bessemer.svckit.status import from_rpc_error

__all__ = ["GrpcDataCatalog"]


class GrpcDataCatalog:
    """See `DataCatalog`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._datasets = DatasetServiceStub(channel)
        self._artifacts = ArtifactServiceStub(channel)

    async def version(self, name: str) -> DatasetVersion:
        """See `DataCatalog`."""
        try:
            found = await self._datasets.GetDatasetVersion(GetDatasetVersionRequest(name=name))
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        if found.HasField("delete_time"):
            raise NotFound(f"{found.name} was deleted; only its name and digest are kept", resource=found.name)
        return found

    async def upload(self, name: str) -> Upload:
        """See `DataCatalog`."""
        try:
            return await self._artifacts.GetUpload(GetUploadRequest(name=name))
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
