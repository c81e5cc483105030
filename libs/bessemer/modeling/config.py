"""Shape of a llama-family model, dense or with routed experts, read from a Hugging Face `config.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from bessemer.kernel.errors import InvalidRequest

__all__ = ["MODEL_TYPES", "Experts", "ModelConfig", "QueryKeyNorm", "RopeScaling"]

MODEL_TYPES = ("llama", "mistral", "qwen2", "qwen3", "mixtral", "qwen3_moe", "olmoe")
_MOE_TYPES = ("mixtral", "qwen3_moe", "olmoe")
# What transformers takes where a file is silent, by model type.
_THETAS = {"mixtral": 1e6}
_NORM_EPS = {"mixtral": 1e-5, "olmoe": 1e-5}
_CODE_KEYS = ("auto_map", "custom_pipelines", "quantization_config")


@dataclass(frozen=True)
class RopeScaling:
    """Llama 3's stretching of low frequencies for long contexts."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_context: int


class QueryKeyNorm(StrEnum):
    """Over what queries and keys are normalised before they are rotated."""

    NONE = "none"
    HEAD = "each head"
    ALL = "all heads together"


@dataclass(frozen=True)
class Experts:
    """Feed-forward networks of which every token takes a few: `layers` have them, the others are dense.

    `normalises` says whether the weights of the chosen ones add up to one; `balance` is the coefficient of the loss
    that evens out their load in training. Source: Fedus et al. 2021, section 2.2.
    """

    num_experts: int
    num_chosen: int
    intermediate_size: int
    normalises: bool
    balance: float
    layers: frozenset[int]


