from bessemer.api.common.v1 import artifact_pb2 as _artifact_pb2
from bessemer.api.common.v1 import options_pb2 as _options_pb2
from bessemer.api.data.v1 import dataset_service_pb2 as _dataset_service_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Light(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LIGHT_UNSPECIFIED: _ClassVar[Light]
    LIGHT_GREEN: _ClassVar[Light]
    LIGHT_AMBER: _ClassVar[Light]
    LIGHT_RED: _ClassVar[Light]

class SourceVerdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SOURCE_VERDICT_UNSPECIFIED: _ClassVar[SourceVerdict]
    SOURCE_VERDICT_USE: _ClassVar[SourceVerdict]
    SOURCE_VERDICT_USE_AFTER_FIXES: _ClassVar[SourceVerdict]
    SOURCE_VERDICT_HOLD_OUT: _ClassVar[SourceVerdict]
    SOURCE_VERDICT_REJECT: _ClassVar[SourceVerdict]

class AdviceMethod(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ADVICE_METHOD_UNSPECIFIED: _ClassVar[AdviceMethod]
    ADVICE_METHOD_PRETRAIN: _ClassVar[AdviceMethod]
    ADVICE_METHOD_CPT: _ClassVar[AdviceMethod]
    ADVICE_METHOD_SFT: _ClassVar[AdviceMethod]
    ADVICE_METHOD_PREFERENCE: _ClassVar[AdviceMethod]
    ADVICE_METHOD_RL: _ClassVar[AdviceMethod]
    ADVICE_METHOD_COLLECT: _ClassVar[AdviceMethod]
LIGHT_UNSPECIFIED: Light
LIGHT_GREEN: Light
LIGHT_AMBER: Light
LIGHT_RED: Light
SOURCE_VERDICT_UNSPECIFIED: SourceVerdict
SOURCE_VERDICT_USE: SourceVerdict
SOURCE_VERDICT_USE_AFTER_FIXES: SourceVerdict
SOURCE_VERDICT_HOLD_OUT: SourceVerdict
SOURCE_VERDICT_REJECT: SourceVerdict
ADVICE_METHOD_UNSPECIFIED: AdviceMethod
ADVICE_METHOD_PRETRAIN: AdviceMethod
ADVICE_METHOD_CPT: AdviceMethod
ADVICE_METHOD_SFT: AdviceMethod
ADVICE_METHOD_PREFERENCE: AdviceMethod
ADVICE_METHOD_RL: AdviceMethod
ADVICE_METHOD_COLLECT: AdviceMethod

class AssessDatasetTask(_message.Message):
    __slots__ = ("dataset_version", "base_parameters", "context_length", "target_parameters", "novelty_nats", "pass_at_8", "preference_pairs", "tokenizer")
    DATASET_VERSION_FIELD_NUMBER: _ClassVar[int]
    BASE_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_LENGTH_FIELD_NUMBER: _ClassVar[int]
    TARGET_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    NOVELTY_NATS_FIELD_NUMBER: _ClassVar[int]
    PASS_AT_8_FIELD_NUMBER: _ClassVar[int]
    PREFERENCE_PAIRS_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_FIELD_NUMBER: _ClassVar[int]
    dataset_version: str
    base_parameters: int
    context_length: int
    target_parameters: int
    novelty_nats: float
    pass_at_8: float
    preference_pairs: int
    tokenizer: _artifact_pb2.ArtifactRef
    def __init__(self, dataset_version: _Optional[str] = ..., base_parameters: _Optional[int] = ..., context_length: _Optional[int] = ..., target_parameters: _Optional[int] = ..., novelty_nats: _Optional[float] = ..., pass_at_8: _Optional[float] = ..., preference_pairs: _Optional[int] = ..., tokenizer: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ...) -> None: ...

class MeasureExample(_message.Message):
    __slots__ = ("source", "value", "excerpt")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    EXCERPT_FIELD_NUMBER: _ClassVar[int]
    source: str
    value: float
    excerpt: str
    def __init__(self, source: _Optional[str] = ..., value: _Optional[float] = ..., excerpt: _Optional[str] = ...) -> None: ...

class Measure(_message.Message):
    __slots__ = ("axis", "name", "unit", "value", "threshold", "light", "interpretation", "histogram", "worst")
    AXIS_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    LIGHT_FIELD_NUMBER: _ClassVar[int]
    INTERPRETATION_FIELD_NUMBER: _ClassVar[int]
    HISTOGRAM_FIELD_NUMBER: _ClassVar[int]
    WORST_FIELD_NUMBER: _ClassVar[int]
    axis: str
    name: str
    unit: str
    value: float
    threshold: float
    light: Light
    interpretation: str
    histogram: _dataset_service_pb2.Histogram
    worst: _containers.RepeatedCompositeFieldContainer[MeasureExample]
    def __init__(self, axis: _Optional[str] = ..., name: _Optional[str] = ..., unit: _Optional[str] = ..., value: _Optional[float] = ..., threshold: _Optional[float] = ..., light: _Optional[_Union[Light, str]] = ..., interpretation: _Optional[str] = ..., histogram: _Optional[_Union[_dataset_service_pb2.Histogram, _Mapping]] = ..., worst: _Optional[_Iterable[_Union[MeasureExample, _Mapping]]] = ...) -> None: ...

class SourceAssessment(_message.Message):
    __slots__ = ("source", "delivered_documents", "kept_documents", "tokens", "verdict", "reasons", "tokens_at_stake")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    KEPT_DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_AT_STAKE_FIELD_NUMBER: _ClassVar[int]
    source: str
    delivered_documents: int
    kept_documents: int
    tokens: int
    verdict: SourceVerdict
    reasons: _containers.RepeatedScalarFieldContainer[str]
    tokens_at_stake: int
    def __init__(self, source: _Optional[str] = ..., delivered_documents: _Optional[int] = ..., kept_documents: _Optional[int] = ..., tokens: _Optional[int] = ..., verdict: _Optional[_Union[SourceVerdict, str]] = ..., reasons: _Optional[_Iterable[str]] = ..., tokens_at_stake: _Optional[int] = ...) -> None: ...

class Repetition(_message.Message):
    __slots__ = ("epochs", "effective_tokens")
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    epochs: int
    effective_tokens: int
    def __init__(self, epochs: _Optional[int] = ..., effective_tokens: _Optional[int] = ...) -> None: ...

class Advice(_message.Message):
    __slots__ = ("method", "light", "why", "flip", "flip_value", "flip_unit")
    METHOD_FIELD_NUMBER: _ClassVar[int]
    LIGHT_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    FLIP_FIELD_NUMBER: _ClassVar[int]
    FLIP_VALUE_FIELD_NUMBER: _ClassVar[int]
    FLIP_UNIT_FIELD_NUMBER: _ClassVar[int]
    method: AdviceMethod
    light: Light
    why: str
    flip: str
    flip_value: float
    flip_unit: str
    def __init__(self, method: _Optional[_Union[AdviceMethod, str]] = ..., light: _Optional[_Union[Light, str]] = ..., why: _Optional[str] = ..., flip: _Optional[str] = ..., flip_value: _Optional[float] = ..., flip_unit: _Optional[str] = ...) -> None: ...

class Assessment(_message.Message):
    __slots__ = ("tokens", "unique_tokens", "unique_share", "repetition", "measures", "sources", "advice", "report")
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    UNIQUE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    UNIQUE_SHARE_FIELD_NUMBER: _ClassVar[int]
    REPETITION_FIELD_NUMBER: _ClassVar[int]
    MEASURES_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    ADVICE_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    tokens: int
    unique_tokens: int
    unique_share: float
    repetition: _containers.RepeatedCompositeFieldContainer[Repetition]
    measures: _containers.RepeatedCompositeFieldContainer[Measure]
    sources: _containers.RepeatedCompositeFieldContainer[SourceAssessment]
    advice: _containers.RepeatedCompositeFieldContainer[Advice]
    report: _artifact_pb2.ArtifactRef
    def __init__(self, tokens: _Optional[int] = ..., unique_tokens: _Optional[int] = ..., unique_share: _Optional[float] = ..., repetition: _Optional[_Iterable[_Union[Repetition, _Mapping]]] = ..., measures: _Optional[_Iterable[_Union[Measure, _Mapping]]] = ..., sources: _Optional[_Iterable[_Union[SourceAssessment, _Mapping]]] = ..., advice: _Optional[_Iterable[_Union[Advice, _Mapping]]] = ..., report: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ...) -> None: ...
