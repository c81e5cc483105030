import datetime

from bessemer.api.common.v1 import artifact_pb2 as _artifact_pb2
from bessemer.api.common.v1 import job_pb2 as _job_pb2
from bessemer.api.common.v1 import options_pb2 as _options_pb2
from bessemer.api.train.v1 import model_pb2 as _model_pb2
from bessemer.api.train.v1 import planning_pb2 as _planning_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Sharding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SHARDING_UNSPECIFIED: _ClassVar[Sharding]
    SHARDING_FSDP: _ClassVar[Sharding]
    SHARDING_ZERO_1: _ClassVar[Sharding]
    SHARDING_ZERO_2: _ClassVar[Sharding]
    SHARDING_ZERO_3: _ClassVar[Sharding]
SHARDING_UNSPECIFIED: Sharding
SHARDING_FSDP: Sharding
SHARDING_ZERO_1: Sharding
SHARDING_ZERO_2: Sharding
SHARDING_ZERO_3: Sharding

class TrainingJob(_message.Message):
    __slots__ = ("name", "uid", "etag", "revision", "create_time", "update_time", "creator", "labels", "base_model_version", "dataset_versions", "recipe", "model", "status", "model_version", "usage", "inputs", "mixture", "early_stop", "forecast")
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
    BASE_MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    DATASET_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    MIXTURE_FIELD_NUMBER: _ClassVar[int]
    EARLY_STOP_FIELD_NUMBER: _ClassVar[int]
    FORECAST_FIELD_NUMBER: _ClassVar[int]
    name: str
    uid: str
    etag: str
    revision: int
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    creator: str
    labels: _containers.ScalarMap[str, str]
    base_model_version: str
    dataset_versions: _containers.RepeatedScalarFieldContainer[str]
    recipe: TrainingRecipe
    model: str
    status: _job_pb2.JobStatus
    model_version: str
    usage: TrainingUsage
    inputs: TrainingInputs
    mixture: str
    early_stop: str
    forecast: _planning_pb2.Forecast
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[str] = ..., etag: _Optional[str] = ..., revision: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., creator: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., base_model_version: _Optional[str] = ..., dataset_versions: _Optional[_Iterable[str]] = ..., recipe: _Optional[_Union[TrainingRecipe, _Mapping]] = ..., model: _Optional[str] = ..., status: _Optional[_Union[_job_pb2.JobStatus, _Mapping]] = ..., model_version: _Optional[str] = ..., usage: _Optional[_Union[TrainingUsage, _Mapping]] = ..., inputs: _Optional[_Union[TrainingInputs, _Mapping]] = ..., mixture: _Optional[str] = ..., early_stop: _Optional[str] = ..., forecast: _Optional[_Union[_planning_pb2.Forecast, _Mapping]] = ...) -> None: ...

class TrainingUsage(_message.Message):
    __slots__ = ("steps", "tokens", "seconds", "flops", "peak_memory_bytes")
    STEPS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    FLOPS_FIELD_NUMBER: _ClassVar[int]
    PEAK_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    steps: int
    tokens: int
    seconds: float
    flops: float
    peak_memory_bytes: int
    def __init__(self, steps: _Optional[int] = ..., tokens: _Optional[int] = ..., seconds: _Optional[float] = ..., flops: _Optional[float] = ..., peak_memory_bytes: _Optional[int] = ...) -> None: ...

class TrainingInputs(_message.Message):
    __slots__ = ("model_manifest", "dataset_manifests", "mixture", "teacher_manifest", "reward_manifests")
    MODEL_MANIFEST_FIELD_NUMBER: _ClassVar[int]
    DATASET_MANIFESTS_FIELD_NUMBER: _ClassVar[int]
    MIXTURE_FIELD_NUMBER: _ClassVar[int]
    TEACHER_MANIFEST_FIELD_NUMBER: _ClassVar[int]
    REWARD_MANIFESTS_FIELD_NUMBER: _ClassVar[int]
    model_manifest: _artifact_pb2.ArtifactRef
    dataset_manifests: _containers.RepeatedCompositeFieldContainer[_artifact_pb2.ArtifactRef]
    mixture: _artifact_pb2.ArtifactRef
    teacher_manifest: _artifact_pb2.ArtifactRef
    reward_manifests: _containers.RepeatedCompositeFieldContainer[_artifact_pb2.ArtifactRef]
    def __init__(self, model_manifest: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., dataset_manifests: _Optional[_Iterable[_Union[_artifact_pb2.ArtifactRef, _Mapping]]] = ..., mixture: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., teacher_manifest: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., reward_manifests: _Optional[_Iterable[_Union[_artifact_pb2.ArtifactRef, _Mapping]]] = ...) -> None: ...

