from bessemer.api.common.v1 import options_pb2 as _options_pb2
from bessemer.api.train.v1 import planning_pb2 as _planning_pb2
from bessemer.api.train.v1 import training_job_pb2 as _training_job_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EstimateTrainingJobRequest(_message.Message):
    __slots__ = ("parent", "base_model_version", "config_json", "dataset_versions", "mixture", "recipe", "device", "calibration_job", "ladder", "budget_hours", "novelty")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    BASE_MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    CONFIG_JSON_FIELD_NUMBER: _ClassVar[int]
    DATASET_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    MIXTURE_FIELD_NUMBER: _ClassVar[int]
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_JOB_FIELD_NUMBER: _ClassVar[int]
    LADDER_FIELD_NUMBER: _ClassVar[int]
    BUDGET_HOURS_FIELD_NUMBER: _ClassVar[int]
    NOVELTY_FIELD_NUMBER: _ClassVar[int]
    parent: str
    base_model_version: str
    config_json: str
    dataset_versions: _containers.RepeatedScalarFieldContainer[str]
    mixture: str
    recipe: _training_job_pb2.TrainingRecipe
    device: _planning_pb2.Device
    calibration_job: str
    ladder: _containers.RepeatedCompositeFieldContainer[_planning_pb2.LadderRun]
    budget_hours: float
    novelty: float
    def __init__(self, parent: _Optional[str] = ..., base_model_version: _Optional[str] = ..., config_json: _Optional[str] = ..., dataset_versions: _Optional[_Iterable[str]] = ..., mixture: _Optional[str] = ..., recipe: _Optional[_Union[_training_job_pb2.TrainingRecipe, _Mapping]] = ..., device: _Optional[_Union[_planning_pb2.Device, _Mapping]] = ..., calibration_job: _Optional[str] = ..., ladder: _Optional[_Iterable[_Union[_planning_pb2.LadderRun, _Mapping]]] = ..., budget_hours: _Optional[float] = ..., novelty: _Optional[float] = ...) -> None: ...

class EstimateTrainingJobResponse(_message.Message):
    __slots__ = ("parameters", "recipe", "forecast", "memory", "plans", "probe", "assumptions")
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    FORECAST_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    PLANS_FIELD_NUMBER: _ClassVar[int]
    PROBE_FIELD_NUMBER: _ClassVar[int]
    ASSUMPTIONS_FIELD_NUMBER: _ClassVar[int]
    parameters: _planning_pb2.ParameterCounts
    recipe: _training_job_pb2.TrainingRecipe
    forecast: _planning_pb2.Forecast
    memory: _containers.RepeatedCompositeFieldContainer[_planning_pb2.MemoryForecast]
    plans: _containers.RepeatedCompositeFieldContainer[_planning_pb2.PlanOption]
    probe: _planning_pb2.Probe
    assumptions: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, parameters: _Optional[_Union[_planning_pb2.ParameterCounts, _Mapping]] = ..., recipe: _Optional[_Union[_training_job_pb2.TrainingRecipe, _Mapping]] = ..., forecast: _Optional[_Union[_planning_pb2.Forecast, _Mapping]] = ..., memory: _Optional[_Iterable[_Union[_planning_pb2.MemoryForecast, _Mapping]]] = ..., plans: _Optional[_Iterable[_Union[_planning_pb2.PlanOption, _Mapping]]] = ..., probe: _Optional[_Union[_planning_pb2.Probe, _Mapping]] = ..., assumptions: _Optional[_Iterable[str]] = ...) -> None: ...
