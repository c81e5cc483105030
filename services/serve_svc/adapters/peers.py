"""Other services, asked with the identity of this one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import grpc
import grpc.aio
from bessemer.api.data.v1.artifact_service_pb2 import GetUploadRequest, Upload
from bessemer.api.data.v1.artifact_service_pb2_grpc import ArtifactServiceStub
from bessemer.api.data.v1.feedback_service_pb2 import FeedbackRecord, SubmitFeedbackRequest
from bessemer.api.data.v1.feedback_service_pb2_grpc import FeedbackServiceStub
from bessemer.api.eval.v1.drift_pb2 import DriftRow
from bessemer.api.eval.v1.drift_service_pb2 import ListDriftMonitorsRequest, ObserveRequestsRequest
from bessemer.api.eval.v1.drift_service_pb2_grpc import DriftServiceStub
from bessemer.api.eval.v1.evaluation_pb2 import GateDecision
from bessemer.api.eval.v1.evaluation_service_pb2 import GetGateDecisionRequest
from bessemer.api.eval.v1.evaluation_service_pb2_grpc import EvaluationServiceStub
from bessemer.api.eval.v1.gate_policy_pb2 import GateWaiver, GetGateWaiverRequest
from bessemer.api.eval.v1.gate_policy_pb2_grpc import GatePolicyServiceStub
from bessemer.api.train.v1.model_pb2 import ModelJob, ModelVersion
from bessemer.api.train.v1.model_service_pb2 import GetModelJobRequest, GetModelVersionRequest
from bessemer.api.train.v1.model_service_pb2_grpc import ModelServiceStub
from bessemer.kernel.errors import Unavailable
from bessemer.kernel.ids import new_uid
from bessemer.svckit.client import peer_channel
from bessemer.svckit.config import ServiceConfig
from bessemer.svckit.status import from_rpc_error

__all__ = ["GrpcCatalog", "GrpcDriftSink", "GrpcFeedbackSink", "GrpcUploads", "Peers"]


class Peers:
    """Channels to other services, opened when first needed."""

    def __init__(self, config: ServiceConfig) -> None:
        self._config = config
        self._channels: dict[str, grpc.aio.Channel] = {}

    def channel(self, service: str) -> grpc.aio.Channel:
        """Return the channel to a service.

        Raises: Unavailable if nobody has said where it is.
        """
        if service not in self._config.peers:
            raise Unavailable(f"{service}_svc has no address here; set BESSEMER_PEER_{service.upper()}")
        if service not in self._channels:
            self._channels[service] = peer_channel(self._config, service)
        return self._channels[service]

    async def close(self) -> None:
        """Close all channels."""
        for channel in self._channels.values():
            await channel.close()


class GrpcCatalog:
    """Model versions of train_svc and gate decisions of eval_svc."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def get_model_version(self, name: str) -> ModelVersion:
        """Ask train_svc."""
        stub = ModelServiceStub(self._peers.channel("train"))
        try:
            return await stub.GetModelVersion(GetModelVersionRequest(name=name))
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None

    async def get_model_job(self, name: str) -> ModelJob:
        """Ask train_svc."""
        stub = ModelServiceStub(self._peers.channel("train"))
        try:
            return await stub.GetModelJob(GetModelJobRequest(name=name))
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None

    async def get_gate_decision(self, name: str) -> GateDecision:
        """Ask eval_svc."""
        stub = EvaluationServiceStub(self._peers.channel("eval"))
        try:
            return await stub.GetGateDecision(GetGateDecisionRequest(name=name))
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None

    async def get_gate_waiver(self, name: str) -> GateWaiver:
        """Ask eval_svc."""
        stub = GatePolicyServiceStub(self._peers.channel("eval"))
        try:
            return await stub.GetGateWaiver(GetGateWaiverRequest(name=name))
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None


class GrpcUploads:
    """ArtifactService of data_svc."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def get(self, name: str) -> Upload:
        """Ask for an upload."""
        stub = ArtifactServiceStub(self._peers.channel("data"))
        try:
            return await stub.GetUpload(GetUploadRequest(name=name))
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None


class GrpcFeedbackSink:
    """FeedbackService of data_svc."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def submit(self, project: str, record: FeedbackRecord) -> FeedbackRecord:
        """Hand a record to data_svc."""
        stub = FeedbackServiceStub(self._peers.channel("data"))
        request = SubmitFeedbackRequest(parent=f"projects/{project}", feedback=record, request_id=new_uid())
        try:
            return await stub.SubmitFeedback(request)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None


class GrpcDriftSink:
    """DriftService of eval_svc."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def monitors(self, project: str) -> Mapping[str, Sequence[str]]:
        """Ask for all monitors of a project."""
        stub, token = DriftServiceStub(self._peers.channel("eval")), ""
        found = defaultdict[str, list[str]](list)
        while True:
            request = ListDriftMonitorsRequest(parent=f"projects/{project}", page_size=1000, page_token=token)
            try:
                page = await stub.ListDriftMonitors(request)
            except grpc.RpcError as error:
                raise from_rpc_error(error) from None
            for monitor in page.drift_monitors:
                if monitor.endpoint:
                    found[monitor.endpoint].append(monitor.name)
            token = page.next_page_token
            if not token:
                return found

    async def observe(self, monitor: str, rows: Sequence[DriftRow]) -> None:
        """Hand rows on."""
        stub = DriftServiceStub(self._peers.channel("eval"))
        try:
            await stub.ObserveRequests(ObserveRequestsRequest(name=monitor, rows=rows, request_id=new_uid()))
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
