import datetime

from bessemer.api.common.v1 import options_pb2 as _options_pb2
from bessemer.api.data.v1 import dataset_pb2 as _dataset_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FeedbackForm(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FEEDBACK_FORM_UNSPECIFIED: _ClassVar[FeedbackForm]
    FEEDBACK_FORM_ACCEPTED: _ClassVar[FeedbackForm]
    FEEDBACK_FORM_THUMBS: _ClassVar[FeedbackForm]
    FEEDBACK_FORM_EDITS: _ClassVar[FeedbackForm]
FEEDBACK_FORM_UNSPECIFIED: FeedbackForm
FEEDBACK_FORM_ACCEPTED: FeedbackForm
FEEDBACK_FORM_THUMBS: FeedbackForm
FEEDBACK_FORM_EDITS: FeedbackForm

class CurateFeedbackTask(_message.Message):
    __slots__ = ("dataset", "form", "model_versions", "from_time", "until_time", "consents", "user_share_max", "rated_min", "down_min", "heldout_fraction", "redact", "false_alarms", "together_s", "seed")
    DATASET_FIELD_NUMBER: _ClassVar[int]
    FORM_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    FROM_TIME_FIELD_NUMBER: _ClassVar[int]
    UNTIL_TIME_FIELD_NUMBER: _ClassVar[int]
    CONSENTS_FIELD_NUMBER: _ClassVar[int]
    USER_SHARE_MAX_FIELD_NUMBER: _ClassVar[int]
    RATED_MIN_FIELD_NUMBER: _ClassVar[int]
    DOWN_MIN_FIELD_NUMBER: _ClassVar[int]
    HELDOUT_FRACTION_FIELD_NUMBER: _ClassVar[int]
    REDACT_FIELD_NUMBER: _ClassVar[int]
    FALSE_ALARMS_FIELD_NUMBER: _ClassVar[int]
    TOGETHER_S_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    form: FeedbackForm
    model_versions: _containers.RepeatedScalarFieldContainer[str]
    from_time: _timestamp_pb2.Timestamp
    until_time: _timestamp_pb2.Timestamp
    consents: _containers.RepeatedScalarFieldContainer[str]
    user_share_max: float
    rated_min: int
    down_min: int
    heldout_fraction: float
    redact: _containers.RepeatedScalarFieldContainer[str]
    false_alarms: float
    together_s: int
    seed: int
    def __init__(self, dataset: _Optional[str] = ..., form: _Optional[_Union[FeedbackForm, str]] = ..., model_versions: _Optional[_Iterable[str]] = ..., from_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., consents: _Optional[_Iterable[str]] = ..., user_share_max: _Optional[float] = ..., rated_min: _Optional[int] = ..., down_min: _Optional[int] = ..., heldout_fraction: _Optional[float] = ..., redact: _Optional[_Iterable[str]] = ..., false_alarms: _Optional[float] = ..., together_s: _Optional[int] = ..., seed: _Optional[int] = ...) -> None: ...

class FeedbackCuration(_message.Message):
    __slots__ = ("reasons", "operators", "num_users", "num_up", "num_down", "label_noise", "num_double_rated", "groups", "ratings")
    REASONS_FIELD_NUMBER: _ClassVar[int]
    OPERATORS_FIELD_NUMBER: _ClassVar[int]
    NUM_USERS_FIELD_NUMBER: _ClassVar[int]
    NUM_UP_FIELD_NUMBER: _ClassVar[int]
    NUM_DOWN_FIELD_NUMBER: _ClassVar[int]
    LABEL_NOISE_FIELD_NUMBER: _ClassVar[int]
    NUM_DOUBLE_RATED_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    RATINGS_FIELD_NUMBER: _ClassVar[int]
    reasons: _containers.RepeatedCompositeFieldContainer[_dataset_pb2.ReasonCount]
    operators: _containers.RepeatedScalarFieldContainer[str]
    num_users: int
    num_up: int
    num_down: int
    label_noise: float
    num_double_rated: int
    groups: _containers.RepeatedCompositeFieldContainer[RaterGroup]
    ratings: _containers.RepeatedCompositeFieldContainer[VersionRating]
    def __init__(self, reasons: _Optional[_Iterable[_Union[_dataset_pb2.ReasonCount, _Mapping]]] = ..., operators: _Optional[_Iterable[str]] = ..., num_users: _Optional[int] = ..., num_up: _Optional[int] = ..., num_down: _Optional[int] = ..., label_noise: _Optional[float] = ..., num_double_rated: _Optional[int] = ..., groups: _Optional[_Iterable[_Union[RaterGroup, _Mapping]]] = ..., ratings: _Optional[_Iterable[_Union[VersionRating, _Mapping]]] = ...) -> None: ...

class VersionRating(_message.Message):
    __slots__ = ("model_version", "num_rated", "num_up")
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    NUM_RATED_FIELD_NUMBER: _ClassVar[int]
    NUM_UP_FIELD_NUMBER: _ClassVar[int]
    model_version: str
    num_rated: int
    num_up: int
    def __init__(self, model_version: _Optional[str] = ..., num_rated: _Optional[int] = ..., num_up: _Optional[int] = ...) -> None: ...

class RaterGroup(_message.Message):
    __slots__ = ("reason", "num_users", "num_ratings", "evidence")
    REASON_FIELD_NUMBER: _ClassVar[int]
    NUM_USERS_FIELD_NUMBER: _ClassVar[int]
    NUM_RATINGS_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    reason: str
    num_users: int
    num_ratings: int
    evidence: str
    def __init__(self, reason: _Optional[str] = ..., num_users: _Optional[int] = ..., num_ratings: _Optional[int] = ..., evidence: _Optional[str] = ...) -> None: ...
