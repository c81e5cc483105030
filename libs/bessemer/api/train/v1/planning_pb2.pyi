from bessemer.api.common.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ForecastBasis(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FORECAST_BASIS_UNSPECIFIED: _ClassVar[ForecastBasis]
    FORECAST_BASIS_CALIBRATION: _ClassVar[ForecastBasis]
    FORECAST_BASIS_SAME_SHAPE: _ClassVar[ForecastBasis]
    FORECAST_BASIS_OTHER_SHAPE: _ClassVar[ForecastBasis]
    FORECAST_BASIS_DEVICE_TABLE: _ClassVar[ForecastBasis]

class PlanKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PLAN_KIND_UNSPECIFIED: _ClassVar[PlanKind]
    PLAN_KIND_PRETRAIN: _ClassVar[PlanKind]
    PLAN_KIND_CONTINUE: _ClassVar[PlanKind]
    PLAN_KIND_ADAPT: _ClassVar[PlanKind]
    PLAN_KIND_NONE: _ClassVar[PlanKind]
FORECAST_BASIS_UNSPECIFIED: ForecastBasis
FORECAST_BASIS_CALIBRATION: ForecastBasis
FORECAST_BASIS_SAME_SHAPE: ForecastBasis
FORECAST_BASIS_OTHER_SHAPE: ForecastBasis
FORECAST_BASIS_DEVICE_TABLE: ForecastBasis
PLAN_KIND_UNSPECIFIED: PlanKind
PLAN_KIND_PRETRAIN: PlanKind
PLAN_KIND_CONTINUE: PlanKind
PLAN_KIND_ADAPT: PlanKind
PLAN_KIND_NONE: PlanKind

class Device(_message.Message):
    __slots__ = ("kind", "count", "memory_bytes", "peak_flops", "utilization", "price_per_hour", "watts", "price_per_kwh")
    KIND_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    PEAK_FLOPS_FIELD_NUMBER: _ClassVar[int]
    UTILIZATION_FIELD_NUMBER: _ClassVar[int]
    PRICE_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    WATTS_FIELD_NUMBER: _ClassVar[int]
    PRICE_PER_KWH_FIELD_NUMBER: _ClassVar[int]
    kind: str
    count: int
    memory_bytes: int
    peak_flops: float
    utilization: float
    price_per_hour: float
    watts: float
    price_per_kwh: float
    def __init__(self, kind: _Optional[str] = ..., count: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., peak_flops: _Optional[float] = ..., utilization: _Optional[float] = ..., price_per_hour: _Optional[float] = ..., watts: _Optional[float] = ..., price_per_kwh: _Optional[float] = ...) -> None: ...

class LadderRun(_message.Message):
    __slots__ = ("parameters", "tokens", "loss")
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    parameters: int
    tokens: int
    loss: float
    def __init__(self, parameters: _Optional[int] = ..., tokens: _Optional[int] = ..., loss: _Optional[float] = ...) -> None: ...

class ParameterCounts(_message.Message):
    __slots__ = ("total", "active", "embedding", "attention", "feed_forward", "experts", "norms", "trained")
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    ATTENTION_FIELD_NUMBER: _ClassVar[int]
    FEED_FORWARD_FIELD_NUMBER: _ClassVar[int]
    EXPERTS_FIELD_NUMBER: _ClassVar[int]
    NORMS_FIELD_NUMBER: _ClassVar[int]
    TRAINED_FIELD_NUMBER: _ClassVar[int]
    total: int
    active: int
    embedding: int
    attention: int
    feed_forward: int
    experts: int
    norms: int
    trained: int
    def __init__(self, total: _Optional[int] = ..., active: _Optional[int] = ..., embedding: _Optional[int] = ..., attention: _Optional[int] = ..., feed_forward: _Optional[int] = ..., experts: _Optional[int] = ..., norms: _Optional[int] = ..., trained: _Optional[int] = ...) -> None: ...

class MemoryForecast(_message.Message):
    __slots__ = ("devices", "weights", "masters", "gradients", "moments", "activations", "temporary", "runtime", "total", "fits")
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    MASTERS_FIELD_NUMBER: _ClassVar[int]
    GRADIENTS_FIELD_NUMBER: _ClassVar[int]
    MOMENTS_FIELD_NUMBER: _ClassVar[int]
    ACTIVATIONS_FIELD_NUMBER: _ClassVar[int]
    TEMPORARY_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    FITS_FIELD_NUMBER: _ClassVar[int]
    devices: int
    weights: int
    masters: int
    gradients: int
    moments: int
    activations: int
    temporary: int
    runtime: int
    total: int
    fits: bool
    def __init__(self, devices: _Optional[int] = ..., weights: _Optional[int] = ..., masters: _Optional[int] = ..., gradients: _Optional[int] = ..., moments: _Optional[int] = ..., activations: _Optional[int] = ..., temporary: _Optional[int] = ..., runtime: _Optional[int] = ..., total: _Optional[int] = ..., fits: _Optional[bool] = ...) -> None: ...

class Interval(_message.Message):
    __slots__ = ("value", "low", "high")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    value: float
    low: float
    high: float
    def __init__(self, value: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ...) -> None: ...

class Forecast(_message.Message):
    __slots__ = ("steps", "tokens", "epochs", "flops", "seconds", "tokens_per_second", "basis", "measured_job", "memory", "device_hours", "energy_kwh", "cost", "loss", "loss_basis")
    STEPS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    FLOPS_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    BASIS_FIELD_NUMBER: _ClassVar[int]
    MEASURED_JOB_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    DEVICE_HOURS_FIELD_NUMBER: _ClassVar[int]
    ENERGY_KWH_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    LOSS_BASIS_FIELD_NUMBER: _ClassVar[int]
    steps: int
    tokens: int
    epochs: float
    flops: float
    seconds: Interval
    tokens_per_second: float
    basis: ForecastBasis
    measured_job: str
    memory: MemoryForecast
    device_hours: float
    energy_kwh: float
    cost: float
    loss: Interval
    loss_basis: str
    def __init__(self, steps: _Optional[int] = ..., tokens: _Optional[int] = ..., epochs: _Optional[float] = ..., flops: _Optional[float] = ..., seconds: _Optional[_Union[Interval, _Mapping]] = ..., tokens_per_second: _Optional[float] = ..., basis: _Optional[_Union[ForecastBasis, str]] = ..., measured_job: _Optional[str] = ..., memory: _Optional[_Union[MemoryForecast, _Mapping]] = ..., device_hours: _Optional[float] = ..., energy_kwh: _Optional[float] = ..., cost: _Optional[float] = ..., loss: _Optional[_Union[Interval, _Mapping]] = ..., loss_basis: _Optional[str] = ...) -> None: ...

class DataSufficiency(_message.Message):
    __slots__ = ("unique_tokens", "rows", "effective_tokens", "needed", "available", "unit")
    UNIQUE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    NEEDED_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    unique_tokens: int
    rows: int
    effective_tokens: float
    needed: float
    available: float
    unit: str
    def __init__(self, unique_tokens: _Optional[int] = ..., rows: _Optional[int] = ..., effective_tokens: _Optional[float] = ..., needed: _Optional[float] = ..., available: _Optional[float] = ..., unit: _Optional[str] = ...) -> None: ...

class PlanOption(_message.Message):
    __slots__ = ("kind", "title", "feasible", "why", "flip", "parameters", "forecast", "data")
    KIND_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    FEASIBLE_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    FLIP_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    FORECAST_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    kind: PlanKind
    title: str
    feasible: bool
    why: str
    flip: str
    parameters: int
    forecast: Forecast
    data: DataSufficiency
    def __init__(self, kind: _Optional[_Union[PlanKind, str]] = ..., title: _Optional[str] = ..., feasible: _Optional[bool] = ..., why: _Optional[str] = ..., flip: _Optional[str] = ..., parameters: _Optional[int] = ..., forecast: _Optional[_Union[Forecast, _Mapping]] = ..., data: _Optional[_Union[DataSufficiency, _Mapping]] = ...) -> None: ...

class Probe(_message.Message):
    __slots__ = ("title", "steps", "tokens", "seconds", "decision")
    TITLE_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    title: str
    steps: int
    tokens: int
    seconds: float
    decision: str
    def __init__(self, title: _Optional[str] = ..., steps: _Optional[int] = ..., tokens: _Optional[int] = ..., seconds: _Optional[float] = ..., decision: _Optional[str] = ...) -> None: ...
