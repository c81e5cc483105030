"""serve_svc over gRPC: what an endpoint has deployed. It is asked as by any client, and eval_svc works without it."""

from __future__ import annotations

import grpc
from bessemer.api.serve.v1.deployment_pb2 import Deployment
from bessemer.api.serve.v1.deployment_service_pb2 import GetDeploymentRequest, GetEndpointRequest
from bessemer.api.serve.v1.deployment_service_pb2_grpc import DeploymentServiceStub
from bessemer.kernel.errors import FailedPrecondition
from bessemer.svckit.status import from_rpc_error

__all__ = ["GrpcServingCatalog"]


class GrpcServingCatalog:
    """See `ServingCatalog`; without a channel there is nothing to ask."""

    def __init__(self, channel: grpc.aio.Channel | None) -> None:
        self._deployments = None if channel is None else DeploymentServiceStub(channel)

    async def deployment(self, endpoint: str) -> Deployment:
        """See `ServingCatalog`."""
        if self._deployments is None:
            raise FailedPrecondition(
                "eval_svc knows no serve_svc; start it with BESSEMER_PEER_SERVE, or leave `endpoint` out",
                reason="FIELD_INVALID",
                resource=endpoint,
            )
        try:
            found = await self._deployments.GetEndpoint(GetEndpointRequest(name=endpoint))
            shares = [share for share in found.traffic if share.percent]
            if len(shares) != 1:
                raise FailedPrecondition(
                    f"{endpoint} has {len(shares)} deployments with traffic; an evaluation needs exactly one",
                    reason="FIELD_INVALID",
                    resource=endpoint,
                )
            return await self._deployments.GetDeployment(GetDeploymentRequest(name=shares[0].deployment))
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
