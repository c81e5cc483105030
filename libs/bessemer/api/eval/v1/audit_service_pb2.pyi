from bessemer.api.common.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AuditLimits(_message.Message):
    __slots__ = ("null_answers_max", "refusals_max", "tool_errors_max", "length_ratio_max", "new_phrase_max", "proxy_gap_max")
    NULL_ANSWERS_MAX_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_MAX_FIELD_NUMBER: _ClassVar[int]
    TOOL_ERRORS_MAX_FIELD_NUMBER: _ClassVar[int]
    LENGTH_RATIO_MAX_FIELD_NUMBER: _ClassVar[int]
    NEW_PHRASE_MAX_FIELD_NUMBER: _ClassVar[int]
    PROXY_GAP_MAX_FIELD_NUMBER: _ClassVar[int]
    null_answers_max: float
    refusals_max: float
    tool_errors_max: float
    length_ratio_max: float
    new_phrase_max: float
    proxy_gap_max: float
    def __init__(self, null_answers_max: _Optional[float] = ..., refusals_max: _Optional[float] = ..., tool_errors_max: _Optional[float] = ..., length_ratio_max: _Optional[float] = ..., new_phrase_max: _Optional[float] = ..., proxy_gap_max: _Optional[float] = ...) -> None: ...

class AuditRunsRequest(_message.Message):
    __slots__ = ("baseline_run", "candidate_run", "proxy_suites", "limits")
    BASELINE_RUN_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_RUN_FIELD_NUMBER: _ClassVar[int]
    PROXY_SUITES_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    baseline_run: str
    candidate_run: str
    proxy_suites: _containers.RepeatedScalarFieldContainer[str]
    limits: AuditLimits
    def __init__(self, baseline_run: _Optional[str] = ..., candidate_run: _Optional[str] = ..., proxy_suites: _Optional[_Iterable[str]] = ..., limits: _Optional[_Union[AuditLimits, _Mapping]] = ...) -> None: ...

class AuditFinding(_message.Message):
    __slots__ = ("check", "baseline", "candidate", "limit", "p_value", "breached", "explanation")
    CHECK_FIELD_NUMBER: _ClassVar[int]
    BASELINE_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    P_VALUE_FIELD_NUMBER: _ClassVar[int]
    BREACHED_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    check: str
    baseline: float
    candidate: float
    limit: float
    p_value: float
    breached: bool
    explanation: str
    def __init__(self, check: _Optional[str] = ..., baseline: _Optional[float] = ..., candidate: _Optional[float] = ..., limit: _Optional[float] = ..., p_value: _Optional[float] = ..., breached: _Optional[bool] = ..., explanation: _Optional[str] = ...) -> None: ...

class RunAudit(_message.Message):
    __slots__ = ("baseline_run", "candidate_run", "num_answers", "findings", "breached")
    BASELINE_RUN_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_RUN_FIELD_NUMBER: _ClassVar[int]
    NUM_ANSWERS_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    BREACHED_FIELD_NUMBER: _ClassVar[int]
    baseline_run: str
    candidate_run: str
    num_answers: int
    findings: _containers.RepeatedCompositeFieldContainer[AuditFinding]
    breached: bool
    def __init__(self, baseline_run: _Optional[str] = ..., candidate_run: _Optional[str] = ..., num_answers: _Optional[int] = ..., findings: _Optional[_Iterable[_Union[AuditFinding, _Mapping]]] = ..., breached: _Optional[bool] = ...) -> None: ...
