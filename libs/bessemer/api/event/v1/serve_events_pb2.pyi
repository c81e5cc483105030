from bessemer.api.serve.v1 import api_key_pb2 as _api_key_pb2
from bessemer.api.serve.v1 import batch_inference_pb2 as _batch_inference_pb2
from bessemer.api.serve.v1 import deployment_pb2 as _deployment_pb2
from bessemer.api.serve.v1 import loop_pb2 as _loop_pb2
from bessemer.api.serve.v1 import rollout_pb2 as _rollout_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EndpointChanged(_message.Message):
    __slots__ = ("endpoint", "previous_state")
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_STATE_FIELD_NUMBER: _ClassVar[int]
    endpoint: _deployment_pb2.Endpoint
    previous_state: str
    def __init__(self, endpoint: _Optional[_Union[_deployment_pb2.Endpoint, _Mapping]] = ..., previous_state: _Optional[str] = ...) -> None: ...

class DeploymentChanged(_message.Message):
    __slots__ = ("deployment", "previous_state")
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_STATE_FIELD_NUMBER: _ClassVar[int]
    deployment: _deployment_pb2.Deployment
    previous_state: str
    def __init__(self, deployment: _Optional[_Union[_deployment_pb2.Deployment, _Mapping]] = ..., previous_state: _Optional[str] = ...) -> None: ...

class ApiKeyChanged(_message.Message):
    __slots__ = ("api_key", "previous_state")
    API_KEY_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_STATE_FIELD_NUMBER: _ClassVar[int]
    api_key: _api_key_pb2.ApiKey
    previous_state: str
    def __init__(self, api_key: _Optional[_Union[_api_key_pb2.ApiKey, _Mapping]] = ..., previous_state: _Optional[str] = ...) -> None: ...

class BatchInferenceJobChanged(_message.Message):
    __slots__ = ("batch_inference_job", "previous_state")
    BATCH_INFERENCE_JOB_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_STATE_FIELD_NUMBER: _ClassVar[int]
    batch_inference_job: _batch_inference_pb2.BatchInferenceJob
    previous_state: str
    def __init__(self, batch_inference_job: _Optional[_Union[_batch_inference_pb2.BatchInferenceJob, _Mapping]] = ..., previous_state: _Optional[str] = ...) -> None: ...

class LoopChanged(_message.Message):
    __slots__ = ("loop", "previous_state")
    LOOP_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_STATE_FIELD_NUMBER: _ClassVar[int]
    loop: _loop_pb2.Loop
    previous_state: str
    def __init__(self, loop: _Optional[_Union[_loop_pb2.Loop, _Mapping]] = ..., previous_state: _Optional[str] = ...) -> None: ...

class RolloutChanged(_message.Message):
    __slots__ = ("rollout", "previous_state")
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_STATE_FIELD_NUMBER: _ClassVar[int]
    rollout: _rollout_pb2.Rollout
    previous_state: str
    def __init__(self, rollout: _Optional[_Union[_rollout_pb2.Rollout, _Mapping]] = ..., previous_state: _Optional[str] = ...) -> None: ...
