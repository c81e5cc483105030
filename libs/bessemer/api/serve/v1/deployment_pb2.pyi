import datetime

from bessemer.api.common.v1 import artifact_pb2 as _artifact_pb2
from bessemer.api.common.v1 import options_pb2 as _options_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DeploymentState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEPLOYMENT_STATE_UNSPECIFIED: _ClassVar[DeploymentState]
    DEPLOYMENT_STATE_LOADING: _ClassVar[DeploymentState]
    DEPLOYMENT_STATE_READY: _ClassVar[DeploymentState]
    DEPLOYMENT_STATE_FAILED: _ClassVar[DeploymentState]
    DEPLOYMENT_STATE_STOPPED: _ClassVar[DeploymentState]

class Precision(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRECISION_UNSPECIFIED: _ClassVar[Precision]
    PRECISION_FP32: _ClassVar[Precision]
    PRECISION_BF16: _ClassVar[Precision]
    PRECISION_INT8: _ClassVar[Precision]
DEPLOYMENT_STATE_UNSPECIFIED: DeploymentState
DEPLOYMENT_STATE_LOADING: DeploymentState
DEPLOYMENT_STATE_READY: DeploymentState
DEPLOYMENT_STATE_FAILED: DeploymentState
DEPLOYMENT_STATE_STOPPED: DeploymentState
PRECISION_UNSPECIFIED: Precision
PRECISION_FP32: Precision
PRECISION_BF16: Precision
PRECISION_INT8: Precision

class Endpoint(_message.Message):
    __slots__ = ("name", "uid", "etag", "revision", "create_time", "update_time", "creator", "display_name", "deployment", "traffic", "shadow", "previous_traffic", "previous_until", "rollout", "keep_warm_s")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    CREATOR_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    TRAFFIC_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_TRAFFIC_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_UNTIL_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    KEEP_WARM_S_FIELD_NUMBER: _ClassVar[int]
    name: str
    uid: str
    etag: str
    revision: int
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    creator: str
    display_name: str
    deployment: str
    traffic: _containers.RepeatedCompositeFieldContainer[TrafficShare]
    shadow: ShadowTraffic
    previous_traffic: _containers.RepeatedCompositeFieldContainer[TrafficShare]
    previous_until: _timestamp_pb2.Timestamp
    rollout: str
    keep_warm_s: int
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[str] = ..., etag: _Optional[str] = ..., revision: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., creator: _Optional[str] = ..., display_name: _Optional[str] = ..., deployment: _Optional[str] = ..., traffic: _Optional[_Iterable[_Union[TrafficShare, _Mapping]]] = ..., shadow: _Optional[_Union[ShadowTraffic, _Mapping]] = ..., previous_traffic: _Optional[_Iterable[_Union[TrafficShare, _Mapping]]] = ..., previous_until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., rollout: _Optional[str] = ..., keep_warm_s: _Optional[int] = ...) -> None: ...

class TrafficShare(_message.Message):
    __slots__ = ("deployment", "percent")
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    deployment: str
    percent: float
    def __init__(self, deployment: _Optional[str] = ..., percent: _Optional[float] = ...) -> None: ...

class ShadowTraffic(_message.Message):
    __slots__ = ("deployment", "percent")
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    deployment: str
    percent: float
    def __init__(self, deployment: _Optional[str] = ..., percent: _Optional[float] = ...) -> None: ...

class Deployment(_message.Message):
    __slots__ = ("name", "uid", "etag", "revision", "create_time", "update_time", "creator", "model_version", "gate_decision", "waiver", "state", "error", "model_manifest", "context_length", "engine", "precision", "standby", "retire_time", "adapters", "server", "served_model", "export_job", "export_archive")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    CREATOR_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    GATE_DECISION_FIELD_NUMBER: _ClassVar[int]
    WAIVER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    MODEL_MANIFEST_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_LENGTH_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    STANDBY_FIELD_NUMBER: _ClassVar[int]
    RETIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    ADAPTERS_FIELD_NUMBER: _ClassVar[int]
    SERVER_FIELD_NUMBER: _ClassVar[int]
    SERVED_MODEL_FIELD_NUMBER: _ClassVar[int]
    EXPORT_JOB_FIELD_NUMBER: _ClassVar[int]
    EXPORT_ARCHIVE_FIELD_NUMBER: _ClassVar[int]
    name: str
    uid: str
    etag: str
    revision: int
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    creator: str
    model_version: str
    gate_decision: str
    waiver: Waiver
    state: DeploymentState
    error: _status_pb2.Status
    model_manifest: _artifact_pb2.ArtifactRef
    context_length: int
    engine: str
    precision: Precision
    standby: bool
    retire_time: _timestamp_pb2.Timestamp
    adapters: _containers.RepeatedCompositeFieldContainer[Adapter]
    server: str
    served_model: str
    export_job: str
    export_archive: _artifact_pb2.ArtifactRef
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[str] = ..., etag: _Optional[str] = ..., revision: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., creator: _Optional[str] = ..., model_version: _Optional[str] = ..., gate_decision: _Optional[str] = ..., waiver: _Optional[_Union[Waiver, _Mapping]] = ..., state: _Optional[_Union[DeploymentState, str]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., model_manifest: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., context_length: _Optional[int] = ..., engine: _Optional[str] = ..., precision: _Optional[_Union[Precision, str]] = ..., standby: _Optional[bool] = ..., retire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., adapters: _Optional[_Iterable[_Union[Adapter, _Mapping]]] = ..., server: _Optional[str] = ..., served_model: _Optional[str] = ..., export_job: _Optional[str] = ..., export_archive: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ...) -> None: ...

class Adapter(_message.Message):
    __slots__ = ("id", "model_version", "gate_decision", "waiver", "manifest", "rank", "load_time")
    ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    GATE_DECISION_FIELD_NUMBER: _ClassVar[int]
    WAIVER_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    LOAD_TIME_FIELD_NUMBER: _ClassVar[int]
    id: str
    model_version: str
    gate_decision: str
    waiver: Waiver
    manifest: _artifact_pb2.ArtifactRef
    rank: int
    load_time: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., model_version: _Optional[str] = ..., gate_decision: _Optional[str] = ..., waiver: _Optional[_Union[Waiver, _Mapping]] = ..., manifest: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., rank: _Optional[int] = ..., load_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Waiver(_message.Message):
    __slots__ = ("reason", "approver", "time", "name", "expire_time")
    REASON_FIELD_NUMBER: _ClassVar[int]
    APPROVER_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    reason: str
    approver: str
    time: _timestamp_pb2.Timestamp
    name: str
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, reason: _Optional[str] = ..., approver: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., name: _Optional[str] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
