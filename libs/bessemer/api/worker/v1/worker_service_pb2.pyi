from bessemer.api.common.v1 import artifact_pb2 as _artifact_pb2
from bessemer.api.common.v1 import job_pb2 as _job_pb2
from bessemer.api.common.v1 import metric_pb2 as _metric_pb2
from bessemer.api.common.v1 import options_pb2 as _options_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AcquireTaskRequest(_message.Message):
    __slots__ = ("worker", "task")
    WORKER_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    worker: str
    task: str
    def __init__(self, worker: _Optional[str] = ..., task: _Optional[str] = ...) -> None: ...

class AcquireTaskResponse(_message.Message):
    __slots__ = ("task",)
    TASK_FIELD_NUMBER: _ClassVar[int]
    task: Task
    def __init__(self, task: _Optional[_Union[Task, _Mapping]] = ...) -> None: ...

class Task(_message.Message):
    __slots__ = ("name", "kind", "epoch", "job", "lease_seconds", "saved_state")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    LEASE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SAVED_STATE_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: str
    epoch: int
    job: bytes
    lease_seconds: float
    saved_state: bytes
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[str] = ..., epoch: _Optional[int] = ..., job: _Optional[bytes] = ..., lease_seconds: _Optional[float] = ..., saved_state: _Optional[bytes] = ...) -> None: ...

class HeartbeatRequest(_message.Message):
    __slots__ = ("name", "epoch", "stage", "progress", "remaining_seconds", "cpu_seconds", "metrics", "saved_state")
    NAME_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    REMAINING_SECONDS_FIELD_NUMBER: _ClassVar[int]
    CPU_SECONDS_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    SAVED_STATE_FIELD_NUMBER: _ClassVar[int]
    name: str
    epoch: int
    stage: str
    progress: float
    remaining_seconds: float
    cpu_seconds: float
    metrics: _containers.RepeatedCompositeFieldContainer[_metric_pb2.MetricPoint]
    saved_state: bytes
    def __init__(self, name: _Optional[str] = ..., epoch: _Optional[int] = ..., stage: _Optional[str] = ..., progress: _Optional[float] = ..., remaining_seconds: _Optional[float] = ..., cpu_seconds: _Optional[float] = ..., metrics: _Optional[_Iterable[_Union[_metric_pb2.MetricPoint, _Mapping]]] = ..., saved_state: _Optional[bytes] = ...) -> None: ...

class HeartbeatResponse(_message.Message):
    __slots__ = ("cancel", "pause")
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    PAUSE_FIELD_NUMBER: _ClassVar[int]
    cancel: bool
    pause: bool
    def __init__(self, cancel: _Optional[bool] = ..., pause: _Optional[bool] = ...) -> None: ...

class ReportAttemptRequest(_message.Message):
    __slots__ = ("name", "epoch", "result", "failure", "paused_state", "cancelled", "artifacts", "cpu_seconds", "metrics")
    NAME_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    PAUSED_STATE_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_FIELD_NUMBER: _ClassVar[int]
    ARTIFACTS_FIELD_NUMBER: _ClassVar[int]
    CPU_SECONDS_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    name: str
    epoch: int
    result: bytes
    failure: AttemptFailure
    paused_state: bytes
    cancelled: bool
    artifacts: _containers.RepeatedCompositeFieldContainer[_artifact_pb2.ArtifactRef]
    cpu_seconds: float
    metrics: _containers.RepeatedCompositeFieldContainer[_metric_pb2.MetricPoint]
    def __init__(self, name: _Optional[str] = ..., epoch: _Optional[int] = ..., result: _Optional[bytes] = ..., failure: _Optional[_Union[AttemptFailure, _Mapping]] = ..., paused_state: _Optional[bytes] = ..., cancelled: _Optional[bool] = ..., artifacts: _Optional[_Iterable[_Union[_artifact_pb2.ArtifactRef, _Mapping]]] = ..., cpu_seconds: _Optional[float] = ..., metrics: _Optional[_Iterable[_Union[_metric_pb2.MetricPoint, _Mapping]]] = ...) -> None: ...

class AttemptFailure(_message.Message):
    __slots__ = ("error", "kind")
    ERROR_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    error: _status_pb2.Status
    kind: _job_pb2.FailureKind
    def __init__(self, error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., kind: _Optional[_Union[_job_pb2.FailureKind, str]] = ...) -> None: ...

class ReportAttemptResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
