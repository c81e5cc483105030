from bessemer.api.eval.v1 import drift_pb2 as _drift_pb2
from bessemer.api.eval.v1 import evaluation_pb2 as _evaluation_pb2
from bessemer.api.eval.v1 import gate_policy_pb2 as _gate_policy_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EvaluationSuiteChanged(_message.Message):
    __slots__ = ("evaluation_suite", "previous_state")
    EVALUATION_SUITE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_STATE_FIELD_NUMBER: _ClassVar[int]
    evaluation_suite: _evaluation_pb2.EvaluationSuite
    previous_state: str
    def __init__(self, evaluation_suite: _Optional[_Union[_evaluation_pb2.EvaluationSuite, _Mapping]] = ..., previous_state: _Optional[str] = ...) -> None: ...

class EvaluationRunChanged(_message.Message):
    __slots__ = ("evaluation_run", "previous_state")
    EVALUATION_RUN_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_STATE_FIELD_NUMBER: _ClassVar[int]
    evaluation_run: _evaluation_pb2.EvaluationRun
    previous_state: str
    def __init__(self, evaluation_run: _Optional[_Union[_evaluation_pb2.EvaluationRun, _Mapping]] = ..., previous_state: _Optional[str] = ...) -> None: ...

class GateDecisionChanged(_message.Message):
    __slots__ = ("gate_decision", "previous_state")
    GATE_DECISION_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_STATE_FIELD_NUMBER: _ClassVar[int]
    gate_decision: _evaluation_pb2.GateDecision
    previous_state: str
    def __init__(self, gate_decision: _Optional[_Union[_evaluation_pb2.GateDecision, _Mapping]] = ..., previous_state: _Optional[str] = ...) -> None: ...

class GatePolicyChanged(_message.Message):
    __slots__ = ("gate_policy", "previous_state")
    GATE_POLICY_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_STATE_FIELD_NUMBER: _ClassVar[int]
    gate_policy: _gate_policy_pb2.GatePolicy
    previous_state: str
    def __init__(self, gate_policy: _Optional[_Union[_gate_policy_pb2.GatePolicy, _Mapping]] = ..., previous_state: _Optional[str] = ...) -> None: ...

class GateWaiverChanged(_message.Message):
    __slots__ = ("gate_waiver", "previous_state")
    GATE_WAIVER_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_STATE_FIELD_NUMBER: _ClassVar[int]
    gate_waiver: _gate_policy_pb2.GateWaiver
    previous_state: str
    def __init__(self, gate_waiver: _Optional[_Union[_gate_policy_pb2.GateWaiver, _Mapping]] = ..., previous_state: _Optional[str] = ...) -> None: ...

class DriftMonitorChanged(_message.Message):
    __slots__ = ("drift_monitor", "previous_state")
    DRIFT_MONITOR_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_STATE_FIELD_NUMBER: _ClassVar[int]
    drift_monitor: _drift_pb2.DriftMonitor
    previous_state: str
    def __init__(self, drift_monitor: _Optional[_Union[_drift_pb2.DriftMonitor, _Mapping]] = ..., previous_state: _Optional[str] = ...) -> None: ...

class DriftAlarmChanged(_message.Message):
    __slots__ = ("drift_alarm", "previous_state")
    DRIFT_ALARM_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_STATE_FIELD_NUMBER: _ClassVar[int]
    drift_alarm: _drift_pb2.DriftAlarm
    previous_state: str
    def __init__(self, drift_alarm: _Optional[_Union[_drift_pb2.DriftAlarm, _Mapping]] = ..., previous_state: _Optional[str] = ...) -> None: ...
