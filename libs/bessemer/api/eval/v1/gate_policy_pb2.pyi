import datetime

from bessemer.api.common.v1 import options_pb2 as _options_pb2
from bessemer.api.eval.v1 import evaluation_pb2 as _evaluation_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GatePolicy(_message.Message):
    __slots__ = ("name", "uid", "etag", "revision", "create_time", "update_time", "creator", "display_name", "rules", "forgetting_budget", "level", "imported_results", "served_results", "clean_cases")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    CREATOR_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    FORGETTING_BUDGET_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    IMPORTED_RESULTS_FIELD_NUMBER: _ClassVar[int]
    SERVED_RESULTS_FIELD_NUMBER: _ClassVar[int]
    CLEAN_CASES_FIELD_NUMBER: _ClassVar[int]
    name: str
    uid: str
    etag: str
    revision: int
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    creator: str
    display_name: str
    rules: _containers.RepeatedCompositeFieldContainer[_evaluation_pb2.GateRule]
    forgetting_budget: ForgettingBudget
    level: float
    imported_results: bool
    served_results: bool
    clean_cases: bool
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[str] = ..., etag: _Optional[str] = ..., revision: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., creator: _Optional[str] = ..., display_name: _Optional[str] = ..., rules: _Optional[_Iterable[_Union[_evaluation_pb2.GateRule, _Mapping]]] = ..., forgetting_budget: _Optional[_Union[ForgettingBudget, _Mapping]] = ..., level: _Optional[float] = ..., imported_results: _Optional[bool] = ..., served_results: _Optional[bool] = ..., clean_cases: _Optional[bool] = ...) -> None: ...

class ForgettingBudget(_message.Message):
    __slots__ = ("suites", "max_loss")
    SUITES_FIELD_NUMBER: _ClassVar[int]
    MAX_LOSS_FIELD_NUMBER: _ClassVar[int]
    suites: _containers.RepeatedScalarFieldContainer[str]
    max_loss: float
    def __init__(self, suites: _Optional[_Iterable[str]] = ..., max_loss: _Optional[float] = ...) -> None: ...

class GateWaiver(_message.Message):
    __slots__ = ("name", "uid", "etag", "revision", "create_time", "update_time", "creator", "model_version", "model_sha256", "gate_decision", "reason", "expire_time", "revoke_time", "revoker")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    CREATOR_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    GATE_DECISION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    REVOKE_TIME_FIELD_NUMBER: _ClassVar[int]
    REVOKER_FIELD_NUMBER: _ClassVar[int]
    name: str
    uid: str
    etag: str
    revision: int
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    creator: str
    model_version: str
    model_sha256: str
    gate_decision: str
    reason: str
    expire_time: _timestamp_pb2.Timestamp
    revoke_time: _timestamp_pb2.Timestamp
    revoker: str
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[str] = ..., etag: _Optional[str] = ..., revision: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., creator: _Optional[str] = ..., model_version: _Optional[str] = ..., model_sha256: _Optional[str] = ..., gate_decision: _Optional[str] = ..., reason: _Optional[str] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., revoke_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., revoker: _Optional[str] = ...) -> None: ...

class CreateGatePolicyRequest(_message.Message):
    __slots__ = ("parent", "gate_policy_id", "gate_policy", "request_id")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    GATE_POLICY_ID_FIELD_NUMBER: _ClassVar[int]
    GATE_POLICY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    parent: str
    gate_policy_id: str
    gate_policy: GatePolicy
    request_id: str
    def __init__(self, parent: _Optional[str] = ..., gate_policy_id: _Optional[str] = ..., gate_policy: _Optional[_Union[GatePolicy, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class GetGatePolicyRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListGatePoliciesRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListGatePoliciesResponse(_message.Message):
    __slots__ = ("gate_policies", "next_page_token")
    GATE_POLICIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    gate_policies: _containers.RepeatedCompositeFieldContainer[GatePolicy]
    next_page_token: str
    def __init__(self, gate_policies: _Optional[_Iterable[_Union[GatePolicy, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CreateGateWaiverRequest(_message.Message):
    __slots__ = ("parent", "gate_waiver_id", "gate_waiver", "request_id")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    GATE_WAIVER_ID_FIELD_NUMBER: _ClassVar[int]
    GATE_WAIVER_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    parent: str
    gate_waiver_id: str
    gate_waiver: GateWaiver
    request_id: str
    def __init__(self, parent: _Optional[str] = ..., gate_waiver_id: _Optional[str] = ..., gate_waiver: _Optional[_Union[GateWaiver, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class GetGateWaiverRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListGateWaiversRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListGateWaiversResponse(_message.Message):
    __slots__ = ("gate_waivers", "next_page_token")
    GATE_WAIVERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    gate_waivers: _containers.RepeatedCompositeFieldContainer[GateWaiver]
    next_page_token: str
    def __init__(self, gate_waivers: _Optional[_Iterable[_Union[GateWaiver, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class RevokeGateWaiverRequest(_message.Message):
    __slots__ = ("name", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class PlanEvaluationRequest(_message.Message):
    __slots__ = ("suite", "difference", "pilot_baseline_run", "pilot_candidate_run")
    SUITE_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    PILOT_BASELINE_RUN_FIELD_NUMBER: _ClassVar[int]
    PILOT_CANDIDATE_RUN_FIELD_NUMBER: _ClassVar[int]
    suite: str
    difference: float
    pilot_baseline_run: str
    pilot_candidate_run: str
    def __init__(self, suite: _Optional[str] = ..., difference: _Optional[float] = ..., pilot_baseline_run: _Optional[str] = ..., pilot_candidate_run: _Optional[str] = ...) -> None: ...

class EvaluationPlan(_message.Message):
    __slots__ = ("suite", "num_cases", "num_clusters", "num_cases_needed", "detectable_difference", "variance", "design_effect", "from_pilot", "explanation")
    SUITE_FIELD_NUMBER: _ClassVar[int]
    NUM_CASES_FIELD_NUMBER: _ClassVar[int]
    NUM_CLUSTERS_FIELD_NUMBER: _ClassVar[int]
    NUM_CASES_NEEDED_FIELD_NUMBER: _ClassVar[int]
    DETECTABLE_DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    VARIANCE_FIELD_NUMBER: _ClassVar[int]
    DESIGN_EFFECT_FIELD_NUMBER: _ClassVar[int]
    FROM_PILOT_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    suite: str
    num_cases: int
    num_clusters: int
    num_cases_needed: int
    detectable_difference: float
    variance: float
    design_effect: float
    from_pilot: bool
    explanation: str
    def __init__(self, suite: _Optional[str] = ..., num_cases: _Optional[int] = ..., num_clusters: _Optional[int] = ..., num_cases_needed: _Optional[int] = ..., detectable_difference: _Optional[float] = ..., variance: _Optional[float] = ..., design_effect: _Optional[float] = ..., from_pilot: _Optional[bool] = ..., explanation: _Optional[str] = ...) -> None: ...
