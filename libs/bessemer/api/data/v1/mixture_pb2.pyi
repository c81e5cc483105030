import datetime

from bessemer.api.common.v1 import artifact_pb2 as _artifact_pb2
from bessemer.api.common.v1 import options_pb2 as _options_pb2
from bessemer.api.data.v1 import dataset_pb2 as _dataset_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Mixture(_message.Message):
    __slots__ = ("name", "uid", "etag", "revision", "create_time", "update_time", "creator", "labels", "display_name", "components", "temperature", "phases", "kind", "tokenizer_sha256", "sequence_length", "content")
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
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    COMPONENTS_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    PHASES_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_SHA256_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_LENGTH_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    name: str
    uid: str
    etag: str
    revision: int
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    creator: str
    labels: _containers.ScalarMap[str, str]
    display_name: str
    components: _containers.RepeatedCompositeFieldContainer[MixtureComponent]
    temperature: float
    phases: _containers.RepeatedCompositeFieldContainer[MixturePhase]
    kind: _dataset_pb2.DatasetKind
    tokenizer_sha256: str
    sequence_length: int
    content: _artifact_pb2.ArtifactRef
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[str] = ..., etag: _Optional[str] = ..., revision: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., creator: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., display_name: _Optional[str] = ..., components: _Optional[_Iterable[_Union[MixtureComponent, _Mapping]]] = ..., temperature: _Optional[float] = ..., phases: _Optional[_Iterable[_Union[MixturePhase, _Mapping]]] = ..., kind: _Optional[_Union[_dataset_pb2.DatasetKind, str]] = ..., tokenizer_sha256: _Optional[str] = ..., sequence_length: _Optional[int] = ..., content: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ...) -> None: ...

class MixtureComponent(_message.Message):
    __slots__ = ("dataset_version", "weight", "epochs_max", "tokens_max", "manifest", "rows", "tokens")
    DATASET_VERSION_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_MAX_FIELD_NUMBER: _ClassVar[int]
    TOKENS_MAX_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    dataset_version: str
    weight: float
    epochs_max: float
    tokens_max: int
    manifest: _artifact_pb2.ArtifactRef
    rows: int
    tokens: int
    def __init__(self, dataset_version: _Optional[str] = ..., weight: _Optional[float] = ..., epochs_max: _Optional[float] = ..., tokens_max: _Optional[int] = ..., manifest: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., rows: _Optional[int] = ..., tokens: _Optional[int] = ...) -> None: ...

class MixturePhase(_message.Message):
    __slots__ = ("display_name", "share", "weights")
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    display_name: str
    share: float
    weights: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, display_name: _Optional[str] = ..., share: _Optional[float] = ..., weights: _Optional[_Iterable[float]] = ...) -> None: ...
