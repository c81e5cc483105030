from bessemer.api.data.v1 import artifact_service_pb2 as _artifact_service_pb2
from bessemer.api.data.v1 import dataset_pb2 as _dataset_pb2
from bessemer.api.data.v1 import dataset_job_pb2 as _dataset_job_pb2
from bessemer.api.data.v1 import feedback_service_pb2 as _feedback_service_pb2
from bessemer.api.data.v1 import mixture_pb2 as _mixture_pb2
from bessemer.api.data.v1 import project_service_pb2 as _project_service_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ProjectChanged(_message.Message):
    __slots__ = ("project", "previous_state")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_STATE_FIELD_NUMBER: _ClassVar[int]
    project: _project_service_pb2.Project
    previous_state: str
    def __init__(self, project: _Optional[_Union[_project_service_pb2.Project, _Mapping]] = ..., previous_state: _Optional[str] = ...) -> None: ...

class UploadChanged(_message.Message):
    __slots__ = ("upload", "previous_state")
    UPLOAD_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_STATE_FIELD_NUMBER: _ClassVar[int]
    upload: _artifact_service_pb2.Upload
    previous_state: str
    def __init__(self, upload: _Optional[_Union[_artifact_service_pb2.Upload, _Mapping]] = ..., previous_state: _Optional[str] = ...) -> None: ...

class DatasetChanged(_message.Message):
    __slots__ = ("dataset", "previous_state")
    DATASET_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_STATE_FIELD_NUMBER: _ClassVar[int]
    dataset: _dataset_pb2.Dataset
    previous_state: str
    def __init__(self, dataset: _Optional[_Union[_dataset_pb2.Dataset, _Mapping]] = ..., previous_state: _Optional[str] = ...) -> None: ...

class DatasetVersionChanged(_message.Message):
    __slots__ = ("dataset_version", "previous_state")
    DATASET_VERSION_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_STATE_FIELD_NUMBER: _ClassVar[int]
    dataset_version: _dataset_pb2.DatasetVersion
    previous_state: str
    def __init__(self, dataset_version: _Optional[_Union[_dataset_pb2.DatasetVersion, _Mapping]] = ..., previous_state: _Optional[str] = ...) -> None: ...

class CurationJobChanged(_message.Message):
    __slots__ = ("curation_job", "previous_state")
    CURATION_JOB_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_STATE_FIELD_NUMBER: _ClassVar[int]
    curation_job: _dataset_pb2.CurationJob
    previous_state: str
    def __init__(self, curation_job: _Optional[_Union[_dataset_pb2.CurationJob, _Mapping]] = ..., previous_state: _Optional[str] = ...) -> None: ...

class FeedbackRecordChanged(_message.Message):
    __slots__ = ("feedback_record", "previous_state")
    FEEDBACK_RECORD_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_STATE_FIELD_NUMBER: _ClassVar[int]
    feedback_record: _feedback_service_pb2.FeedbackRecord
    previous_state: str
    def __init__(self, feedback_record: _Optional[_Union[_feedback_service_pb2.FeedbackRecord, _Mapping]] = ..., previous_state: _Optional[str] = ...) -> None: ...

class DatasetJobChanged(_message.Message):
    __slots__ = ("dataset_job", "previous_state")
    DATASET_JOB_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_STATE_FIELD_NUMBER: _ClassVar[int]
    dataset_job: _dataset_job_pb2.DatasetJob
    previous_state: str
    def __init__(self, dataset_job: _Optional[_Union[_dataset_job_pb2.DatasetJob, _Mapping]] = ..., previous_state: _Optional[str] = ...) -> None: ...

class MixtureChanged(_message.Message):
    __slots__ = ("mixture", "previous_state")
    MIXTURE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_STATE_FIELD_NUMBER: _ClassVar[int]
    mixture: _mixture_pb2.Mixture
    previous_state: str
    def __init__(self, mixture: _Optional[_Union[_mixture_pb2.Mixture, _Mapping]] = ..., previous_state: _Optional[str] = ...) -> None: ...
