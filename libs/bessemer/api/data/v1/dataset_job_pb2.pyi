import datetime

from bessemer.api.common.v1 import artifact_pb2 as _artifact_pb2
from bessemer.api.common.v1 import job_pb2 as _job_pb2
from bessemer.api.common.v1 import options_pb2 as _options_pb2
from bessemer.api.data.v1 import assessment_pb2 as _assessment_pb2
from bessemer.api.data.v1 import dataset_pb2 as _dataset_pb2
from bessemer.api.data.v1 import feedback_curation_pb2 as _feedback_curation_pb2
from bessemer.api.data.v1 import lineage_service_pb2 as _lineage_service_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DatasetJob(_message.Message):
    __slots__ = ("name", "uid", "etag", "revision", "create_time", "update_time", "creator", "labels", "assess", "export", "erase", "train_tokenizer", "curate_feedback", "status", "inputs", "result")
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
    ERASE_FIELD_NUMBER: _ClassVar[int]
    TRAIN_TOKENIZER_FIELD_NUMBER: _ClassVar[int]
    CURATE_FEEDBACK_FIELD_NUMBER: _ClassVar[int]
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
    erase: EraseSubjectTask
    train_tokenizer: TrainTokenizerTask
    curate_feedback: _feedback_curation_pb2.CurateFeedbackTask
    status: _job_pb2.JobStatus
    inputs: DatasetJobInputs
    result: DatasetJobResult
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[str] = ..., etag: _Optional[str] = ..., revision: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., creator: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., assess: _Optional[_Union[_assessment_pb2.AssessDatasetTask, _Mapping]] = ..., export: _Optional[_Union[ExportDatasetTask, _Mapping]] = ..., erase: _Optional[_Union[EraseSubjectTask, _Mapping]] = ..., train_tokenizer: _Optional[_Union[TrainTokenizerTask, _Mapping]] = ..., curate_feedback: _Optional[_Union[_feedback_curation_pb2.CurateFeedbackTask, _Mapping]] = ..., status: _Optional[_Union[_job_pb2.JobStatus, _Mapping]] = ..., inputs: _Optional[_Union[DatasetJobInputs, _Mapping]] = ..., result: _Optional[_Union[DatasetJobResult, _Mapping]] = ...) -> None: ...

class DatasetJobInputs(_message.Message):
    __slots__ = ("manifest", "tokenizer", "lineage", "related", "identifiers", "feedback", "contamination_sets")
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_FIELD_NUMBER: _ClassVar[int]
    LINEAGE_FIELD_NUMBER: _ClassVar[int]
    RELATED_FIELD_NUMBER: _ClassVar[int]
    IDENTIFIERS_FIELD_NUMBER: _ClassVar[int]
    FEEDBACK_FIELD_NUMBER: _ClassVar[int]
    CONTAMINATION_SETS_FIELD_NUMBER: _ClassVar[int]
    manifest: _artifact_pb2.ArtifactRef
    tokenizer: _artifact_pb2.ArtifactRef
    lineage: _lineage_service_pb2.Lineage
    related: _containers.RepeatedCompositeFieldContainer[PinnedVersion]
    identifiers: _artifact_pb2.ArtifactRef
    feedback: _artifact_pb2.ArtifactRef
    contamination_sets: _containers.RepeatedCompositeFieldContainer[_dataset_pb2.ContaminationSet]
    def __init__(self, manifest: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., tokenizer: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., lineage: _Optional[_Union[_lineage_service_pb2.Lineage, _Mapping]] = ..., related: _Optional[_Iterable[_Union[PinnedVersion, _Mapping]]] = ..., identifiers: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., feedback: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., contamination_sets: _Optional[_Iterable[_Union[_dataset_pb2.ContaminationSet, _Mapping]]] = ...) -> None: ...

class PinnedVersion(_message.Message):
    __slots__ = ("name", "manifest")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    name: str
    manifest: _artifact_pb2.ArtifactRef
    def __init__(self, name: _Optional[str] = ..., manifest: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ...) -> None: ...

class ExportDatasetTask(_message.Message):
    __slots__ = ("dataset_version", "format")
    DATASET_VERSION_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    dataset_version: str
    format: str
    def __init__(self, dataset_version: _Optional[str] = ..., format: _Optional[str] = ...) -> None: ...

class EraseSubjectTask(_message.Message):
    __slots__ = ("dataset_version", "sources", "documents", "identifiers")
    DATASET_VERSION_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    IDENTIFIERS_FIELD_NUMBER: _ClassVar[int]
    dataset_version: str
    sources: _containers.RepeatedScalarFieldContainer[str]
    documents: _containers.RepeatedScalarFieldContainer[str]
    identifiers: str
    def __init__(self, dataset_version: _Optional[str] = ..., sources: _Optional[_Iterable[str]] = ..., documents: _Optional[_Iterable[str]] = ..., identifiers: _Optional[str] = ...) -> None: ...

