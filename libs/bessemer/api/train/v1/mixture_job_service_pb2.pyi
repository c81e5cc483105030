from bessemer.api.common.v1 import options_pb2 as _options_pb2
from bessemer.api.common.v1 import watch_pb2 as _watch_pb2
from bessemer.api.train.v1 import mixture_job_pb2 as _mixture_job_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateMixtureJobRequest(_message.Message):
    __slots__ = ("parent", "mixture_job_id", "mixture_job", "request_id")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    MIXTURE_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    MIXTURE_JOB_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    parent: str
    mixture_job_id: str
    mixture_job: _mixture_job_pb2.MixtureJob
    request_id: str
    def __init__(self, parent: _Optional[str] = ..., mixture_job_id: _Optional[str] = ..., mixture_job: _Optional[_Union[_mixture_job_pb2.MixtureJob, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class GetMixtureJobRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListMixtureJobsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListMixtureJobsResponse(_message.Message):
    __slots__ = ("mixture_jobs", "next_page_token")
    MIXTURE_JOBS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    mixture_jobs: _containers.RepeatedCompositeFieldContainer[_mixture_job_pb2.MixtureJob]
    next_page_token: str
    def __init__(self, mixture_jobs: _Optional[_Iterable[_Union[_mixture_job_pb2.MixtureJob, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CancelMixtureJobRequest(_message.Message):
    __slots__ = ("name", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class WatchMixtureJobRequest(_message.Message):
    __slots__ = ("name", "resume_token")
    NAME_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    name: str
    resume_token: str
    def __init__(self, name: _Optional[str] = ..., resume_token: _Optional[str] = ...) -> None: ...

class WatchMixtureJobResponse(_message.Message):
    __slots__ = ("event", "mixture_job", "resume_token")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    MIXTURE_JOB_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    event: _watch_pb2.WatchEvent
    mixture_job: _mixture_job_pb2.MixtureJob
    resume_token: str
    def __init__(self, event: _Optional[_Union[_watch_pb2.WatchEvent, str]] = ..., mixture_job: _Optional[_Union[_mixture_job_pb2.MixtureJob, _Mapping]] = ..., resume_token: _Optional[str] = ...) -> None: ...

class TailMixtureJobLogsRequest(_message.Message):
    __slots__ = ("name", "attempt", "offset", "follow")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    name: str
    attempt: int
    offset: int
    follow: bool
    def __init__(self, name: _Optional[str] = ..., attempt: _Optional[int] = ..., offset: _Optional[int] = ..., follow: _Optional[bool] = ...) -> None: ...

class TailMixtureJobLogsResponse(_message.Message):
    __slots__ = ("text", "next_offset")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    NEXT_OFFSET_FIELD_NUMBER: _ClassVar[int]
    text: str
    next_offset: int
    def __init__(self, text: _Optional[str] = ..., next_offset: _Optional[int] = ...) -> None: ...
