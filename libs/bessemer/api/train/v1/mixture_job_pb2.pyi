import datetime

from bessemer.api.common.v1 import artifact_pb2 as _artifact_pb2
from bessemer.api.common.v1 import job_pb2 as _job_pb2
from bessemer.api.common.v1 import options_pb2 as _options_pb2
from bessemer.api.data.v1 import mixture_pb2 as _mixture_pb2
from bessemer.api.train.v1 import training_job_pb2 as _training_job_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class MixtureRunRole(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MIXTURE_RUN_ROLE_UNSPECIFIED: _ClassVar[MixtureRunRole]
    MIXTURE_RUN_ROLE_PROXY: _ClassVar[MixtureRunRole]
    MIXTURE_RUN_ROLE_NATURAL: _ClassVar[MixtureRunRole]
    MIXTURE_RUN_ROLE_PROPOSED: _ClassVar[MixtureRunRole]

class MixtureVerdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MIXTURE_VERDICT_UNSPECIFIED: _ClassVar[MixtureVerdict]
    MIXTURE_VERDICT_BETTER: _ClassVar[MixtureVerdict]
    MIXTURE_VERDICT_NO_BETTER: _ClassVar[MixtureVerdict]
MIXTURE_RUN_ROLE_UNSPECIFIED: MixtureRunRole
MIXTURE_RUN_ROLE_PROXY: MixtureRunRole
MIXTURE_RUN_ROLE_NATURAL: MixtureRunRole
MIXTURE_RUN_ROLE_PROPOSED: MixtureRunRole
MIXTURE_VERDICT_UNSPECIFIED: MixtureVerdict
MIXTURE_VERDICT_BETTER: MixtureVerdict
MIXTURE_VERDICT_NO_BETTER: MixtureVerdict

class MixtureJob(_message.Message):
    __slots__ = ("name", "uid", "etag", "revision", "create_time", "update_time", "creator", "labels", "mixture", "base_model_version", "recipe", "targets", "tokens", "num_proxies", "num_pairs", "kl_weight", "share_min", "status", "inputs", "runs", "proposal")
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
    MIXTURE_FIELD_NUMBER: _ClassVar[int]
    BASE_MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    NUM_PROXIES_FIELD_NUMBER: _ClassVar[int]
    NUM_PAIRS_FIELD_NUMBER: _ClassVar[int]
    KL_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    SHARE_MIN_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    PROPOSAL_FIELD_NUMBER: _ClassVar[int]
    name: str
    uid: str
    etag: str
    revision: int
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    creator: str
    labels: _containers.ScalarMap[str, str]
    mixture: str
    base_model_version: str
    recipe: _training_job_pb2.TrainingRecipe
    targets: _containers.RepeatedCompositeFieldContainer[MixtureTarget]
    tokens: int
    num_proxies: int
    num_pairs: int
    kl_weight: float
    share_min: float
    status: _job_pb2.JobStatus
    inputs: MixtureJobInputs
    runs: _containers.RepeatedCompositeFieldContainer[MixtureRun]
    proposal: MixtureProposal
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[str] = ..., etag: _Optional[str] = ..., revision: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., creator: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., mixture: _Optional[str] = ..., base_model_version: _Optional[str] = ..., recipe: _Optional[_Union[_training_job_pb2.TrainingRecipe, _Mapping]] = ..., targets: _Optional[_Iterable[_Union[MixtureTarget, _Mapping]]] = ..., tokens: _Optional[int] = ..., num_proxies: _Optional[int] = ..., num_pairs: _Optional[int] = ..., kl_weight: _Optional[float] = ..., share_min: _Optional[float] = ..., status: _Optional[_Union[_job_pb2.JobStatus, _Mapping]] = ..., inputs: _Optional[_Union[MixtureJobInputs, _Mapping]] = ..., runs: _Optional[_Iterable[_Union[MixtureRun, _Mapping]]] = ..., proposal: _Optional[_Union[MixtureProposal, _Mapping]] = ...) -> None: ...

class MixtureTarget(_message.Message):
    __slots__ = ("dataset_version", "weight")
    DATASET_VERSION_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    dataset_version: str
    weight: float
    def __init__(self, dataset_version: _Optional[str] = ..., weight: _Optional[float] = ...) -> None: ...

class MixtureJobInputs(_message.Message):
    __slots__ = ("model_manifest", "mixture", "target_manifests")
    MODEL_MANIFEST_FIELD_NUMBER: _ClassVar[int]
    MIXTURE_FIELD_NUMBER: _ClassVar[int]
    TARGET_MANIFESTS_FIELD_NUMBER: _ClassVar[int]
    model_manifest: _artifact_pb2.ArtifactRef
    mixture: _artifact_pb2.ArtifactRef
    target_manifests: _containers.RepeatedCompositeFieldContainer[_artifact_pb2.ArtifactRef]
    def __init__(self, model_manifest: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., mixture: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., target_manifests: _Optional[_Iterable[_Union[_artifact_pb2.ArtifactRef, _Mapping]]] = ...) -> None: ...

