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

class DatasetKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DATASET_KIND_UNSPECIFIED: _ClassVar[DatasetKind]
    DATASET_KIND_TEXT: _ClassVar[DatasetKind]
    DATASET_KIND_CHAT: _ClassVar[DatasetKind]
    DATASET_KIND_PREFERENCE: _ClassVar[DatasetKind]

class QualityProfile(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    QUALITY_PROFILE_UNSPECIFIED: _ClassVar[QualityProfile]
    QUALITY_PROFILE_ENTERPRISE: _ClassVar[QualityProfile]
    QUALITY_PROFILE_WEB: _ClassVar[QualityProfile]
DATASET_KIND_UNSPECIFIED: DatasetKind
DATASET_KIND_TEXT: DatasetKind
DATASET_KIND_CHAT: DatasetKind
DATASET_KIND_PREFERENCE: DatasetKind
QUALITY_PROFILE_UNSPECIFIED: QualityProfile
QUALITY_PROFILE_ENTERPRISE: QualityProfile
QUALITY_PROFILE_WEB: QualityProfile

class Dataset(_message.Message):
    __slots__ = ("name", "uid", "etag", "revision", "create_time", "update_time", "creator", "labels", "display_name", "kind", "aliases")
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
    KIND_FIELD_NUMBER: _ClassVar[int]
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
    kind: DatasetKind
    aliases: _containers.ScalarMap[str, str]
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[str] = ..., etag: _Optional[str] = ..., revision: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., creator: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., display_name: _Optional[str] = ..., kind: _Optional[_Union[DatasetKind, str]] = ..., aliases: _Optional[_Mapping[str, str]] = ...) -> None: ...