class TrainingRecipe(_message.Message):
    __slots__ = ("cpt", "sft", "dpo", "pretrain", "kto", "orpo", "reward_model", "grpo", "distill", "online_dpo", "lora", "learning_rate", "steps", "tokens_per_step", "sequence_length", "warmup_fraction", "decay_fraction", "weight_decay", "gradient_clip_norm", "checkpoint_every_steps", "seed", "threads", "dtype", "num_ranks", "sharding", "trained_weights", "router_balance")
    CPT_FIELD_NUMBER: _ClassVar[int]
    SFT_FIELD_NUMBER: _ClassVar[int]
    DPO_FIELD_NUMBER: _ClassVar[int]
    PRETRAIN_FIELD_NUMBER: _ClassVar[int]
    KTO_FIELD_NUMBER: _ClassVar[int]
    ORPO_FIELD_NUMBER: _ClassVar[int]
    REWARD_MODEL_FIELD_NUMBER: _ClassVar[int]
    GRPO_FIELD_NUMBER: _ClassVar[int]
    DISTILL_FIELD_NUMBER: _ClassVar[int]
    ONLINE_DPO_FIELD_NUMBER: _ClassVar[int]
    LORA_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_PER_STEP_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_LENGTH_FIELD_NUMBER: _ClassVar[int]
    WARMUP_FRACTION_FIELD_NUMBER: _ClassVar[int]
    DECAY_FRACTION_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_DECAY_FIELD_NUMBER: _ClassVar[int]
    GRADIENT_CLIP_NORM_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_EVERY_STEPS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    NUM_RANKS_FIELD_NUMBER: _ClassVar[int]
    SHARDING_FIELD_NUMBER: _ClassVar[int]
    TRAINED_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    ROUTER_BALANCE_FIELD_NUMBER: _ClassVar[int]
    cpt: CptMethod
    sft: SftMethod
    dpo: DpoMethod
    pretrain: PretrainMethod
    kto: KtoMethod
    orpo: OrpoMethod
    reward_model: RewardModelMethod
    grpo: GrpoMethod
    distill: DistillMethod
    online_dpo: OnlineDpoMethod
    lora: LoraConfig
    learning_rate: float
    steps: int
    tokens_per_step: int
    sequence_length: int
    warmup_fraction: float
    decay_fraction: float
    weight_decay: float
    gradient_clip_norm: float
    checkpoint_every_steps: int
    seed: int
    threads: int
    dtype: str
    num_ranks: int
    sharding: Sharding
    trained_weights: str
    router_balance: float
    def __init__(self, cpt: _Optional[_Union[CptMethod, _Mapping]] = ..., sft: _Optional[_Union[SftMethod, _Mapping]] = ..., dpo: _Optional[_Union[DpoMethod, _Mapping]] = ..., pretrain: _Optional[_Union[PretrainMethod, _Mapping]] = ..., kto: _Optional[_Union[KtoMethod, _Mapping]] = ..., orpo: _Optional[_Union[OrpoMethod, _Mapping]] = ..., reward_model: _Optional[_Union[RewardModelMethod, _Mapping]] = ..., grpo: _Optional[_Union[GrpoMethod, _Mapping]] = ..., distill: _Optional[_Union[DistillMethod, _Mapping]] = ..., online_dpo: _Optional[_Union[OnlineDpoMethod, _Mapping]] = ..., lora: _Optional[_Union[LoraConfig, _Mapping]] = ..., learning_rate: _Optional[float] = ..., steps: _Optional[int] = ..., tokens_per_step: _Optional[int] = ..., sequence_length: _Optional[int] = ..., warmup_fraction: _Optional[float] = ..., decay_fraction: _Optional[float] = ..., weight_decay: _Optional[float] = ..., gradient_clip_norm: _Optional[float] = ..., checkpoint_every_steps: _Optional[int] = ..., seed: _Optional[int] = ..., threads: _Optional[int] = ..., dtype: _Optional[str] = ..., num_ranks: _Optional[int] = ..., sharding: _Optional[_Union[Sharding, str]] = ..., trained_weights: _Optional[str] = ..., router_balance: _Optional[float] = ...) -> None: ...