class ErasedPiece(_message.Message):
    __slots__ = ("file", "row", "offset", "length", "start")
    FILE_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    file: str
    row: int
    offset: int
    length: int
    start: int
    def __init__(self, file: _Optional[str] = ..., row: _Optional[int] = ..., offset: _Optional[int] = ..., length: _Optional[int] = ..., start: _Optional[int] = ...) -> None: ...

class ErasedDocument(_message.Message):
    __slots__ = ("id", "source", "split", "rows", "pieces")
    ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    PIECES_FIELD_NUMBER: _ClassVar[int]
    id: str
    source: str
    split: str
    rows: int
    pieces: _containers.RepeatedCompositeFieldContainer[ErasedPiece]
    def __init__(self, id: _Optional[str] = ..., source: _Optional[str] = ..., split: _Optional[str] = ..., rows: _Optional[int] = ..., pieces: _Optional[_Iterable[_Union[ErasedPiece, _Mapping]]] = ...) -> None: ...

class RewrittenFile(_message.Message):
    __slots__ = ("path", "old_sha256", "new_sha256")
    PATH_FIELD_NUMBER: _ClassVar[int]
    OLD_SHA256_FIELD_NUMBER: _ClassVar[int]
    NEW_SHA256_FIELD_NUMBER: _ClassVar[int]
    path: str
    old_sha256: str
    new_sha256: str
    def __init__(self, path: _Optional[str] = ..., old_sha256: _Optional[str] = ..., new_sha256: _Optional[str] = ...) -> None: ...

class ErasureReceipt(_message.Message):
    __slots__ = ("selector_sha256", "dataset_version", "old_sha256", "new_sha256", "num_documents", "documents", "files", "rows_changed", "rows_dropped", "tokens_removed", "models", "deployments", "held_by", "uploads", "time", "receipt_artifact")
    SELECTOR_SHA256_FIELD_NUMBER: _ClassVar[int]
    DATASET_VERSION_FIELD_NUMBER: _ClassVar[int]
    OLD_SHA256_FIELD_NUMBER: _ClassVar[int]
    NEW_SHA256_FIELD_NUMBER: _ClassVar[int]
    NUM_DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    ROWS_CHANGED_FIELD_NUMBER: _ClassVar[int]
    ROWS_DROPPED_FIELD_NUMBER: _ClassVar[int]
    TOKENS_REMOVED_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENTS_FIELD_NUMBER: _ClassVar[int]
    HELD_BY_FIELD_NUMBER: _ClassVar[int]
    UPLOADS_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    selector_sha256: str
    dataset_version: str
    old_sha256: str
    new_sha256: str
    num_documents: int
    documents: _containers.RepeatedCompositeFieldContainer[ErasedDocument]
    files: _containers.RepeatedCompositeFieldContainer[RewrittenFile]
    rows_changed: int
    rows_dropped: int
    tokens_removed: int
    models: _containers.RepeatedCompositeFieldContainer[_lineage_service_pb2.LineageNode]
    deployments: _containers.RepeatedCompositeFieldContainer[_lineage_service_pb2.LineageNode]
    held_by: _containers.RepeatedCompositeFieldContainer[_lineage_service_pb2.LineageNode]
    uploads: _containers.RepeatedScalarFieldContainer[str]
    time: _timestamp_pb2.Timestamp
    receipt_artifact: _artifact_pb2.ArtifactRef
    def __init__(self, selector_sha256: _Optional[str] = ..., dataset_version: _Optional[str] = ..., old_sha256: _Optional[str] = ..., new_sha256: _Optional[str] = ..., num_documents: _Optional[int] = ..., documents: _Optional[_Iterable[_Union[ErasedDocument, _Mapping]]] = ..., files: _Optional[_Iterable[_Union[RewrittenFile, _Mapping]]] = ..., rows_changed: _Optional[int] = ..., rows_dropped: _Optional[int] = ..., tokens_removed: _Optional[int] = ..., models: _Optional[_Iterable[_Union[_lineage_service_pb2.LineageNode, _Mapping]]] = ..., deployments: _Optional[_Iterable[_Union[_lineage_service_pb2.LineageNode, _Mapping]]] = ..., held_by: _Optional[_Iterable[_Union[_lineage_service_pb2.LineageNode, _Mapping]]] = ..., uploads: _Optional[_Iterable[str]] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., receipt_artifact: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ...) -> None: ...

class DatasetJobResult(_message.Message):
    __slots__ = ("archive", "assessment", "receipt", "trained_tokenizer", "dataset_version", "sealed", "feedback")
    ARCHIVE_FIELD_NUMBER: _ClassVar[int]
    ASSESSMENT_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    TRAINED_TOKENIZER_FIELD_NUMBER: _ClassVar[int]
    DATASET_VERSION_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    FEEDBACK_FIELD_NUMBER: _ClassVar[int]
    archive: _artifact_pb2.ArtifactRef
    assessment: _assessment_pb2.Assessment
    receipt: ErasureReceipt
    trained_tokenizer: TrainedTokenizer
    dataset_version: str
    sealed: _dataset_pb2.CurationResult
    feedback: _feedback_curation_pb2.FeedbackCuration
    def __init__(self, archive: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., assessment: _Optional[_Union[_assessment_pb2.Assessment, _Mapping]] = ..., receipt: _Optional[_Union[ErasureReceipt, _Mapping]] = ..., trained_tokenizer: _Optional[_Union[TrainedTokenizer, _Mapping]] = ..., dataset_version: _Optional[str] = ..., sealed: _Optional[_Union[_dataset_pb2.CurationResult, _Mapping]] = ..., feedback: _Optional[_Union[_feedback_curation_pb2.FeedbackCuration, _Mapping]] = ...) -> None: ...

