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
    __slots__ = ("name", "uid", "etag", "revision", "create_time", "update_time", "creator", "source", "manifest", "tokenizer", "architecture", "parameters", "context_length", "parent", "training_job", "dataset_versions", "license", "mixture", "parity", "adapter_rank")
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
    PARITY_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_RANK_FIELD_NUMBER: _ClassVar[int]
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
    parity: _containers.RepeatedCompositeFieldContainer[ParityReport]
    adapter_rank: int
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[str] = ..., etag: _Optional[str] = ..., revision: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., creator: _Optional[str] = ..., source: _Optional[_Union[ModelSource, str]] = ..., manifest: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., tokenizer: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., architecture: _Optional[str] = ..., parameters: _Optional[int] = ..., context_length: _Optional[int] = ..., parent: _Optional[str] = ..., training_job: _Optional[str] = ..., dataset_versions: _Optional[_Iterable[str]] = ..., license: _Optional[str] = ..., mixture: _Optional[str] = ..., parity: _Optional[_Iterable[_Union[ParityReport, _Mapping]]] = ..., adapter_rank: _Optional[int] = ...) -> None: ...

class ParityReport(_message.Message):
    __slots__ = ("hop", "reference_sha256", "candidate_sha256", "runtime", "precision", "checks", "texts", "tokens", "passed")
    HOP_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_SHA256_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_SHA256_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    PASSED_FIELD_NUMBER: _ClassVar[int]
    hop: str
    reference_sha256: str
    candidate_sha256: str
    runtime: str
    precision: str
    checks: _containers.RepeatedCompositeFieldContainer[ParityCheck]
    texts: int
    tokens: int
    passed: bool
    def __init__(self, hop: _Optional[str] = ..., reference_sha256: _Optional[str] = ..., candidate_sha256: _Optional[str] = ..., runtime: _Optional[str] = ..., precision: _Optional[str] = ..., checks: _Optional[_Iterable[_Union[ParityCheck, _Mapping]]] = ..., texts: _Optional[int] = ..., tokens: _Optional[int] = ..., passed: _Optional[bool] = ...) -> None: ...

class ParityCheck(_message.Message):
    __slots__ = ("name", "value", "limit", "passed", "detail")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    PASSED_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: float
    limit: float
    passed: bool
    detail: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ..., limit: _Optional[float] = ..., passed: _Optional[bool] = ..., detail: _Optional[str] = ...) -> None: ...

class ModelJob(_message.Message):
    __slots__ = ("name", "uid", "etag", "revision", "create_time", "update_time", "creator", "export", "extend_vocabulary", "init", "status", "model_version", "archive", "parity", "attestation", "inputs")
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
    PARITY_FIELD_NUMBER: _ClassVar[int]
    ATTESTATION_FIELD_NUMBER: _ClassVar[int]
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
    parity: _containers.RepeatedCompositeFieldContainer[ParityReport]
    attestation: bytes
    inputs: ModelJobInputs
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[str] = ..., etag: _Optional[str] = ..., revision: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., creator: _Optional[str] = ..., export: _Optional[_Union[ExportTask, _Mapping]] = ..., extend_vocabulary: _Optional[_Union[ExtendVocabularyTask, _Mapping]] = ..., init: _Optional[_Union[InitTask, _Mapping]] = ..., status: _Optional[_Union[_job_pb2.JobStatus, _Mapping]] = ..., model_version: _Optional[str] = ..., archive: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., parity: _Optional[_Iterable[_Union[ParityReport, _Mapping]]] = ..., attestation: _Optional[bytes] = ..., inputs: _Optional[_Union[ModelJobInputs, _Mapping]] = ..., **kwargs) -> None: ...

class ModelJobInputs(_message.Message):
    __slots__ = ("upload", "file_name", "model_manifest", "lineage")
    UPLOAD_FIELD_NUMBER: _ClassVar[int]
    FILE_NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_MANIFEST_FIELD_NUMBER: _ClassVar[int]
    LINEAGE_FIELD_NUMBER: _ClassVar[int]
    upload: _artifact_pb2.ArtifactRef
    file_name: str
    model_manifest: _artifact_pb2.ArtifactRef
    lineage: _containers.RepeatedCompositeFieldContainer[LineageStep]
    def __init__(self, upload: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., file_name: _Optional[str] = ..., model_manifest: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., lineage: _Optional[_Iterable[_Union[LineageStep, _Mapping]]] = ...) -> None: ...

