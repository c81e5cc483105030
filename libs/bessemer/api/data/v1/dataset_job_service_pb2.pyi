from bessemer.api.common.v1 import options_pb2 as _options_pb2
from bessemer.api.common.v1 import watch_pb2 as _watch_pb2
from bessemer.api.data.v1 import dataset_job_pb2 as _dataset_job_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateDatasetJobRequest(_message.Message):
    __slots__ = ("parent", "dataset_job_id", "dataset_job", "request_id")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    DATASET_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    DATASET_JOB_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    parent: str
    dataset_job_id: str
    dataset_job: _dataset_job_pb2.DatasetJob
    request_id: str
    def __init__(self, parent: _Optional[str] = ..., dataset_job_id: _Optional[str] = ..., dataset_job: _Optional[_Union[_dataset_job_pb2.DatasetJob, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class GetDatasetJobRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListDatasetJobsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListDatasetJobsResponse(_message.Message):
    __slots__ = ("dataset_jobs", "next_page_token")
    DATASET_JOBS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    dataset_jobs: _containers.RepeatedCompositeFieldContainer[_dataset_job_pb2.DatasetJob]
    next_page_token: str
    def __init__(self, dataset_jobs: _Optional[_Iterable[_Union[_dataset_job_pb2.DatasetJob, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CancelDatasetJobRequest(_message.Message):
    __slots__ = ("name", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class WatchDatasetJobRequest(_message.Message):
    __slots__ = ("name", "resume_token")
    NAME_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    name: str
    resume_token: str
    def __init__(self, name: _Optional[str] = ..., resume_token: _Optional[str] = ...) -> None: ...

class WatchDatasetJobResponse(_message.Message):
    __slots__ = ("event", "dataset_job", "resume_token")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    DATASET_JOB_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    event: _watch_pb2.WatchEvent
    dataset_job: _dataset_job_pb2.DatasetJob
    resume_token: str
    def __init__(self, event: _Optional[_Union[_watch_pb2.WatchEvent, str]] = ..., dataset_job: _Optional[_Union[_dataset_job_pb2.DatasetJob, _Mapping]] = ..., resume_token: _Optional[str] = ...) -> None: ...

class TailDatasetJobLogsRequest(_message.Message):
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

class TailDatasetJobLogsResponse(_message.Message):
    __slots__ = ("text", "next_offset")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    NEXT_OFFSET_FIELD_NUMBER: _ClassVar[int]
    text: str
    next_offset: int
    def __init__(self, text: _Optional[str] = ..., next_offset: _Optional[int] = ...) -> None: ...
