import datetime

from bessemer.api.common.v1 import options_pb2 as _options_pb2
from bessemer.api.data.v1 import feedback_curation_pb2 as _feedback_curation_pb2
from bessemer.api.data.v1 import feedback_service_pb2 as _feedback_service_pb2
from bessemer.api.eval.v1 import audit_service_pb2 as _audit_service_pb2
from bessemer.api.eval.v1 import evaluation_pb2 as _evaluation_pb2
from bessemer.api.serve.v1 import rollout_pb2 as _rollout_pb2
from bessemer.api.train.v1 import training_job_pb2 as _training_job_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LoopState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LOOP_STATE_UNSPECIFIED: _ClassVar[LoopState]
    LOOP_STATE_RUNNING: _ClassVar[LoopState]
    LOOP_STATE_STOPPED: _ClassVar[LoopState]
    LOOP_STATE_BLOCKED: _ClassVar[LoopState]
    LOOP_STATE_FINISHED: _ClassVar[LoopState]

class RoundStage(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROUND_STAGE_UNSPECIFIED: _ClassVar[RoundStage]
    ROUND_STAGE_COLLECTING: _ClassVar[RoundStage]
    ROUND_STAGE_CURATING: _ClassVar[RoundStage]
    ROUND_STAGE_TRAINING: _ClassVar[RoundStage]
    ROUND_STAGE_EVALUATING: _ClassVar[RoundStage]
    ROUND_STAGE_AUDITING: _ClassVar[RoundStage]
    ROUND_STAGE_ROLLING_OUT: _ClassVar[RoundStage]
    ROUND_STAGE_RELEASED: _ClassVar[RoundStage]
    ROUND_STAGE_REJECTED: _ClassVar[RoundStage]
    ROUND_STAGE_FAILED: _ClassVar[RoundStage]
LOOP_STATE_UNSPECIFIED: LoopState
LOOP_STATE_RUNNING: LoopState
LOOP_STATE_STOPPED: LoopState
LOOP_STATE_BLOCKED: LoopState
LOOP_STATE_FINISHED: LoopState
ROUND_STAGE_UNSPECIFIED: RoundStage
ROUND_STAGE_COLLECTING: RoundStage
ROUND_STAGE_CURATING: RoundStage
ROUND_STAGE_TRAINING: RoundStage
ROUND_STAGE_EVALUATING: RoundStage
ROUND_STAGE_AUDITING: RoundStage
ROUND_STAGE_ROLLING_OUT: RoundStage
ROUND_STAGE_RELEASED: RoundStage
ROUND_STAGE_REJECTED: RoundStage
ROUND_STAGE_FAILED: RoundStage

class Loop(_message.Message):
    __slots__ = ("name", "uid", "etag", "revision", "create_time", "update_time", "creator", "labels", "settings", "state", "reason", "rounds")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    CREATOR_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    name: str
    uid: str
    etag: str
    revision: int
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    creator: str
    labels: _containers.ScalarMap[str, str]
    settings: LoopSettings
    state: LoopState
    reason: str
    rounds: _containers.RepeatedCompositeFieldContainer[LoopRound]
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[str] = ..., etag: _Optional[str] = ..., revision: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., creator: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., settings: _Optional[_Union[LoopSettings, _Mapping]] = ..., state: _Optional[_Union[LoopState, str]] = ..., reason: _Optional[str] = ..., rounds: _Optional[_Iterable[_Union[LoopRound, _Mapping]]] = ...) -> None: ...

