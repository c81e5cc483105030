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

class Rating(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RATING_UNSPECIFIED: _ClassVar[Rating]
    RATING_UP: _ClassVar[Rating]
    RATING_DOWN: _ClassVar[Rating]

class Signal(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SIGNAL_UNSPECIFIED: _ClassVar[Signal]
    SIGNAL_REGENERATED: _ClassVar[Signal]
    SIGNAL_COPIED: _ClassVar[Signal]
    SIGNAL_ABANDONED: _ClassVar[Signal]
    SIGNAL_FOLLOWED_UP: _ClassVar[Signal]
RATING_UNSPECIFIED: Rating
RATING_UP: Rating
RATING_DOWN: Rating
SIGNAL_UNSPECIFIED: Signal
SIGNAL_REGENERATED: Signal
SIGNAL_COPIED: Signal
SIGNAL_ABANDONED: Signal
SIGNAL_FOLLOWED_UP: Signal

class FeedbackRecord(_message.Message):
    __slots__ = ("name", "uid", "etag", "revision", "create_time", "update_time", "creator", "response_id", "model_version", "rating", "prompt_json", "answer", "edited_answer", "comment", "user", "consent", "categories", "signals", "behaviour_logprobs", "deployment", "erase_time")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    CREATOR_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    RATING_FIELD_NUMBER: _ClassVar[int]
    PROMPT_JSON_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    EDITED_ANSWER_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    CONSENT_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    SIGNALS_FIELD_NUMBER: _ClassVar[int]
    BEHAVIOUR_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    ERASE_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    uid: str
    etag: str
    revision: int
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    creator: str
    response_id: str
    model_version: str
    rating: Rating
    prompt_json: str
    answer: str
    edited_answer: str
    comment: str
    user: str
    consent: str
    categories: _containers.RepeatedScalarFieldContainer[str]
    signals: _containers.RepeatedScalarFieldContainer[Signal]
    behaviour_logprobs: _containers.RepeatedScalarFieldContainer[float]
    deployment: str
    erase_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[str] = ..., etag: _Optional[str] = ..., revision: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., creator: _Optional[str] = ..., response_id: _Optional[str] = ..., model_version: _Optional[str] = ..., rating: _Optional[_Union[Rating, str]] = ..., prompt_json: _Optional[str] = ..., answer: _Optional[str] = ..., edited_answer: _Optional[str] = ..., comment: _Optional[str] = ..., user: _Optional[str] = ..., consent: _Optional[str] = ..., categories: _Optional[_Iterable[str]] = ..., signals: _Optional[_Iterable[_Union[Signal, str]]] = ..., behaviour_logprobs: _Optional[_Iterable[float]] = ..., deployment: _Optional[str] = ..., erase_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class SubmitFeedbackRequest(_message.Message):
    __slots__ = ("parent", "feedback", "request_id")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    FEEDBACK_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    parent: str
    feedback: FeedbackRecord
    request_id: str
    def __init__(self, parent: _Optional[str] = ..., feedback: _Optional[_Union[FeedbackRecord, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class CountFeedbackRequest(_message.Message):
    __slots__ = ("parent", "model_versions", "from_time")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    FROM_TIME_FIELD_NUMBER: _ClassVar[int]
    parent: str
    model_versions: _containers.RepeatedScalarFieldContainer[str]
    from_time: _timestamp_pb2.Timestamp
    def __init__(self, parent: _Optional[str] = ..., model_versions: _Optional[_Iterable[str]] = ..., from_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class FeedbackCounts(_message.Message):
    __slots__ = ("num_up", "num_down", "num_edits", "num_signals", "num_users")
    NUM_UP_FIELD_NUMBER: _ClassVar[int]
    NUM_DOWN_FIELD_NUMBER: _ClassVar[int]
    NUM_EDITS_FIELD_NUMBER: _ClassVar[int]
    NUM_SIGNALS_FIELD_NUMBER: _ClassVar[int]
    NUM_USERS_FIELD_NUMBER: _ClassVar[int]
    num_up: int
    num_down: int
    num_edits: int
    num_signals: int
    num_users: int
    def __init__(self, num_up: _Optional[int] = ..., num_down: _Optional[int] = ..., num_edits: _Optional[int] = ..., num_signals: _Optional[int] = ..., num_users: _Optional[int] = ...) -> None: ...

class EraseFeedbackRequest(_message.Message):
    __slots__ = ("name", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class ListFeedbackRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListFeedbackResponse(_message.Message):
    __slots__ = ("feedback", "next_page_token")
    FEEDBACK_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    feedback: _containers.RepeatedCompositeFieldContainer[FeedbackRecord]
    next_page_token: str
    def __init__(self, feedback: _Optional[_Iterable[_Union[FeedbackRecord, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
