import datetime

from bessemer.api.common.v1 import options_pb2 as _options_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RolloutState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLLOUT_STATE_UNSPECIFIED: _ClassVar[RolloutState]
    ROLLOUT_STATE_PENDING: _ClassVar[RolloutState]
    ROLLOUT_STATE_RUNNING: _ClassVar[RolloutState]
    ROLLOUT_STATE_PROMOTED: _ClassVar[RolloutState]
    ROLLOUT_STATE_ROLLED_BACK: _ClassVar[RolloutState]
    ROLLOUT_STATE_ABORTED: _ClassVar[RolloutState]

class RolloutSignal(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLLOUT_SIGNAL_UNSPECIFIED: _ClassVar[RolloutSignal]
    ROLLOUT_SIGNAL_FEEDBACK: _ClassVar[RolloutSignal]
    ROLLOUT_SIGNAL_SUCCESS: _ClassVar[RolloutSignal]
    ROLLOUT_SIGNAL_TTFT: _ClassVar[RolloutSignal]
    ROLLOUT_SIGNAL_TPOT: _ClassVar[RolloutSignal]
    ROLLOUT_SIGNAL_VERDICT: _ClassVar[RolloutSignal]
ROLLOUT_STATE_UNSPECIFIED: RolloutState
ROLLOUT_STATE_PENDING: RolloutState
ROLLOUT_STATE_RUNNING: RolloutState
ROLLOUT_STATE_PROMOTED: RolloutState
ROLLOUT_STATE_ROLLED_BACK: RolloutState
ROLLOUT_STATE_ABORTED: RolloutState
ROLLOUT_SIGNAL_UNSPECIFIED: RolloutSignal
ROLLOUT_SIGNAL_FEEDBACK: RolloutSignal
ROLLOUT_SIGNAL_SUCCESS: RolloutSignal
ROLLOUT_SIGNAL_TTFT: RolloutSignal
ROLLOUT_SIGNAL_TPOT: RolloutSignal
ROLLOUT_SIGNAL_VERDICT: RolloutSignal

class RolloutMetric(_message.Message):
    __slots__ = ("id", "signal", "margin", "budget_s", "guard_only")
    ID_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    BUDGET_S_FIELD_NUMBER: _ClassVar[int]
    GUARD_ONLY_FIELD_NUMBER: _ClassVar[int]
    id: str
    signal: RolloutSignal
    margin: float
    budget_s: float
    guard_only: bool
    def __init__(self, id: _Optional[str] = ..., signal: _Optional[_Union[RolloutSignal, str]] = ..., margin: _Optional[float] = ..., budget_s: _Optional[float] = ..., guard_only: _Optional[bool] = ...) -> None: ...

class RolloutStage(_message.Message):
    __slots__ = ("shadow", "percent", "harm", "min_s")
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    HARM_FIELD_NUMBER: _ClassVar[int]
    MIN_S_FIELD_NUMBER: _ClassVar[int]
    shadow: bool
    percent: float
    harm: float
    min_s: float
    def __init__(self, shadow: _Optional[bool] = ..., percent: _Optional[float] = ..., harm: _Optional[float] = ..., min_s: _Optional[float] = ...) -> None: ...

class RolloutPlan(_message.Message):
    __slots__ = ("stages", "metrics", "alpha", "count_repeats")
    STAGES_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    COUNT_REPEATS_FIELD_NUMBER: _ClassVar[int]
    stages: _containers.RepeatedCompositeFieldContainer[RolloutStage]
    metrics: _containers.RepeatedCompositeFieldContainer[RolloutMetric]
    alpha: float
    count_repeats: bool
    def __init__(self, stages: _Optional[_Iterable[_Union[RolloutStage, _Mapping]]] = ..., metrics: _Optional[_Iterable[_Union[RolloutMetric, _Mapping]]] = ..., alpha: _Optional[float] = ..., count_repeats: _Optional[bool] = ...) -> None: ...

class ArmCounts(_message.Message):
    __slots__ = ("total", "good")
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    GOOD_FIELD_NUMBER: _ClassVar[int]
    total: int
    good: int
    def __init__(self, total: _Optional[int] = ..., good: _Optional[int] = ...) -> None: ...

class MetricEvidence(_message.Message):
    __slots__ = ("metric", "baseline", "candidate", "pairs", "difference", "worse", "worse_threshold", "safe", "safe_threshold", "harm", "pairs_left")
    METRIC_FIELD_NUMBER: _ClassVar[int]
    BASELINE_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_FIELD_NUMBER: _ClassVar[int]
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    WORSE_FIELD_NUMBER: _ClassVar[int]
    WORSE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    SAFE_FIELD_NUMBER: _ClassVar[int]
    SAFE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    HARM_FIELD_NUMBER: _ClassVar[int]
    PAIRS_LEFT_FIELD_NUMBER: _ClassVar[int]
    metric: str
    baseline: ArmCounts
    candidate: ArmCounts
    pairs: int
    difference: float
    worse: float
    worse_threshold: float
    safe: float
    safe_threshold: float
    harm: float
    pairs_left: int
    def __init__(self, metric: _Optional[str] = ..., baseline: _Optional[_Union[ArmCounts, _Mapping]] = ..., candidate: _Optional[_Union[ArmCounts, _Mapping]] = ..., pairs: _Optional[int] = ..., difference: _Optional[float] = ..., worse: _Optional[float] = ..., worse_threshold: _Optional[float] = ..., safe: _Optional[float] = ..., safe_threshold: _Optional[float] = ..., harm: _Optional[float] = ..., pairs_left: _Optional[int] = ...) -> None: ...

class RolloutStep(_message.Message):
    __slots__ = ("time", "stage", "state", "reason", "evidence")
    TIME_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    stage: int
    state: RolloutState
    reason: str
    evidence: _containers.RepeatedCompositeFieldContainer[MetricEvidence]
    def __init__(self, time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., stage: _Optional[int] = ..., state: _Optional[_Union[RolloutState, str]] = ..., reason: _Optional[str] = ..., evidence: _Optional[_Iterable[_Union[MetricEvidence, _Mapping]]] = ...) -> None: ...

class Rollout(_message.Message):
    __slots__ = ("name", "uid", "etag", "revision", "create_time", "update_time", "creator", "candidate", "baseline", "plan", "state", "stage", "stage_time", "end_time", "evidence", "steps")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    CREATOR_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_FIELD_NUMBER: _ClassVar[int]
    BASELINE_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    STAGE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    name: str
    uid: str
    etag: str
    revision: int
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    creator: str
    candidate: str
    baseline: str
    plan: RolloutPlan
    state: RolloutState
    stage: int
    stage_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    evidence: _containers.RepeatedCompositeFieldContainer[MetricEvidence]
    steps: _containers.RepeatedCompositeFieldContainer[RolloutStep]
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[str] = ..., etag: _Optional[str] = ..., revision: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., creator: _Optional[str] = ..., candidate: _Optional[str] = ..., baseline: _Optional[str] = ..., plan: _Optional[_Union[RolloutPlan, _Mapping]] = ..., state: _Optional[_Union[RolloutState, str]] = ..., stage: _Optional[int] = ..., stage_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., evidence: _Optional[_Iterable[_Union[MetricEvidence, _Mapping]]] = ..., steps: _Optional[_Iterable[_Union[RolloutStep, _Mapping]]] = ...) -> None: ...