class LoopSettings(_message.Message):
    __slots__ = ("model", "recipe", "curation", "gate_policy", "audit_suites", "proxy_suites", "audit_limits", "replay", "rounds_max", "every_s", "earlier_releases", "rollout", "suites", "failures_max")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    CURATION_FIELD_NUMBER: _ClassVar[int]
    GATE_POLICY_FIELD_NUMBER: _ClassVar[int]
    AUDIT_SUITES_FIELD_NUMBER: _ClassVar[int]
    PROXY_SUITES_FIELD_NUMBER: _ClassVar[int]
    AUDIT_LIMITS_FIELD_NUMBER: _ClassVar[int]
    REPLAY_FIELD_NUMBER: _ClassVar[int]
    ROUNDS_MAX_FIELD_NUMBER: _ClassVar[int]
    EVERY_S_FIELD_NUMBER: _ClassVar[int]
    EARLIER_RELEASES_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    SUITES_FIELD_NUMBER: _ClassVar[int]
    FAILURES_MAX_FIELD_NUMBER: _ClassVar[int]
    model: str
    recipe: _training_job_pb2.TrainingRecipe
    curation: _feedback_curation_pb2.CurateFeedbackTask
    gate_policy: str
    audit_suites: _containers.RepeatedScalarFieldContainer[str]
    proxy_suites: _containers.RepeatedScalarFieldContainer[str]
    audit_limits: _audit_service_pb2.AuditLimits
    replay: _containers.RepeatedScalarFieldContainer[str]
    rounds_max: int
    every_s: int
    earlier_releases: int
    rollout: _rollout_pb2.RolloutPlan
    suites: _containers.RepeatedScalarFieldContainer[str]
    failures_max: int
    def __init__(self, model: _Optional[str] = ..., recipe: _Optional[_Union[_training_job_pb2.TrainingRecipe, _Mapping]] = ..., curation: _Optional[_Union[_feedback_curation_pb2.CurateFeedbackTask, _Mapping]] = ..., gate_policy: _Optional[str] = ..., audit_suites: _Optional[_Iterable[str]] = ..., proxy_suites: _Optional[_Iterable[str]] = ..., audit_limits: _Optional[_Union[_audit_service_pb2.AuditLimits, _Mapping]] = ..., replay: _Optional[_Iterable[str]] = ..., rounds_max: _Optional[int] = ..., every_s: _Optional[int] = ..., earlier_releases: _Optional[int] = ..., rollout: _Optional[_Union[_rollout_pb2.RolloutPlan, _Mapping]] = ..., suites: _Optional[_Iterable[str]] = ..., failures_max: _Optional[int] = ...) -> None: ...

class LoopRound(_message.Message):
    __slots__ = ("number", "stage", "reason", "start_time", "end_time", "base_model_version", "base_deployment", "feedback_model_versions", "counts", "dataset_job", "curations_short", "feedback_needed", "dataset_version", "curation", "training_job", "model_version", "baseline_run", "candidate_run", "gate_decision", "verdict", "audit", "release")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    BASE_MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    BASE_DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    FEEDBACK_MODEL_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    DATASET_JOB_FIELD_NUMBER: _ClassVar[int]
    CURATIONS_SHORT_FIELD_NUMBER: _ClassVar[int]
    FEEDBACK_NEEDED_FIELD_NUMBER: _ClassVar[int]
    DATASET_VERSION_FIELD_NUMBER: _ClassVar[int]
    CURATION_FIELD_NUMBER: _ClassVar[int]
    TRAINING_JOB_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    BASELINE_RUN_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_RUN_FIELD_NUMBER: _ClassVar[int]
    GATE_DECISION_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    AUDIT_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    number: int
    stage: RoundStage
    reason: str
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    base_model_version: str
    base_deployment: str
    feedback_model_versions: _containers.RepeatedScalarFieldContainer[str]
    counts: _feedback_service_pb2.FeedbackCounts
    dataset_job: str
    curations_short: int
    feedback_needed: int
    dataset_version: str
    curation: _feedback_curation_pb2.FeedbackCuration
    training_job: str
    model_version: str
    baseline_run: str
    candidate_run: str
    gate_decision: str
    verdict: _evaluation_pb2.Verdict
    audit: _audit_service_pb2.RunAudit
    release: str
    def __init__(self, number: _Optional[int] = ..., stage: _Optional[_Union[RoundStage, str]] = ..., reason: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., base_model_version: _Optional[str] = ..., base_deployment: _Optional[str] = ..., feedback_model_versions: _Optional[_Iterable[str]] = ..., counts: _Optional[_Union[_feedback_service_pb2.FeedbackCounts, _Mapping]] = ..., dataset_job: _Optional[str] = ..., curations_short: _Optional[int] = ..., feedback_needed: _Optional[int] = ..., dataset_version: _Optional[str] = ..., curation: _Optional[_Union[_feedback_curation_pb2.FeedbackCuration, _Mapping]] = ..., training_job: _Optional[str] = ..., model_version: _Optional[str] = ..., baseline_run: _Optional[str] = ..., candidate_run: _Optional[str] = ..., gate_decision: _Optional[str] = ..., verdict: _Optional[_Union[_evaluation_pb2.Verdict, str]] = ..., audit: _Optional[_Union[_audit_service_pb2.RunAudit, _Mapping]] = ..., release: _Optional[str] = ...) -> None: ...
