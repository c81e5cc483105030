from bessemer.api.common.v1 import options_pb2 as _options_pb2
from bessemer.api.common.v1 import watch_pb2 as _watch_pb2
from bessemer.api.serve.v1 import batch_inference_pb2 as _batch_inference_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateBatchInferenceJobRequest(_message.Message):
    __slots__ = ("parent", "batch_inference_job_id", "batch_inference_job", "request_id")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    BATCH_INFERENCE_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    BATCH_INFERENCE_JOB_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    parent: str
    batch_inference_job_id: str
    batch_inference_job: _batch_inference_pb2.BatchInferenceJob
    request_id: str
    def __init__(self, parent: _Optional[str] = ..., batch_inference_job_id: _Optional[str] = ..., batch_inference_job: _Optional[_Union[_batch_inference_pb2.BatchInferenceJob, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class GetBatchInferenceJobRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListBatchInferenceJobsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListBatchInferenceJobsResponse(_message.Message):
    __slots__ = ("batch_inference_jobs", "next_page_token")
    BATCH_INFERENCE_JOBS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    batch_inference_jobs: _containers.RepeatedCompositeFieldContainer[_batch_inference_pb2.BatchInferenceJob]
    next_page_token: str
    def __init__(self, batch_inference_jobs: _Optional[_Iterable[_Union[_batch_inference_pb2.BatchInferenceJob, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CancelBatchInferenceJobRequest(_message.Message):
    __slots__ = ("name", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class WatchBatchInferenceJobRequest(_message.Message):
    __slots__ = ("name", "resume_token")
    NAME_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    name: str
    resume_token: str
    def __init__(self, name: _Optional[str] = ..., resume_token: _Optional[str] = ...) -> None: ...

class WatchBatchInferenceJobResponse(_message.Message):
    __slots__ = ("event", "batch_inference_job", "resume_token")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    BATCH_INFERENCE_JOB_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    event: _watch_pb2.WatchEvent
    batch_inference_job: _batch_inference_pb2.BatchInferenceJob
    resume_token: str
    def __init__(self, event: _Optional[_Union[_watch_pb2.WatchEvent, str]] = ..., batch_inference_job: _Optional[_Union[_batch_inference_pb2.BatchInferenceJob, _Mapping]] = ..., resume_token: _Optional[str] = ...) -> None: ...
