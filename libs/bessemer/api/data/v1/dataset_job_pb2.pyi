import datetime

from bessemer.api.common.v1 import artifact_pb2 as _artifact_pb2
from bessemer.api.common.v1 import job_pb2 as _job_pb2
from bessemer.api.common.v1 import options_pb2 as _options_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DatasetJob(_message.Message):
    __slots__ = ("name", "uid", "etag", "revision", "create_time", "update_time", "creator", "labels", "export", "train_tokenizer", "status", "inputs", "result")
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
    EXPORT_FIELD_NUMBER: _ClassVar[int]
    TRAIN_TOKENIZER_FIELD_NUMBER: _ClassVar[int]
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
    export: ExportDatasetTask
    train_tokenizer: TrainTokenizerTask
    status: _job_pb2.JobStatus
    inputs: DatasetJobInputs
    result: DatasetJobResult
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[str] = ..., etag: _Optional[str] = ..., revision: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., creator: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., export: _Optional[_Union[ExportDatasetTask, _Mapping]] = ..., train_tokenizer: _Optional[_Union[TrainTokenizerTask, _Mapping]] = ..., status: _Optional[_Union[_job_pb2.JobStatus, _Mapping]] = ..., inputs: _Optional[_Union[DatasetJobInputs, _Mapping]] = ..., result: _Optional[_Union[DatasetJobResult, _Mapping]] = ...) -> None: ...

class DatasetJobInputs(_message.Message):
    __slots__ = ("manifest",)
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    manifest: _artifact_pb2.ArtifactRef
    def __init__(self, manifest: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ...) -> None: ...

class ExportDatasetTask(_message.Message):
    __slots__ = ("dataset_version", "format")
    DATASET_VERSION_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    dataset_version: str
    format: str
    def __init__(self, dataset_version: _Optional[str] = ..., format: _Optional[str] = ...) -> None: ...

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

class DatasetJobResult(_message.Message):
    __slots__ = ("archive", "trained_tokenizer")
    ARCHIVE_FIELD_NUMBER: _ClassVar[int]
    TRAINED_TOKENIZER_FIELD_NUMBER: _ClassVar[int]
    archive: _artifact_pb2.ArtifactRef
    trained_tokenizer: TrainedTokenizer
    def __init__(self, archive: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., trained_tokenizer: _Optional[_Union[TrainedTokenizer, _Mapping]] = ...) -> None: ...

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
