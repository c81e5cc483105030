from bessemer.api.common.v1 import options_pb2 as _options_pb2
from bessemer.api.data.v1 import mixture_pb2 as _mixture_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class MixtureCap(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MIXTURE_CAP_UNSPECIFIED: _ClassVar[MixtureCap]
    MIXTURE_CAP_EPOCHS: _ClassVar[MixtureCap]
    MIXTURE_CAP_TOKENS: _ClassVar[MixtureCap]
MIXTURE_CAP_UNSPECIFIED: MixtureCap
MIXTURE_CAP_EPOCHS: MixtureCap
MIXTURE_CAP_TOKENS: MixtureCap

class CreateMixtureRequest(_message.Message):
    __slots__ = ("parent", "mixture_id", "mixture", "request_id")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    MIXTURE_ID_FIELD_NUMBER: _ClassVar[int]
    MIXTURE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    parent: str
    mixture_id: str
    mixture: _mixture_pb2.Mixture
    request_id: str
    def __init__(self, parent: _Optional[str] = ..., mixture_id: _Optional[str] = ..., mixture: _Optional[_Union[_mixture_pb2.Mixture, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class GetMixtureRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListMixturesRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListMixturesResponse(_message.Message):
    __slots__ = ("mixtures", "next_page_token")
    MIXTURES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    mixtures: _containers.RepeatedCompositeFieldContainer[_mixture_pb2.Mixture]
    next_page_token: str
    def __init__(self, mixtures: _Optional[_Iterable[_Union[_mixture_pb2.Mixture, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class PreviewMixtureRequest(_message.Message):
    __slots__ = ("parent", "name", "mixture", "tokens", "rows")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    MIXTURE_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    parent: str
    name: str
    mixture: _mixture_pb2.Mixture
    tokens: int
    rows: int
    def __init__(self, parent: _Optional[str] = ..., name: _Optional[str] = ..., mixture: _Optional[_Union[_mixture_pb2.Mixture, _Mapping]] = ..., tokens: _Optional[int] = ..., rows: _Optional[int] = ...) -> None: ...

class PreviewMixtureResponse(_message.Message):
    __slots__ = ("components", "parts", "rows", "tokens", "tokens_short", "tokens_estimated", "first_rows")
    COMPONENTS_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_SHORT_FIELD_NUMBER: _ClassVar[int]
    TOKENS_ESTIMATED_FIELD_NUMBER: _ClassVar[int]
    FIRST_ROWS_FIELD_NUMBER: _ClassVar[int]
    components: _containers.RepeatedCompositeFieldContainer[MixtureShare]
    parts: _containers.RepeatedCompositeFieldContainer[MixtureShare]
    rows: int
    tokens: int
    tokens_short: int
    tokens_estimated: bool
    first_rows: _containers.RepeatedCompositeFieldContainer[MixtureRow]
    def __init__(self, components: _Optional[_Iterable[_Union[MixtureShare, _Mapping]]] = ..., parts: _Optional[_Iterable[_Union[MixtureShare, _Mapping]]] = ..., rows: _Optional[int] = ..., tokens: _Optional[int] = ..., tokens_short: _Optional[int] = ..., tokens_estimated: _Optional[bool] = ..., first_rows: _Optional[_Iterable[_Union[MixtureRow, _Mapping]]] = ...) -> None: ...

class MixtureShare(_message.Message):
    __slots__ = ("phase", "dataset_version", "rows", "tokens", "share", "wanted_share", "epochs", "cap", "tokens_short")
    PHASE_FIELD_NUMBER: _ClassVar[int]
    DATASET_VERSION_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    WANTED_SHARE_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    CAP_FIELD_NUMBER: _ClassVar[int]
    TOKENS_SHORT_FIELD_NUMBER: _ClassVar[int]
    phase: str
    dataset_version: str
    rows: int
    tokens: int
    share: float
    wanted_share: float
    epochs: float
    cap: MixtureCap
    tokens_short: int
    def __init__(self, phase: _Optional[str] = ..., dataset_version: _Optional[str] = ..., rows: _Optional[int] = ..., tokens: _Optional[int] = ..., share: _Optional[float] = ..., wanted_share: _Optional[float] = ..., epochs: _Optional[float] = ..., cap: _Optional[_Union[MixtureCap, str]] = ..., tokens_short: _Optional[int] = ...) -> None: ...

class MixtureRow(_message.Message):
    __slots__ = ("row", "phase", "dataset_version", "component_row", "epoch")
    ROW_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    DATASET_VERSION_FIELD_NUMBER: _ClassVar[int]
    COMPONENT_ROW_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    row: int
    phase: str
    dataset_version: str
    component_row: int
    epoch: int
    def __init__(self, row: _Optional[int] = ..., phase: _Optional[str] = ..., dataset_version: _Optional[str] = ..., component_row: _Optional[int] = ..., epoch: _Optional[int] = ...) -> None: ...
