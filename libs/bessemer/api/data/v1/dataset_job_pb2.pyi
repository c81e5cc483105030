import datetime

from bessemer.api.common.v1 import artifact_pb2 as _artifact_pb2
from bessemer.api.common.v1 import job_pb2 as _job_pb2
from bessemer.api.common.v1 import options_pb2 as _options_pb2
from bessemer.api.data.v1 import assessment_pb2 as _assessment_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DatasetJob(_message.Message):
    __slots__ = ("name", "uid", "etag", "revision", "create_time", "update_time", "creator", "labels", "assess", "export", "status", "inputs", "result")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    CREATOR_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    ASSESS_FIELD_NUMBER: _ClassVar[int]
    EXPORT_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    name: str
    uid: str
    etag: str
    revision: int
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    creator: str
    labels: _containers.ScalarMap[str, str]
    assess: _assessment_pb2.AssessDatasetTask
    export: ExportDatasetTask
    status: _job_pb2.JobStatus
    inputs: DatasetJobInputs
    result: DatasetJobResult
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[str] = ..., etag: _Optional[str] = ..., revision: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., creator: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., assess: _Optional[_Union[_assessment_pb2.AssessDatasetTask, _Mapping]] = ..., export: _Optional[_Union[ExportDatasetTask, _Mapping]] = ..., status: _Optional[_Union[_job_pb2.JobStatus, _Mapping]] = ..., inputs: _Optional[_Union[DatasetJobInputs, _Mapping]] = ..., result: _Optional[_Union[DatasetJobResult, _Mapping]] = ...) -> None: ...

class DatasetJobInputs(_message.Message):
    __slots__ = ("manifest", "tokenizer")
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_FIELD_NUMBER: _ClassVar[int]
    manifest: _artifact_pb2.ArtifactRef
    tokenizer: _artifact_pb2.ArtifactRef
    def __init__(self, manifest: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., tokenizer: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ...) -> None: ...

class ExportDatasetTask(_message.Message):
    __slots__ = ("dataset_version", "format")
    DATASET_VERSION_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    dataset_version: str
    format: str
    def __init__(self, dataset_version: _Optional[str] = ..., format: _Optional[str] = ...) -> None: ...

class DatasetJobResult(_message.Message):
    __slots__ = ("archive", "assessment")
    ARCHIVE_FIELD_NUMBER: _ClassVar[int]
    ASSESSMENT_FIELD_NUMBER: _ClassVar[int]
    archive: _artifact_pb2.ArtifactRef
    assessment: _assessment_pb2.Assessment
    def __init__(self, archive: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., assessment: _Optional[_Union[_assessment_pb2.Assessment, _Mapping]] = ...) -> None: ...