class MixtureRun(_message.Message):
    __slots__ = ("role", "seed", "shares", "losses", "parameters", "tokens", "seconds")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    LOSSES_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    role: MixtureRunRole
    seed: int
    shares: _containers.RepeatedScalarFieldContainer[float]
    losses: _containers.RepeatedScalarFieldContainer[float]
    parameters: int
    tokens: int
    seconds: float
    def __init__(self, role: _Optional[_Union[MixtureRunRole, str]] = ..., seed: _Optional[int] = ..., shares: _Optional[_Iterable[float]] = ..., losses: _Optional[_Iterable[float]] = ..., parameters: _Optional[int] = ..., tokens: _Optional[int] = ..., seconds: _Optional[float] = ...) -> None: ...

class MixtureJobState(_message.Message):
    __slots__ = ("runs",)
    RUNS_FIELD_NUMBER: _ClassVar[int]
    runs: _containers.RepeatedCompositeFieldContainer[MixtureRun]
    def __init__(self, runs: _Optional[_Iterable[_Union[MixtureRun, _Mapping]]] = ...) -> None: ...

class MixtureProposal(_message.Message):
    __slots__ = ("verdict", "mixture", "shares", "targets", "difference", "difference_low", "difference_high", "foretold_difference", "foretold_low", "foretold_high", "rank_correlation", "report")
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    MIXTURE_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCE_LOW_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCE_HIGH_FIELD_NUMBER: _ClassVar[int]
    FORETOLD_DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    FORETOLD_LOW_FIELD_NUMBER: _ClassVar[int]
    FORETOLD_HIGH_FIELD_NUMBER: _ClassVar[int]
    RANK_CORRELATION_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    verdict: MixtureVerdict
    mixture: _mixture_pb2.Mixture
    shares: _containers.RepeatedCompositeFieldContainer[MixtureShareEstimate]
    targets: _containers.RepeatedCompositeFieldContainer[MixtureTargetLoss]
    difference: float
    difference_low: float
    difference_high: float
    foretold_difference: float
    foretold_low: float
    foretold_high: float
    rank_correlation: float
    report: _artifact_pb2.ArtifactRef
    def __init__(self, verdict: _Optional[_Union[MixtureVerdict, str]] = ..., mixture: _Optional[_Union[_mixture_pb2.Mixture, _Mapping]] = ..., shares: _Optional[_Iterable[_Union[MixtureShareEstimate, _Mapping]]] = ..., targets: _Optional[_Iterable[_Union[MixtureTargetLoss, _Mapping]]] = ..., difference: _Optional[float] = ..., difference_low: _Optional[float] = ..., difference_high: _Optional[float] = ..., foretold_difference: _Optional[float] = ..., foretold_low: _Optional[float] = ..., foretold_high: _Optional[float] = ..., rank_correlation: _Optional[float] = ..., report: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ...) -> None: ...

class MixtureShareEstimate(_message.Message):
    __slots__ = ("dataset_version", "natural", "share", "low", "high", "epochs", "is_capped")
    DATASET_VERSION_FIELD_NUMBER: _ClassVar[int]
    NATURAL_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    IS_CAPPED_FIELD_NUMBER: _ClassVar[int]
    dataset_version: str
    natural: float
    share: float
    low: float
    high: float
    epochs: float
    is_capped: bool
    def __init__(self, dataset_version: _Optional[str] = ..., natural: _Optional[float] = ..., share: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., epochs: _Optional[float] = ..., is_capped: _Optional[bool] = ...) -> None: ...

class MixtureTargetLoss(_message.Message):
    __slots__ = ("dataset_version", "weight", "natural", "proposed")
    DATASET_VERSION_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    NATURAL_FIELD_NUMBER: _ClassVar[int]
    PROPOSED_FIELD_NUMBER: _ClassVar[int]
    dataset_version: str
    weight: float
    natural: float
    proposed: float
    def __init__(self, dataset_version: _Optional[str] = ..., weight: _Optional[float] = ..., natural: _Optional[float] = ..., proposed: _Optional[float] = ...) -> None: ...

class MixtureJobResult(_message.Message):
    __slots__ = ("proposal", "runs")
    PROPOSAL_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    proposal: MixtureProposal
    runs: _containers.RepeatedCompositeFieldContainer[MixtureRun]
    def __init__(self, proposal: _Optional[_Union[MixtureProposal, _Mapping]] = ..., runs: _Optional[_Iterable[_Union[MixtureRun, _Mapping]]] = ...) -> None: ...
