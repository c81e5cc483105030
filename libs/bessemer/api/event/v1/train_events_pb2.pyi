from bessemer.api.train.v1 import mixture_job_pb2 as _mixture_job_pb2
from bessemer.api.train.v1 import model_pb2 as _model_pb2
from bessemer.api.train.v1 import training_job_pb2 as _training_job_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ModelChanged(_message.Message):
    __slots__ = ("model", "previous_state")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_STATE_FIELD_NUMBER: _ClassVar[int]
    model: _model_pb2.Model
    previous_state: str
    def __init__(self, model: _Optional[_Union[_model_pb2.Model, _Mapping]] = ..., previous_state: _Optional[str] = ...) -> None: ...

class ModelVersionChanged(_message.Message):
    __slots__ = ("model_version", "previous_state")
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_STATE_FIELD_NUMBER: _ClassVar[int]
    model_version: _model_pb2.ModelVersion
    previous_state: str
    def __init__(self, model_version: _Optional[_Union[_model_pb2.ModelVersion, _Mapping]] = ..., previous_state: _Optional[str] = ...) -> None: ...

class ModelJobChanged(_message.Message):
    __slots__ = ("model_job", "previous_state")
    MODEL_JOB_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_STATE_FIELD_NUMBER: _ClassVar[int]
    model_job: _model_pb2.ModelJob
    previous_state: str
    def __init__(self, model_job: _Optional[_Union[_model_pb2.ModelJob, _Mapping]] = ..., previous_state: _Optional[str] = ...) -> None: ...

class MixtureJobChanged(_message.Message):
    __slots__ = ("mixture_job", "previous_state")
    MIXTURE_JOB_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_STATE_FIELD_NUMBER: _ClassVar[int]
    mixture_job: _mixture_job_pb2.MixtureJob
    previous_state: str
    def __init__(self, mixture_job: _Optional[_Union[_mixture_job_pb2.MixtureJob, _Mapping]] = ..., previous_state: _Optional[str] = ...) -> None: ...

class TrainingJobChanged(_message.Message):
    __slots__ = ("training_job", "previous_state")
    TRAINING_JOB_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_STATE_FIELD_NUMBER: _ClassVar[int]
    training_job: _training_job_pb2.TrainingJob
    previous_state: str
    def __init__(self, training_job: _Optional[_Union[_training_job_pb2.TrainingJob, _Mapping]] = ..., previous_state: _Optional[str] = ...) -> None: ...

class CheckpointChanged(_message.Message):
    __slots__ = ("checkpoint", "previous_state")
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_STATE_FIELD_NUMBER: _ClassVar[int]
    checkpoint: _training_job_pb2.Checkpoint
    previous_state: str
    def __init__(self, checkpoint: _Optional[_Union[_training_job_pb2.Checkpoint, _Mapping]] = ..., previous_state: _Optional[str] = ...) -> None: ...