class SplitCounts(_message.Message):
    __slots__ = ("split", "documents", "rows", "tokens", "bytes")
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    split: str
    documents: int
    rows: int
    tokens: int
    bytes: int
    def __init__(self, split: _Optional[str] = ..., documents: _Optional[int] = ..., rows: _Optional[int] = ..., tokens: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class ReasonCount(_message.Message):
    __slots__ = ("reason", "documents", "bytes")
    REASON_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    reason: str
    documents: int
    bytes: int
    def __init__(self, reason: _Optional[str] = ..., documents: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class DatasetVersion(_message.Message):
    __slots__ = ("name", "uid", "etag", "revision", "create_time", "update_time", "creator", "kind", "manifest", "splits", "reasons", "tokenizer_sha256", "sequence_length", "sources", "report", "delete_time")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    CREATOR_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    SPLITS_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_SHA256_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_LENGTH_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    DELETE_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    uid: str
    etag: str
    revision: int
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    creator: str
    kind: DatasetKind
    manifest: _artifact_pb2.ArtifactRef
    splits: _containers.RepeatedCompositeFieldContainer[SplitCounts]
    reasons: _containers.RepeatedCompositeFieldContainer[ReasonCount]
    tokenizer_sha256: str
    sequence_length: int
    sources: _containers.RepeatedScalarFieldContainer[str]
    report: _artifact_pb2.ArtifactRef
    delete_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[str] = ..., etag: _Optional[str] = ..., revision: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., creator: _Optional[str] = ..., kind: _Optional[_Union[DatasetKind, str]] = ..., manifest: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., splits: _Optional[_Iterable[_Union[SplitCounts, _Mapping]]] = ..., reasons: _Optional[_Iterable[_Union[ReasonCount, _Mapping]]] = ..., tokenizer_sha256: _Optional[str] = ..., sequence_length: _Optional[int] = ..., sources: _Optional[_Iterable[str]] = ..., report: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., delete_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CurationRecipe(_message.Message):
    __slots__ = ("kind", "sequence_length", "heldout_fraction", "seed", "min_characters", "near_duplicate_threshold", "rows_max", "tokens_max", "quality", "redact", "parse_failures_max", "classifier_threshold", "sample_fraction", "semantic_duplicate_threshold")
    KIND_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_LENGTH_FIELD_NUMBER: _ClassVar[int]
    HELDOUT_FRACTION_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    MIN_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    NEAR_DUPLICATE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    ROWS_MAX_FIELD_NUMBER: _ClassVar[int]
    TOKENS_MAX_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    REDACT_FIELD_NUMBER: _ClassVar[int]
    PARSE_FAILURES_MAX_FIELD_NUMBER: _ClassVar[int]
    CLASSIFIER_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_FRACTION_FIELD_NUMBER: _ClassVar[int]
    SEMANTIC_DUPLICATE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    kind: DatasetKind
    sequence_length: int
    heldout_fraction: float
    seed: int
    min_characters: int
    near_duplicate_threshold: float
    rows_max: int
    tokens_max: int
    quality: QualityProfile
    redact: _containers.RepeatedScalarFieldContainer[str]
    parse_failures_max: float
    classifier_threshold: float
    sample_fraction: float
    semantic_duplicate_threshold: float
    def __init__(self, kind: _Optional[_Union[DatasetKind, str]] = ..., sequence_length: _Optional[int] = ..., heldout_fraction: _Optional[float] = ..., seed: _Optional[int] = ..., min_characters: _Optional[int] = ..., near_duplicate_threshold: _Optional[float] = ..., rows_max: _Optional[int] = ..., tokens_max: _Optional[int] = ..., quality: _Optional[_Union[QualityProfile, str]] = ..., redact: _Optional[_Iterable[str]] = ..., parse_failures_max: _Optional[float] = ..., classifier_threshold: _Optional[float] = ..., sample_fraction: _Optional[float] = ..., semantic_duplicate_threshold: _Optional[float] = ...) -> None: ...

class SourceFile(_message.Message):
    __slots__ = ("upload", "file_name", "artifact", "license", "consent", "retain_until")
    UPLOAD_FIELD_NUMBER: _ClassVar[int]
    FILE_NAME_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    LICENSE_FIELD_NUMBER: _ClassVar[int]
    CONSENT_FIELD_NUMBER: _ClassVar[int]
    RETAIN_UNTIL_FIELD_NUMBER: _ClassVar[int]
    upload: str
    file_name: str
    artifact: _artifact_pb2.ArtifactRef
    license: str
    consent: str
    retain_until: str
    def __init__(self, upload: _Optional[str] = ..., file_name: _Optional[str] = ..., artifact: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., license: _Optional[str] = ..., consent: _Optional[str] = ..., retain_until: _Optional[str] = ...) -> None: ...

class ContaminationSet(_message.Message):
    __slots__ = ("suite", "hashes")
    SUITE_FIELD_NUMBER: _ClassVar[int]
    HASHES_FIELD_NUMBER: _ClassVar[int]
    suite: str
    hashes: _artifact_pb2.ArtifactRef
    def __init__(self, suite: _Optional[str] = ..., hashes: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ...) -> None: ...

class CurationInputs(_message.Message):
    __slots__ = ("uploads", "source_manifest", "contamination_sets", "quality_labels")
    UPLOADS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_MANIFEST_FIELD_NUMBER: _ClassVar[int]
    CONTAMINATION_SETS_FIELD_NUMBER: _ClassVar[int]
    QUALITY_LABELS_FIELD_NUMBER: _ClassVar[int]
    uploads: _containers.RepeatedCompositeFieldContainer[SourceFile]
    source_manifest: _artifact_pb2.ArtifactRef
    contamination_sets: _containers.RepeatedCompositeFieldContainer[ContaminationSet]
    quality_labels: _artifact_pb2.ArtifactRef
    def __init__(self, uploads: _Optional[_Iterable[_Union[SourceFile, _Mapping]]] = ..., source_manifest: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., contamination_sets: _Optional[_Iterable[_Union[ContaminationSet, _Mapping]]] = ..., quality_labels: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ...) -> None: ...

class DryRun(_message.Message):
    __slots__ = ("report", "splits")
    REPORT_FIELD_NUMBER: _ClassVar[int]
    SPLITS_FIELD_NUMBER: _ClassVar[int]
    report: _artifact_pb2.ArtifactRef
    splits: _containers.RepeatedCompositeFieldContainer[SplitCounts]
    def __init__(self, report: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., splits: _Optional[_Iterable[_Union[SplitCounts, _Mapping]]] = ...) -> None: ...

class CurationJob(_message.Message):
    __slots__ = ("name", "uid", "etag", "revision", "create_time", "update_time", "creator", "labels", "dataset", "uploads", "source_version", "recipe", "tokenizer", "status", "dataset_version", "reasons", "inputs", "quality_labels", "dry_run", "partitions", "partitions_reused")
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
    DATASET_FIELD_NUMBER: _ClassVar[int]
    UPLOADS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_VERSION_FIELD_NUMBER: _ClassVar[int]
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DATASET_VERSION_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    QUALITY_LABELS_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_REUSED_FIELD_NUMBER: _ClassVar[int]
    name: str
    uid: str
    etag: str
    revision: int
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    creator: str
    labels: _containers.ScalarMap[str, str]
    dataset: str
    uploads: _containers.RepeatedScalarFieldContainer[str]
    source_version: str
    recipe: CurationRecipe
    tokenizer: _artifact_pb2.ArtifactRef
    status: _job_pb2.JobStatus
    dataset_version: str
    reasons: _containers.RepeatedCompositeFieldContainer[ReasonCount]
    inputs: CurationInputs
    quality_labels: str
    dry_run: DryRun
    partitions: int
    partitions_reused: int
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[str] = ..., etag: _Optional[str] = ..., revision: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., creator: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., dataset: _Optional[str] = ..., uploads: _Optional[_Iterable[str]] = ..., source_version: _Optional[str] = ..., recipe: _Optional[_Union[CurationRecipe, _Mapping]] = ..., tokenizer: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., status: _Optional[_Union[_job_pb2.JobStatus, _Mapping]] = ..., dataset_version: _Optional[str] = ..., reasons: _Optional[_Iterable[_Union[ReasonCount, _Mapping]]] = ..., inputs: _Optional[_Union[CurationInputs, _Mapping]] = ..., quality_labels: _Optional[str] = ..., dry_run: _Optional[_Union[DryRun, _Mapping]] = ..., partitions: _Optional[int] = ..., partitions_reused: _Optional[int] = ...) -> None: ...

class CurationResult(_message.Message):
    __slots__ = ("manifest", "splits", "reasons", "tokenizer_sha256", "report", "partitions", "partitions_reused")
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    SPLITS_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_SHA256_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_REUSED_FIELD_NUMBER: _ClassVar[int]
    manifest: _artifact_pb2.ArtifactRef
    splits: _containers.RepeatedCompositeFieldContainer[SplitCounts]
    reasons: _containers.RepeatedCompositeFieldContainer[ReasonCount]
    tokenizer_sha256: str
    report: _artifact_pb2.ArtifactRef
    partitions: int
    partitions_reused: int
    def __init__(self, manifest: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., splits: _Optional[_Iterable[_Union[SplitCounts, _Mapping]]] = ..., reasons: _Optional[_Iterable[_Union[ReasonCount, _Mapping]]] = ..., tokenizer_sha256: _Optional[str] = ..., report: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., partitions: _Optional[int] = ..., partitions_reused: _Optional[int] = ...) -> None: ...
