import datetime

from bessemer.api.common.v1 import options_pb2 as _options_pb2
from bessemer.api.eval.v1 import evaluation_pb2 as _evaluation_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DriftFeatureKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DRIFT_FEATURE_KIND_UNSPECIFIED: _ClassVar[DriftFeatureKind]
    DRIFT_FEATURE_KIND_NUMBER: _ClassVar[DriftFeatureKind]
    DRIFT_FEATURE_KIND_BINARY: _ClassVar[DriftFeatureKind]
    DRIFT_FEATURE_KIND_CATEGORY: _ClassVar[DriftFeatureKind]
    DRIFT_FEATURE_KIND_TEXT: _ClassVar[DriftFeatureKind]

class DriftRole(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DRIFT_ROLE_UNSPECIFIED: _ClassVar[DriftRole]
    DRIFT_ROLE_INPUT: _ClassVar[DriftRole]
    DRIFT_ROLE_OUTPUT: _ClassVar[DriftRole]
    DRIFT_ROLE_OUTCOME: _ClassVar[DriftRole]
    DRIFT_ROLE_SYSTEM: _ClassVar[DriftRole]

class DriftStrata(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DRIFT_STRATA_UNSPECIFIED: _ClassVar[DriftStrata]
    DRIFT_STRATA_HOUR: _ClassVar[DriftStrata]
    DRIFT_STRATA_WEEKDAY: _ClassVar[DriftStrata]

class DriftCause(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DRIFT_CAUSE_UNSPECIFIED: _ClassVar[DriftCause]
    DRIFT_CAUSE_COVARIATE: _ClassVar[DriftCause]
    DRIFT_CAUSE_CONCEPT: _ClassVar[DriftCause]
    DRIFT_CAUSE_SYSTEM: _ClassVar[DriftCause]

class DriftMonitorState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DRIFT_MONITOR_STATE_UNSPECIFIED: _ClassVar[DriftMonitorState]
    DRIFT_MONITOR_STATE_COLLECTING: _ClassVar[DriftMonitorState]
    DRIFT_MONITOR_STATE_WATCHING: _ClassVar[DriftMonitorState]
    DRIFT_MONITOR_STATE_ALARMED: _ClassVar[DriftMonitorState]
DRIFT_FEATURE_KIND_UNSPECIFIED: DriftFeatureKind
DRIFT_FEATURE_KIND_NUMBER: DriftFeatureKind
DRIFT_FEATURE_KIND_BINARY: DriftFeatureKind
DRIFT_FEATURE_KIND_CATEGORY: DriftFeatureKind
DRIFT_FEATURE_KIND_TEXT: DriftFeatureKind
DRIFT_ROLE_UNSPECIFIED: DriftRole
DRIFT_ROLE_INPUT: DriftRole
DRIFT_ROLE_OUTPUT: DriftRole
DRIFT_ROLE_OUTCOME: DriftRole
DRIFT_ROLE_SYSTEM: DriftRole
DRIFT_STRATA_UNSPECIFIED: DriftStrata
DRIFT_STRATA_HOUR: DriftStrata
DRIFT_STRATA_WEEKDAY: DriftStrata
DRIFT_CAUSE_UNSPECIFIED: DriftCause
DRIFT_CAUSE_COVARIATE: DriftCause
DRIFT_CAUSE_CONCEPT: DriftCause
DRIFT_CAUSE_SYSTEM: DriftCause
DRIFT_MONITOR_STATE_UNSPECIFIED: DriftMonitorState
DRIFT_MONITOR_STATE_COLLECTING: DriftMonitorState
DRIFT_MONITOR_STATE_WATCHING: DriftMonitorState
DRIFT_MONITOR_STATE_ALARMED: DriftMonitorState

class DriftFeature(_message.Message):
    __slots__ = ("name", "kind", "role", "strata", "weight")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    STRATA_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: DriftFeatureKind
    role: DriftRole
    strata: DriftStrata
    weight: float
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[_Union[DriftFeatureKind, str]] = ..., role: _Optional[_Union[DriftRole, str]] = ..., strata: _Optional[_Union[DriftStrata, str]] = ..., weight: _Optional[float] = ...) -> None: ...

class DriftMonitor(_message.Message):
    __slots__ = ("name", "uid", "etag", "revision", "create_time", "update_time", "creator", "display_name", "endpoint", "features", "num_reference", "false_alarms", "outcome", "confidence", "state", "num_requests", "levels", "expected_outcome", "reference_dataset")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    CREATOR_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    NUM_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    FALSE_ALARMS_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    NUM_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    LEVELS_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_OUTCOME_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_DATASET_FIELD_NUMBER: _ClassVar[int]
    name: str
    uid: str
    etag: str
    revision: int
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    creator: str
    display_name: str
    endpoint: str
    features: _containers.RepeatedCompositeFieldContainer[DriftFeature]
    num_reference: int
    false_alarms: float
    outcome: str
    confidence: str
    state: DriftMonitorState
    num_requests: int
    levels: _containers.RepeatedCompositeFieldContainer[DriftLevel]
    expected_outcome: _evaluation_pb2.Interval
    reference_dataset: str
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[str] = ..., etag: _Optional[str] = ..., revision: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., creator: _Optional[str] = ..., display_name: _Optional[str] = ..., endpoint: _Optional[str] = ..., features: _Optional[_Iterable[_Union[DriftFeature, _Mapping]]] = ..., num_reference: _Optional[int] = ..., false_alarms: _Optional[float] = ..., outcome: _Optional[str] = ..., confidence: _Optional[str] = ..., state: _Optional[_Union[DriftMonitorState, str]] = ..., num_requests: _Optional[int] = ..., levels: _Optional[_Iterable[_Union[DriftLevel, _Mapping]]] = ..., expected_outcome: _Optional[_Union[_evaluation_pb2.Interval, _Mapping]] = ..., reference_dataset: _Optional[str] = ...) -> None: ...

class DriftLevel(_message.Message):
    __slots__ = ("feature", "armed", "alarmed", "num_reference", "evidence", "threshold", "before", "now")
    FEATURE_FIELD_NUMBER: _ClassVar[int]
    ARMED_FIELD_NUMBER: _ClassVar[int]
    ALARMED_FIELD_NUMBER: _ClassVar[int]
    NUM_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    feature: str
    armed: bool
    alarmed: bool
    num_reference: int
    evidence: float
    threshold: float
    before: float
    now: float
    def __init__(self, feature: _Optional[str] = ..., armed: _Optional[bool] = ..., alarmed: _Optional[bool] = ..., num_reference: _Optional[int] = ..., evidence: _Optional[float] = ..., threshold: _Optional[float] = ..., before: _Optional[float] = ..., now: _Optional[float] = ...) -> None: ...

class DriftAlarm(_message.Message):
    __slots__ = ("name", "uid", "etag", "revision", "create_time", "feature", "cause", "explanation", "request", "since", "evidence", "threshold", "before", "now", "exemplars", "buckets", "num_wanted", "endpoint")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    FEATURE_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    EXEMPLARS_FIELD_NUMBER: _ClassVar[int]
    BUCKETS_FIELD_NUMBER: _ClassVar[int]
    NUM_WANTED_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    name: str
    uid: str
    etag: str
    revision: int
    create_time: _timestamp_pb2.Timestamp
    feature: str
    cause: DriftCause
    explanation: str
    request: int
    since: int
    evidence: float
    threshold: float
    before: float
    now: float
    exemplars: _containers.RepeatedScalarFieldContainer[str]
    buckets: _containers.RepeatedScalarFieldContainer[int]
    num_wanted: int
    endpoint: str
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[str] = ..., etag: _Optional[str] = ..., revision: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., feature: _Optional[str] = ..., cause: _Optional[_Union[DriftCause, str]] = ..., explanation: _Optional[str] = ..., request: _Optional[int] = ..., since: _Optional[int] = ..., evidence: _Optional[float] = ..., threshold: _Optional[float] = ..., before: _Optional[float] = ..., now: _Optional[float] = ..., exemplars: _Optional[_Iterable[str]] = ..., buckets: _Optional[_Iterable[int]] = ..., num_wanted: _Optional[int] = ..., endpoint: _Optional[str] = ...) -> None: ...

class DriftRow(_message.Message):
    __slots__ = ("id", "time", "numbers", "flags", "categories", "buckets")
    class NumbersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class FlagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bool
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bool] = ...) -> None: ...
    class CategoriesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    BUCKETS_FIELD_NUMBER: _ClassVar[int]
    id: str
    time: _timestamp_pb2.Timestamp
    numbers: _containers.ScalarMap[str, float]
    flags: _containers.ScalarMap[str, bool]
    categories: _containers.ScalarMap[str, str]
    buckets: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, id: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., numbers: _Optional[_Mapping[str, float]] = ..., flags: _Optional[_Mapping[str, bool]] = ..., categories: _Optional[_Mapping[str, str]] = ..., buckets: _Optional[_Iterable[int]] = ...) -> None: ...