class LineageStep(_message.Message):
    __slots__ = ("model_version", "manifest_sha256", "source", "license", "create_time", "dataset_versions", "mixture", "training_job", "method", "steps", "tokens", "seconds", "flops", "adapter_rank")
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_SHA256_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    LICENSE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    DATASET_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    MIXTURE_FIELD_NUMBER: _ClassVar[int]
    TRAINING_JOB_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    FLOPS_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_RANK_FIELD_NUMBER: _ClassVar[int]
    model_version: str
    manifest_sha256: str
    source: ModelSource
    license: str
    create_time: _timestamp_pb2.Timestamp
    dataset_versions: _containers.RepeatedScalarFieldContainer[str]
    mixture: str
    training_job: str
    method: str
    steps: int
    tokens: int
    seconds: float
    flops: float
    adapter_rank: int
    def __init__(self, model_version: _Optional[str] = ..., manifest_sha256: _Optional[str] = ..., source: _Optional[_Union[ModelSource, str]] = ..., license: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., dataset_versions: _Optional[_Iterable[str]] = ..., mixture: _Optional[str] = ..., training_job: _Optional[str] = ..., method: _Optional[str] = ..., steps: _Optional[int] = ..., tokens: _Optional[int] = ..., seconds: _Optional[float] = ..., flops: _Optional[float] = ..., adapter_rank: _Optional[int] = ...) -> None: ...

class ImportTask(_message.Message):
    __slots__ = ("model", "catalogue", "upload", "license", "base")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CATALOGUE_FIELD_NUMBER: _ClassVar[int]
    UPLOAD_FIELD_NUMBER: _ClassVar[int]
    LICENSE_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    model: str
    catalogue: str
    upload: str
    license: str
    base: str
    def __init__(self, model: _Optional[str] = ..., catalogue: _Optional[str] = ..., upload: _Optional[str] = ..., license: _Optional[str] = ..., base: _Optional[str] = ...) -> None: ...

class ExportTask(_message.Message):
    __slots__ = ("model_version", "format", "precision", "evaluations")
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    EVALUATIONS_FIELD_NUMBER: _ClassVar[int]
    model_version: str
    format: str
    precision: str
    evaluations: _containers.RepeatedCompositeFieldContainer[EvaluationFact]
    def __init__(self, model_version: _Optional[str] = ..., format: _Optional[str] = ..., precision: _Optional[str] = ..., evaluations: _Optional[_Iterable[_Union[EvaluationFact, _Mapping]]] = ...) -> None: ...

class EvaluationFact(_message.Message):
    __slots__ = ("evaluation_run", "suite", "metric", "value", "low", "high", "cases")
    EVALUATION_RUN_FIELD_NUMBER: _ClassVar[int]
    SUITE_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    CASES_FIELD_NUMBER: _ClassVar[int]
    evaluation_run: str
    suite: str
    metric: str
    value: float
    low: float
    high: float
    cases: int
    def __init__(self, evaluation_run: _Optional[str] = ..., suite: _Optional[str] = ..., metric: _Optional[str] = ..., value: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., cases: _Optional[int] = ...) -> None: ...

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
    __slots__ = ("manifest", "tokenizer", "architecture", "parameters", "context_length", "archive", "license", "parity", "files", "adapter_rank")
    class FilesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_FIELD_NUMBER: _ClassVar[int]
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_LENGTH_FIELD_NUMBER: _ClassVar[int]
    ARCHIVE_FIELD_NUMBER: _ClassVar[int]
    LICENSE_FIELD_NUMBER: _ClassVar[int]
    PARITY_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_RANK_FIELD_NUMBER: _ClassVar[int]
    manifest: _artifact_pb2.ArtifactRef
    tokenizer: _artifact_pb2.ArtifactRef
    architecture: str
    parameters: int
    context_length: int
    archive: _artifact_pb2.ArtifactRef
    license: str
    parity: _containers.RepeatedCompositeFieldContainer[ParityReport]
    files: _containers.ScalarMap[str, str]
    adapter_rank: int
    def __init__(self, manifest: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., tokenizer: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., architecture: _Optional[str] = ..., parameters: _Optional[int] = ..., context_length: _Optional[int] = ..., archive: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., license: _Optional[str] = ..., parity: _Optional[_Iterable[_Union[ParityReport, _Mapping]]] = ..., files: _Optional[_Mapping[str, str]] = ..., adapter_rank: _Optional[int] = ...) -> None: ...
