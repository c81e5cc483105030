"""DeploymentService."""
# ruff: noqa: ARG002, N802 - methods are named and shaped by the contract

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from bessemer.api.serve.v1 import deployment_service_pb2 as api
from bessemer.api.serve.v1.deployment_pb2 import DEPLOYMENT_STATE_READY, Deployment, Endpoint
from bessemer.api.serve.v1.deployment_service_pb2_grpc import DeploymentServiceServicer
from bessemer.svckit.store import Store
from bessemer.svckit.watch import watch

from serve_svc.app.adapters import Adapters
from serve_svc.app.deployments import Deployments, is_terminal, placed
from serve_svc.app.measures import WINDOW_S, Measures
from serve_svc.app.rollouts import rollback
from serve_svc.app.traffic import set_traffic

__all__ = ["DeploymentApi"]


class DeploymentApi(DeploymentServiceServicer):
    """Endpoints and deployments over gRPC."""

    def __init__(self, store: Store, deployments: Deployments, adapters: Adapters, measures: Measures) -> None:
        self._store = store
        self._deployments = deployments
        self._adapters = adapters
        self._measures = measures

    async def CreateEndpoint(self, request: api.CreateEndpointRequest, context: Any) -> Endpoint:
        """Create an endpoint."""
        return await self._deployments.create_endpoint(request)

    async def GetEndpoint(self, request: api.GetEndpointRequest, context: Any) -> Endpoint:
        """Get an endpoint."""
        return await self._store.read(lambda tx: tx.get(request.name, Endpoint))

    async def ListEndpoints(self, request: api.ListEndpointsRequest, context: Any) -> api.ListEndpointsResponse:
        """List the endpoints of a project."""
        found, token = await self._store.read(
            lambda tx: tx.list(Endpoint, request.parent, page_size=request.page_size, page_token=request.page_token)
        )
        return api.ListEndpointsResponse(endpoints=found, next_page_token=token)

    async def DeployModelVersion(self, request: api.DeployModelVersionRequest, context: Any) -> Deployment:
        """Load a version and, when it is ready, give it the endpoint's traffic."""
        return await self._deployments.deploy(request)

    async def UndeployModelVersion(self, request: api.UndeployModelVersionRequest, context: Any) -> Deployment:
        """Take a deployment down."""
        return await self._deployments.undeploy(request.name)

    async def LoadAdapter(self, request: api.LoadAdapterRequest, context: Any) -> Deployment:
        """Let requests name adapters."""
        return await self._adapters.load(request)

    async def UnloadAdapter(self, request: api.UnloadAdapterRequest, context: Any) -> Deployment:
        """Take adapters away."""
        return await self._adapters.unload(request)

    async def SetTraffic(self, request: api.SetTrafficRequest, context: Any) -> Endpoint:
        """Set who answers which share."""
        return await self._store.write(lambda tx: set_traffic(tx, request))

    async def RollbackEndpoint(self, request: api.RollbackEndpointRequest, context: Any) -> Endpoint:
        """Give the traffic back to who had it before."""
        return await self._store.write(lambda tx: rollback(tx, request.name, request.reason))

    async def GetEndpointStats(self, request: api.GetEndpointStatsRequest, context: Any) -> api.EndpointStats:
        """Tell how each deployment does."""
        endpoint, deployments = await self._store.read(lambda tx: placed(tx, request.name))
        percents = {share.deployment: share.percent for share in endpoint.traffic}
        stats = api.EndpointStats(window_s=WINDOW_S)
        for deployment in deployments:
            one = stats.deployments.add()
            one.CopyFrom(self._measures.stats(deployment))
            one.percent = percents.get(deployment.name, 0.0)
            one.shadow = endpoint.shadow.deployment == deployment.name
        return stats

    async def GetDeployment(self, request: api.GetDeploymentRequest, context: Any) -> Deployment:
        """Get a deployment."""
        return await self._store.read(lambda tx: tx.get(request.name, Deployment))

    async def ListDeployments(self, request: api.ListDeploymentsRequest, context: Any) -> api.ListDeploymentsResponse:
        """List the deployments of an endpoint."""
        found, token = await self._store.read(
            lambda tx: tx.list(Deployment, request.parent, page_size=request.page_size, page_token=request.page_token)
        )
        return api.ListDeploymentsResponse(deployments=found, next_page_token=token)

    async def WatchDeployment(
        self, request: api.WatchDeploymentRequest, context: Any
    ) -> AsyncIterator[api.WatchDeploymentResponse]:
        """Follow a deployment until it is ready, failed or stopped."""

        def settled(deployment: Deployment) -> bool:
            return deployment.state == DEPLOYMENT_STATE_READY or is_terminal(deployment)

        steps = watch(self._store, request.name, Deployment, request.resume_token, terminal=settled)
        async for event, deployment, token in steps:
            yield api.WatchDeploymentResponse(event=event, deployment=deployment, resume_token=token)