class TrainTokenizerTask(_message.Message):
    __slots__ = ("dataset_version", "vocabulary_size", "base", "added_tokens", "special_tokens", "sample_bytes_max", "others")
    DATASET_VERSION_FIELD_NUMBER: _ClassVar[int]
    VOCABULARY_SIZE_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    ADDED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    SPECIAL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_BYTES_MAX_FIELD_NUMBER: _ClassVar[int]
    OTHERS_FIELD_NUMBER: _ClassVar[int]
    dataset_version: str
    vocabulary_size: int
    base: _artifact_pb2.ArtifactRef
    added_tokens: int
    special_tokens: _containers.RepeatedScalarFieldContainer[str]
    sample_bytes_max: int
    others: _containers.RepeatedCompositeFieldContainer[ComparedTokenizer]
    def __init__(self, dataset_version: _Optional[str] = ..., vocabulary_size: _Optional[int] = ..., base: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., added_tokens: _Optional[int] = ..., special_tokens: _Optional[_Iterable[str]] = ..., sample_bytes_max: _Optional[int] = ..., others: _Optional[_Iterable[_Union[ComparedTokenizer, _Mapping]]] = ...) -> None: ...

class ComparedTokenizer(_message.Message):
    __slots__ = ("label", "tokenizer")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_FIELD_NUMBER: _ClassVar[int]
    label: str
    tokenizer: _artifact_pb2.ArtifactRef
    def __init__(self, label: _Optional[str] = ..., tokenizer: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ...) -> None: ...

class TrainedTokenizer(_message.Message):
    __slots__ = ("tokenizer", "vocabulary_size", "added_tokens", "sample_bytes", "measured_split", "rows", "verdict", "initialisation", "report")
    TOKENIZER_FIELD_NUMBER: _ClassVar[int]
    VOCABULARY_SIZE_FIELD_NUMBER: _ClassVar[int]
    ADDED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEASURED_SPLIT_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    INITIALISATION_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    tokenizer: _artifact_pb2.ArtifactRef
    vocabulary_size: int
    added_tokens: int
    sample_bytes: int
    measured_split: str
    rows: _containers.RepeatedCompositeFieldContainer[FertilityRow]
    verdict: ExtensionVerdict
    initialisation: _artifact_pb2.ArtifactRef
    report: _artifact_pb2.ArtifactRef
    def __init__(self, tokenizer: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., vocabulary_size: _Optional[int] = ..., added_tokens: _Optional[int] = ..., sample_bytes: _Optional[int] = ..., measured_split: _Optional[str] = ..., rows: _Optional[_Iterable[_Union[FertilityRow, _Mapping]]] = ..., verdict: _Optional[_Union[ExtensionVerdict, _Mapping]] = ..., initialisation: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., report: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ...) -> None: ...

class FertilityRow(_message.Message):
    __slots__ = ("group", "value", "bytes", "words", "tokenizers")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    TOKENIZERS_FIELD_NUMBER: _ClassVar[int]
    group: str
    value: str
    bytes: int
    words: int
    tokenizers: _containers.RepeatedCompositeFieldContainer[Fertility]
    def __init__(self, group: _Optional[str] = ..., value: _Optional[str] = ..., bytes: _Optional[int] = ..., words: _Optional[int] = ..., tokenizers: _Optional[_Iterable[_Union[Fertility, _Mapping]]] = ...) -> None: ...

class Fertility(_message.Message):
    __slots__ = ("label", "tokens", "bytes_per_token", "tokens_per_word")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    BYTES_PER_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOKENS_PER_WORD_FIELD_NUMBER: _ClassVar[int]
    label: str
    tokens: int
    bytes_per_token: float
    tokens_per_word: float
    def __init__(self, label: _Optional[str] = ..., tokens: _Optional[int] = ..., bytes_per_token: _Optional[float] = ..., tokens_per_word: _Optional[float] = ...) -> None: ...

class ExtensionVerdict(_message.Message):
    __slots__ = ("worth_it", "saving", "saving_min", "tokens", "tokens_min", "reason")
    WORTH_IT_FIELD_NUMBER: _ClassVar[int]
    SAVING_FIELD_NUMBER: _ClassVar[int]
    SAVING_MIN_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_MIN_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    worth_it: bool
    saving: float
    saving_min: float
    tokens: int
    tokens_min: int
    reason: str
    def __init__(self, worth_it: _Optional[bool] = ..., saving: _Optional[float] = ..., saving_min: _Optional[float] = ..., tokens: _Optional[int] = ..., tokens_min: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...