class CptMethod(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SftMethod(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DpoMethod(_message.Message):
    __slots__ = ("beta", "nll_weight", "loss", "label_noise")
    BETA_FIELD_NUMBER: _ClassVar[int]
    NLL_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    LABEL_NOISE_FIELD_NUMBER: _ClassVar[int]
    beta: float
    nll_weight: float
    loss: str
    label_noise: float
    def __init__(self, beta: _Optional[float] = ..., nll_weight: _Optional[float] = ..., loss: _Optional[str] = ..., label_noise: _Optional[float] = ...) -> None: ...

class PretrainMethod(_message.Message):
    __slots__ = ("num_layers", "hidden_size", "intermediate_size", "num_heads", "num_kv_heads")
    NUM_LAYERS_FIELD_NUMBER: _ClassVar[int]
    HIDDEN_SIZE_FIELD_NUMBER: _ClassVar[int]
    INTERMEDIATE_SIZE_FIELD_NUMBER: _ClassVar[int]
    NUM_HEADS_FIELD_NUMBER: _ClassVar[int]
    NUM_KV_HEADS_FIELD_NUMBER: _ClassVar[int]
    num_layers: int
    hidden_size: int
    intermediate_size: int
    num_heads: int
    num_kv_heads: int
    def __init__(self, num_layers: _Optional[int] = ..., hidden_size: _Optional[int] = ..., intermediate_size: _Optional[int] = ..., num_heads: _Optional[int] = ..., num_kv_heads: _Optional[int] = ...) -> None: ...

class KtoMethod(_message.Message):
    __slots__ = ("beta", "nll_weight", "desirable_weight", "undesirable_weight")
    BETA_FIELD_NUMBER: _ClassVar[int]
    NLL_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    DESIRABLE_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    UNDESIRABLE_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    beta: float
    nll_weight: float
    desirable_weight: float
    undesirable_weight: float
    def __init__(self, beta: _Optional[float] = ..., nll_weight: _Optional[float] = ..., desirable_weight: _Optional[float] = ..., undesirable_weight: _Optional[float] = ...) -> None: ...

class OrpoMethod(_message.Message):
    __slots__ = ("beta",)
    BETA_FIELD_NUMBER: _ClassVar[int]
    beta: float
    def __init__(self, beta: _Optional[float] = ...) -> None: ...

class RewardModelMethod(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GrpoMethod(_message.Message):
    __slots__ = ("variant", "grader", "environment", "prompts_per_step", "completions_per_prompt", "max_new_tokens", "kl_weight", "kl_budget", "updates_per_rollout", "reward_models", "reward_pessimism")
    VARIANT_FIELD_NUMBER: _ClassVar[int]
    GRADER_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    PROMPTS_PER_STEP_FIELD_NUMBER: _ClassVar[int]
    COMPLETIONS_PER_PROMPT_FIELD_NUMBER: _ClassVar[int]
    MAX_NEW_TOKENS_FIELD_NUMBER: _ClassVar[int]
    KL_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    KL_BUDGET_FIELD_NUMBER: _ClassVar[int]
    UPDATES_PER_ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    REWARD_MODELS_FIELD_NUMBER: _ClassVar[int]
    REWARD_PESSIMISM_FIELD_NUMBER: _ClassVar[int]
    variant: str
    grader: str
    environment: str
    prompts_per_step: int
    completions_per_prompt: int
    max_new_tokens: int
    kl_weight: float
    kl_budget: float
    updates_per_rollout: int
    reward_models: _containers.RepeatedScalarFieldContainer[str]
    reward_pessimism: float
    def __init__(self, variant: _Optional[str] = ..., grader: _Optional[str] = ..., environment: _Optional[str] = ..., prompts_per_step: _Optional[int] = ..., completions_per_prompt: _Optional[int] = ..., max_new_tokens: _Optional[int] = ..., kl_weight: _Optional[float] = ..., kl_budget: _Optional[float] = ..., updates_per_rollout: _Optional[int] = ..., reward_models: _Optional[_Iterable[str]] = ..., reward_pessimism: _Optional[float] = ...) -> None: ...

class OnlineDpoMethod(_message.Message):
    __slots__ = ("beta", "nll_weight", "loss", "grader", "environment", "prompts_per_step", "completions_per_prompt", "max_new_tokens", "kl_budget", "updates_per_rollout", "reward_models", "reward_pessimism")
    BETA_FIELD_NUMBER: _ClassVar[int]
    NLL_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    GRADER_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    PROMPTS_PER_STEP_FIELD_NUMBER: _ClassVar[int]
    COMPLETIONS_PER_PROMPT_FIELD_NUMBER: _ClassVar[int]
    MAX_NEW_TOKENS_FIELD_NUMBER: _ClassVar[int]
    KL_BUDGET_FIELD_NUMBER: _ClassVar[int]
    UPDATES_PER_ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    REWARD_MODELS_FIELD_NUMBER: _ClassVar[int]
    REWARD_PESSIMISM_FIELD_NUMBER: _ClassVar[int]
    beta: float
    nll_weight: float
    loss: str
    grader: str
    environment: str
    prompts_per_step: int
    completions_per_prompt: int
    max_new_tokens: int
    kl_budget: float
    updates_per_rollout: int
    reward_models: _containers.RepeatedScalarFieldContainer[str]
    reward_pessimism: float
    def __init__(self, beta: _Optional[float] = ..., nll_weight: _Optional[float] = ..., loss: _Optional[str] = ..., grader: _Optional[str] = ..., environment: _Optional[str] = ..., prompts_per_step: _Optional[int] = ..., completions_per_prompt: _Optional[int] = ..., max_new_tokens: _Optional[int] = ..., kl_budget: _Optional[float] = ..., updates_per_rollout: _Optional[int] = ..., reward_models: _Optional[_Iterable[str]] = ..., reward_pessimism: _Optional[float] = ...) -> None: ...

class DistillMethod(_message.Message):
    __slots__ = ("teacher", "temperature", "data_weight")
    TEACHER_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    DATA_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    teacher: str
    temperature: float
    data_weight: float
    def __init__(self, teacher: _Optional[str] = ..., temperature: _Optional[float] = ..., data_weight: _Optional[float] = ...) -> None: ...

class LoraConfig(_message.Message):
    __slots__ = ("rank", "alpha")
    RANK_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    rank: int
    alpha: float
    def __init__(self, rank: _Optional[int] = ..., alpha: _Optional[float] = ...) -> None: ...

class TrainingResult(_message.Message):
    __slots__ = ("manifest", "tokenizer", "architecture", "parameters", "context_length", "usage", "state_sha256", "early_stop", "parity", "adapter_rank")
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_FIELD_NUMBER: _ClassVar[int]
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_LENGTH_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    STATE_SHA256_FIELD_NUMBER: _ClassVar[int]
    EARLY_STOP_FIELD_NUMBER: _ClassVar[int]
    PARITY_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_RANK_FIELD_NUMBER: _ClassVar[int]
    manifest: _artifact_pb2.ArtifactRef
    tokenizer: _artifact_pb2.ArtifactRef
    architecture: str
    parameters: int
    context_length: int
    usage: TrainingUsage
    state_sha256: str
    early_stop: str
    parity: _model_pb2.ParityReport
    adapter_rank: int
    def __init__(self, manifest: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., tokenizer: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ..., architecture: _Optional[str] = ..., parameters: _Optional[int] = ..., context_length: _Optional[int] = ..., usage: _Optional[_Union[TrainingUsage, _Mapping]] = ..., state_sha256: _Optional[str] = ..., early_stop: _Optional[str] = ..., parity: _Optional[_Union[_model_pb2.ParityReport, _Mapping]] = ..., adapter_rank: _Optional[int] = ...) -> None: ...

class TrainingState(_message.Message):
    __slots__ = ("checkpoint", "usage", "previous")
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    checkpoint: Checkpoint
    usage: TrainingUsage
    previous: Checkpoint
    def __init__(self, checkpoint: _Optional[_Union[Checkpoint, _Mapping]] = ..., usage: _Optional[_Union[TrainingUsage, _Mapping]] = ..., previous: _Optional[_Union[Checkpoint, _Mapping]] = ...) -> None: ...

class Checkpoint(_message.Message):
    __slots__ = ("name", "step", "manifest")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    name: str
    step: int
    manifest: _artifact_pb2.ArtifactRef
    def __init__(self, name: _Optional[str] = ..., step: _Optional[int] = ..., manifest: _Optional[_Union[_artifact_pb2.ArtifactRef, _Mapping]] = ...) -> None: ...
