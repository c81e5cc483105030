from bessemer.api.common.v1 import options_pb2 as _options_pb2
from bessemer.api.common.v1 import watch_pb2 as _watch_pb2
from bessemer.api.eval.v1 import evaluation_pb2 as _evaluation_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateEvaluationSuiteRequest(_message.Message):
    __slots__ = ("parent", "evaluation_suite_id", "evaluation_suite", "upload", "builtin", "heldout_text", "heldout_questions", "request_id", "num_cases_max")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    EVALUATION_SUITE_ID_FIELD_NUMBER: _ClassVar[int]
    EVALUATION_SUITE_FIELD_NUMBER: _ClassVar[int]
    UPLOAD_FIELD_NUMBER: _ClassVar[int]
    BUILTIN_FIELD_NUMBER: _ClassVar[int]
    HELDOUT_TEXT_FIELD_NUMBER: _ClassVar[int]
    HELDOUT_QUESTIONS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NUM_CASES_MAX_FIELD_NUMBER: _ClassVar[int]
    parent: str
    evaluation_suite_id: str
    evaluation_suite: _evaluation_pb2.EvaluationSuite
    upload: str
    builtin: str
    heldout_text: bool
    heldout_questions: bool
    request_id: str
    num_cases_max: int
    def __init__(self, parent: _Optional[str] = ..., evaluation_suite_id: _Optional[str] = ..., evaluation_suite: _Optional[_Union[_evaluation_pb2.EvaluationSuite, _Mapping]] = ..., upload: _Optional[str] = ..., builtin: _Optional[str] = ..., heldout_text: _Optional[bool] = ..., heldout_questions: _Optional[bool] = ..., request_id: _Optional[str] = ..., num_cases_max: _Optional[int] = ...) -> None: ...

class GetEvaluationSuiteRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListEvaluationSuitesRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListEvaluationSuitesResponse(_message.Message):
    __slots__ = ("evaluation_suites", "next_page_token")
    EVALUATION_SUITES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    evaluation_suites: _containers.RepeatedCompositeFieldContainer[_evaluation_pb2.EvaluationSuite]
    next_page_token: str
    def __init__(self, evaluation_suites: _Optional[_Iterable[_Union[_evaluation_pb2.EvaluationSuite, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CreateEvaluationRunRequest(_message.Message):
    __slots__ = ("parent", "evaluation_run_id", "evaluation_run", "request_id")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    EVALUATION_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    EVALUATION_RUN_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    parent: str
    evaluation_run_id: str
    evaluation_run: _evaluation_pb2.EvaluationRun
    request_id: str
    def __init__(self, parent: _Optional[str] = ..., evaluation_run_id: _Optional[str] = ..., evaluation_run: _Optional[_Union[_evaluation_pb2.EvaluationRun, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class ImportEvaluationRunRequest(_message.Message):
    __slots__ = ("parent", "evaluation_run_id", "evaluation_run", "request_id")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    EVALUATION_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    EVALUATION_RUN_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    parent: str
    evaluation_run_id: str
    evaluation_run: _evaluation_pb2.EvaluationRun
    request_id: str
    def __init__(self, parent: _Optional[str] = ..., evaluation_run_id: _Optional[str] = ..., evaluation_run: _Optional[_Union[_evaluation_pb2.EvaluationRun, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class GetEvaluationRunRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListEvaluationRunsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListEvaluationRunsResponse(_message.Message):
    __slots__ = ("evaluation_runs", "next_page_token")
    EVALUATION_RUNS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    evaluation_runs: _containers.RepeatedCompositeFieldContainer[_evaluation_pb2.EvaluationRun]
    next_page_token: str
    def __init__(self, evaluation_runs: _Optional[_Iterable[_Union[_evaluation_pb2.EvaluationRun, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CancelEvaluationRunRequest(_message.Message):
    __slots__ = ("name", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class WatchEvaluationRunRequest(_message.Message):
    __slots__ = ("name", "resume_token")
    NAME_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    name: str
    resume_token: str
    def __init__(self, name: _Optional[str] = ..., resume_token: _Optional[str] = ...) -> None: ...

class WatchEvaluationRunResponse(_message.Message):
    __slots__ = ("event", "evaluation_run", "resume_token")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    EVALUATION_RUN_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    event: _watch_pb2.WatchEvent
    evaluation_run: _evaluation_pb2.EvaluationRun
    resume_token: str
    def __init__(self, event: _Optional[_Union[_watch_pb2.WatchEvent, str]] = ..., evaluation_run: _Optional[_Union[_evaluation_pb2.EvaluationRun, _Mapping]] = ..., resume_token: _Optional[str] = ...) -> None: ...

class TailEvaluationRunLogsRequest(_message.Message):
    __slots__ = ("name", "attempt", "offset", "follow")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    name: str
    attempt: int
    offset: int
    follow: bool
    def __init__(self, name: _Optional[str] = ..., attempt: _Optional[int] = ..., offset: _Optional[int] = ..., follow: _Optional[bool] = ...) -> None: ...

class TailEvaluationRunLogsResponse(_message.Message):
    __slots__ = ("text", "next_offset")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    NEXT_OFFSET_FIELD_NUMBER: _ClassVar[int]
    text: str
    next_offset: int
    def __init__(self, text: _Optional[str] = ..., next_offset: _Optional[int] = ...) -> None: ...

class CompareRunsRequest(_message.Message):
    __slots__ = ("baseline_run", "candidate_run")
    BASELINE_RUN_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_RUN_FIELD_NUMBER: _ClassVar[int]
    baseline_run: str
    candidate_run: str
    def __init__(self, baseline_run: _Optional[str] = ..., candidate_run: _Optional[str] = ...) -> None: ...

class DecideGateRequest(_message.Message):
    __slots__ = ("parent", "gate_decision_id", "baseline_run", "candidate_run", "rules", "request_id", "gate_policy")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    GATE_DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    BASELINE_RUN_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_RUN_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    GATE_POLICY_FIELD_NUMBER: _ClassVar[int]
    parent: str
    gate_decision_id: str
    baseline_run: str
    candidate_run: str
    rules: _containers.RepeatedCompositeFieldContainer[_evaluation_pb2.GateRule]
    request_id: str
    gate_policy: str
    def __init__(self, parent: _Optional[str] = ..., gate_decision_id: _Optional[str] = ..., baseline_run: _Optional[str] = ..., candidate_run: _Optional[str] = ..., rules: _Optional[_Iterable[_Union[_evaluation_pb2.GateRule, _Mapping]]] = ..., request_id: _Optional[str] = ..., gate_policy: _Optional[str] = ...) -> None: ...

class GetGateDecisionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListGateDecisionsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListGateDecisionsResponse(_message.Message):
    __slots__ = ("gate_decisions", "next_page_token")
    GATE_DECISIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    gate_decisions: _containers.RepeatedCompositeFieldContainer[_evaluation_pb2.GateDecision]
    next_page_token: str
    def __init__(self, gate_decisions: _Optional[_Iterable[_Union[_evaluation_pb2.GateDecision, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