@dataclass(frozen=True)
class ModelConfig:
    """Everything that decides the shapes and the arithmetic; `raw` is the file as it was read."""

    model_type: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    context_length: int
    norm_eps: float
    rope_theta: float
    rope_scaling: RopeScaling | None
    tie_embeddings: bool
    qkv_bias: bool
    qk_norm: QueryKeyNorm
    experts: Experts | None
    eos_ids: frozenset[int]
    raw: Mapping[str, Any] = field(compare=False, repr=False)

    @staticmethod
    def from_json(raw: Mapping[str, Any]) -> ModelConfig:
        """Read a parsed `config.json`.

        Raises: InvalidRequest for unknown model types, code references and arithmetic that is not implemented.
        """
        _refuse_foreign(raw)
        hidden = _integer(raw, "hidden_size")
        heads = _integer(raw, "num_attention_heads")
        kv_heads = _integer(raw, "num_key_value_heads", heads)
        if heads % kv_heads or ("head_dim" not in raw and hidden % heads):
            raise _invalid("num_attention_heads", heads, f"must be divisible by {kv_heads} and divide {hidden}")
        model_type = str(raw["model_type"])
        context = _integer(raw, "max_position_embeddings", 2048)
        slides = model_type in ("mistral", "mixtral") or raw.get("use_sliding_window")
        window = raw.get("sliding_window") if slides else None
        theta, scaling = _rope(raw, _THETAS.get(model_type, 1e4))
        return ModelConfig(
            model_type=model_type,
            vocab_size=_integer(raw, "vocab_size"),
            hidden_size=hidden,
            intermediate_size=_integer(raw, "intermediate_size"),
            num_layers=_integer(raw, "num_hidden_layers"),
            num_heads=heads,
            num_kv_heads=kv_heads,
            head_dim=_integer(raw, "head_dim", hidden // heads),
            # Within one window sliding attention is plain attention, so the window bounds what we promise.
            context_length=min(context, window) if isinstance(window, int) else context,
            norm_eps=_number(raw, "rms_norm_eps", _NORM_EPS.get(model_type, 1e-6)),
            rope_theta=theta,
            rope_scaling=scaling,
            tie_embeddings=bool(raw.get("tie_word_embeddings", False)),
            qkv_bias=model_type == "qwen2",
            qk_norm=_QK_NORMS.get(model_type, QueryKeyNorm.NONE),
            experts=_experts(raw, model_type) if model_type in _MOE_TYPES else None,
            eos_ids=ids_of(raw.get("eos_token_id")),
            raw=dict(raw),
        )

    @property
    def has_experts(self) -> bool:
        """Whether tokens choose among experts."""
        return self.experts is not None

    @property
    def balance(self) -> float:
        """Coefficient of the loss that evens out the load of experts; 0 without any."""
        return 0.0 if self.experts is None else self.experts.balance

    @property
    def num_parameters(self) -> int:
        """Number of weights, tied ones counted once."""
        return self._count(chosen_only=False)

    @property
    def num_active_parameters(self) -> int:
        """Number of weights that one token meets: of the experts only the chosen ones."""
        return self._count(chosen_only=True)

    def step_flops(self, lengths: Sequence[int], *, trains_all: bool = True) -> float:
        """Floating-point operations of training on documents of these lengths: 6N plus causal attention.

        N counts what a token meets. Frozen weights need no gradient of their own, which leaves 4N.
        """
        tokens = sum(lengths)
        matmul = self.num_active_parameters - (0 if self.tie_embeddings else self.vocab_size * self.hidden_size)
        pairs = sum(n * n for n in lengths) / 2
        return (
            6.0 if trains_all else 4.0
        ) * matmul * tokens + 12.0 * self.num_layers * self.num_heads * self.head_dim * pairs

    def _count(self, *, chosen_only: bool) -> int:
        heads, kv, width = self.num_heads, self.num_kv_heads, self.hidden_size
        attention = width * self.head_dim * (2 * heads + 2 * kv) + self.qkv_bias * self.head_dim * (heads + 2 * kv)
        norms = {QueryKeyNorm.NONE: 0, QueryKeyNorm.HEAD: 2, QueryKeyNorm.ALL: heads + kv}[self.qk_norm]
        total = self.num_layers * (attention + norms * self.head_dim + 2 * width)
        sparse = 0
        if self.experts is not None:
            sparse = len(self.experts.layers)
            computed = self.experts.num_chosen if chosen_only else self.experts.num_experts
            each = self.experts.num_experts * width + computed * 3 * width * self.experts.intermediate_size
            total += sparse * each
        total += (self.num_layers - sparse) * 3 * width * self.intermediate_size
        return total + width + self.vocab_size * width * (1 if self.tie_embeddings else 2)


_QK_NORMS = {"qwen3": QueryKeyNorm.HEAD, "qwen3_moe": QueryKeyNorm.HEAD, "olmoe": QueryKeyNorm.ALL}


def _experts(raw: Mapping[str, Any], model_type: str) -> Experts:
    # transformers 5 reads and writes both names of the number.
    key = "num_local_experts" if "num_local_experts" in raw else "num_experts"
    count, chosen = _integer(raw, key), _integer(raw, "num_experts_per_tok")
    if chosen > count:
        raise _invalid("num_experts_per_tok", chosen, f"must be at most {count}, the number of experts")
    inner = "moe_intermediate_size" if model_type == "qwen3_moe" else "intermediate_size"
    balance = raw.get("router_aux_loss_coef", 0.0)
    layers = frozenset(range(_integer(raw, "num_hidden_layers")))
    if model_type == "qwen3_moe":
        step, dense = _integer(raw, "decoder_sparse_step", 1), raw.get("mlp_only_layers") or []
        layers = frozenset(i for i in layers if i not in dense and (i + 1) % step == 0)
    return Experts(
        num_experts=count,
        num_chosen=chosen,
        intermediate_size=_integer(raw, inner),
        normalises=model_type == "mixtral" or bool(raw.get("norm_topk_prob", False)),
        balance=0.0 if balance == 0 else _number(raw, "router_aux_loss_coef", 0.0),
        layers=layers,
    )


def ids_of(value: object) -> frozenset[int]:
    """Return the token ids that a config states as one number, a list, or not at all."""
    if isinstance(value, int) and not isinstance(value, bool):
        return frozenset({value})
    return frozenset(v for v in value if isinstance(v, int)) if isinstance(value, list) else frozenset()


def _refuse_foreign(raw: Mapping[str, Any]) -> None:
    if raw.get("model_type") not in MODEL_TYPES:
        raise _invalid("model_type", raw.get("model_type"), f"must be one of {', '.join(MODEL_TYPES)}")
    for key in _CODE_KEYS:
        if key in raw:
            raise _invalid(key, raw[key], "is not allowed: models must not bring code or quantised weights")
    if raw.get("hidden_act", "silu") != "silu":
        raise _invalid("hidden_act", raw["hidden_act"], "must be silu")
    for key in ("attention_bias", "mlp_bias", "clip_qkv"):
        if raw.get(key):
            raise _invalid(key, raw[key], "must be false or absent")


def _rope(raw: Mapping[str, Any], default: float) -> tuple[float, RopeScaling | None]:
    # transformers 5 writes `rope_parameters`, older ones `rope_theta` and `rope_scaling`.
    rope = dict(raw.get("rope_parameters") or raw.get("rope_scaling") or {})
    theta = _number({"rope_theta": rope.get("rope_theta", raw.get("rope_theta", default))}, "rope_theta", default)
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return theta, None
    if kind != "llama3":
        raise _invalid("rope_parameters.rope_type", kind, "must be default or llama3")
    original = _integer(rope, "original_max_position_embeddings")
    factor, low, high = (_number(rope, key, None) for key in ("factor", "low_freq_factor", "high_freq_factor"))
    return theta, RopeScaling(factor, low, high, original)


def _integer(raw: Mapping[str, Any], key: str, default: int | None = None) -> int:
    value = raw.get(key)
    value = default if value is None else value
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**31:
        raise _invalid(key, value, "must be a positive integer")
    return value


def _number(raw: Mapping[str, Any], key: str, default: float | None) -> float:
    value = raw.get(key, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1e12:
        raise _invalid(key, value, "must be a positive number")
    return float(value)


def _invalid(key: str, value: object, rule: str) -> InvalidRequest:
    return InvalidRequest(f"config.json: {key} {rule}; got {str(value)[:80]!r}", field=f"config.json:{key}")
