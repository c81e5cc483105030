"""train_svc over gRPC."""

from __future__ import annotations

import grpc
from bessemer.api.train.v1.model_pb2 import ModelVersion
from bessemer.api.train.v1.model_service_pb2 import GetModelVersionRequest
from bessemer.api.train.v1.model_service_pb2_grpc import ModelServiceStub
from bessemer.svckit.status import from_rpc_error

__all__ = ["GrpcModelCatalog"]


class GrpcModelCatalog:
    """See `ModelCatalog`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._models = ModelServiceStub(channel)

    async def version(self, name: str) -> ModelVersion:
        """See `ModelCatalog`."""
        try:
            return await self._models.GetModelVersion(GetModelVersionRequest(name=name))
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
