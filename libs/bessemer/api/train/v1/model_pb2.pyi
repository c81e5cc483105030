import datetime

from bessemer.api.common.v1 import artifact_pb2 as _artifact_pb2
from bessemer.api.common.v1 import job_pb2 as _job_pb2
from bessemer.api.common.v1 import options_pb2 as _options_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ModelSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODEL_SOURCE_UNSPECIFIED: _ClassVar[ModelSource]
    MODEL_SOURCE_IMPORTED: _ClassVar[ModelSource]
    MODEL_SOURCE_TRAINED: _ClassVar[ModelSource]
    MODEL_SOURCE_EXTENDED: _ClassVar[ModelSource]
    MODEL_SOURCE_INITIALISED: _ClassVar[ModelSource]
MODEL_SOURCE_UNSPECIFIED: ModelSource
MODEL_SOURCE_IMPORTED: ModelSource
MODEL_SOURCE_TRAINED: ModelSource
MODEL_SOURCE_EXTENDED: ModelSource
MODEL_SOURCE_INITIALISED: ModelSource

class Model(_message.Message):
    __slots__ = ("name", "uid", "etag", "revision", "create_time", "update_time", "creator", "labels", "display_name", "aliases")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class AliasesEntry(_message.Message):
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
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    name: str
    uid: str
    etag: str
    revision: int
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    creator: str
    labels: _containers.ScalarMap[str, str]
    display_name: str
    aliases: _containers.ScalarMap[str, str]
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[str] = ..., etag: _Optional[str] = ..., revision: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., creator: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., display_name: _Optional[str] = ..., aliases: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ModelVersion(_message.Message):
    __slots__ = ("name", "uid", "etag", "revision", "create_time", "update_time", "creator", "source", "manifest", "tokenizer", "architecture", "parameters", "context_length", "parent", "training_job", "dataset_versions", "license", "mixture")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    CREATOR_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_FIELD_NUMBER: _ClassVar[int]
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_LENGTH_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    TRAINING_JOB_FIELD_NUMBER: _ClassVar[int]
    DATASET_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    LICENSE_FIELD_NUMBER: _ClassVar[int]
    MIXTURE_FIELD_NUMBER: _ClassVar[int]
    name: str
    uid: str
    etag: str
    revision: int
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    creator: str
    source: ModelSource
    manifest: _artifact_pb2.ArtifactRef
    tokenizer: _artifact_pb2.ArtifactRef
    architecture: str
    parameters: int
    context_length: int
    parent: str
    training_job: str
    dataset_versions: _containers.RepeatedScalarFieldContainer[str]
    license: str
    mixture: str
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[str] = ..., etag: _Optional[str] = ..., revision: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., creator: _Optional[str] = ..., source: _Optional[_Union[ModelSource, str]] = ..., manifest: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., tokenizer: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., architecture: _Optional[str] = ..., parameters: _Optional[int] = ..., context_length: _Optional[int] = ..., parent: _Optional[str] = ..., training_job: _Optional[str] = ..., dataset_versions: _Optional[_Iterable[str]] = ..., license: _Optional[str] = ..., mixture: _Optional[str] = ...) -> None: ...

class ModelJob(_message.Message):
    __slots__ = ("name", "uid", "etag", "revision", "create_time", "update_time", "creator", "export", "extend_vocabulary", "init", "status", "model_version", "archive", "inputs")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    CREATOR_FIELD_NUMBER: _ClassVar[int]
    IMPORT_FIELD_NUMBER: _ClassVar[int]
    EXPORT_FIELD_NUMBER: _ClassVar[int]
    EXTEND_VOCABULARY_FIELD_NUMBER: _ClassVar[int]
    INIT_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    ARCHIVE_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    uid: str
    etag: str
    revision: int
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    creator: str
    export: ExportTask
    extend_vocabulary: ExtendVocabularyTask
    init: InitTask
    status: _job_pb2.JobStatus
    model_version: str
    archive: _artifact_pb2.ArtifactRef
    inputs: ModelJobInputs
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[str] = ..., etag: _Optional[str] = ..., revision: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., creator: _Optional[str] = ..., export: _Optional[_Union[ExportTask, _Mapping]] = ..., extend_vocabulary: _Optional[_Union[ExtendVocabularyTask, _Mapping]] = ..., init: _Optional[_Union[InitTask, _Mapping]] = ..., status: _Optional[_Union[_job_pb2.JobStatus, _Mapping]] = ..., model_version: _Optional[str] = ..., archive: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., inputs: _Optional[_Union[ModelJobInputs, _Mapping]] = ..., **kwargs) -> None: ...

class ModelJobInputs(_message.Message):
    __slots__ = ("upload", "file_name", "model_manifest")
    UPLOAD_FIELD_NUMBER: _ClassVar[int]
    FILE_NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_MANIFEST_FIELD_NUMBER: _ClassVar[int]
    upload: _artifact_pb2.ArtifactRef
    file_name: str
    model_manifest: _artifact_pb2.ArtifactRef
    def __init__(self, upload: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., file_name: _Optional[str] = ..., model_manifest: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ...) -> None: ...

class ImportTask(_message.Message):
    __slots__ = ("model", "catalogue", "upload", "license")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CATALOGUE_FIELD_NUMBER: _ClassVar[int]
    UPLOAD_FIELD_NUMBER: _ClassVar[int]
    LICENSE_FIELD_NUMBER: _ClassVar[int]
    model: str
    catalogue: str
    upload: str
    license: str
    def __init__(self, model: _Optional[str] = ..., catalogue: _Optional[str] = ..., upload: _Optional[str] = ..., license: _Optional[str] = ...) -> None: ...

class ExportTask(_message.Message):
    __slots__ = ("model_version", "format")
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    model_version: str
    format: str
    def __init__(self, model_version: _Optional[str] = ..., format: _Optional[str] = ...) -> None: ...

class ExtendVocabularyTask(_message.Message):
    __slots__ = ("model_version", "tokenizer", "initialisation")
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_FIELD_NUMBER: _ClassVar[int]
    INITIALISATION_FIELD_NUMBER: _ClassVar[int]
    model_version: str
    tokenizer: _artifact_pb2.ArtifactRef
    initialisation: _artifact_pb2.ArtifactRef
    def __init__(self, model_version: _Optional[str] = ..., tokenizer: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., initialisation: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ...) -> None: ...

class InitTask(_message.Message):
    __slots__ = ("model", "config", "tokenizer", "seed")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    model: str
    config: str
    tokenizer: _artifact_pb2.ArtifactRef
    seed: int
    def __init__(self, model: _Optional[str] = ..., config: _Optional[str] = ..., tokenizer: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., seed: _Optional[int] = ...) -> None: ...

class ModelJobResult(_message.Message):
    __slots__ = ("manifest", "tokenizer", "architecture", "parameters", "context_length", "archive", "license")
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_FIELD_NUMBER: _ClassVar[int]
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_LENGTH_FIELD_NUMBER: _ClassVar[int]
    ARCHIVE_FIELD_NUMBER: _ClassVar[int]
    LICENSE_FIELD_NUMBER: _ClassVar[int]
    manifest: _artifact_pb2.ArtifactRef
    tokenizer: _artifact_pb2.ArtifactRef
    architecture: str
    parameters: int
    context_length: int
    archive: _artifact_pb2.ArtifactRef
    license: str
    def __init__(self, manifest: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., tokenizer: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., architecture: _Optional[str] = ..., parameters: _Optional[int] = ..., context_length: _Optional[int] = ..., archive: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., license: _Optional[str] = ...) -> None: ...
