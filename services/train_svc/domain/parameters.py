"""How many weights a Hugging Face `config.json` stands for, and the operations to train them.

The formulas follow the published model code; a test compares each with the model built without memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bessemer.kernel.errors import InvalidRequest

__all__ = ["COUNTED_TYPES", "ModelShape", "shape_of", "training_flops"]

# Of each model type: norms per layer, and what is normed of queries and keys.
COUNTED_TYPES: Mapping[str, tuple[int, str]] = {
    "llama": (2, ""),
    "mistral": (2, ""),
    "qwen2": (2, ""),
    "phi3": (2, ""),
    "gemma2": (4, ""),
    "olmo2": (2, "all heads"),
    "qwen3": (2, "each head"),
    "mixtral": (2, ""),
    "olmoe": (2, "all heads"),
    "qwen2_moe": (2, ""),
    "qwen3_moe": (2, "each head"),
    "gpt_oss": (2, ""),
    "deepseek_v3": (2, ""),
    "mistral4": (2, ""),
}
_TIED = ("gemma2",)
_QKV_BIAS = ("qwen2", "qwen2_moe")
_SIZE_MAX = 1 << 31


@dataclass(frozen=True)
class ModelShape:
    """Widths in elements, weights by part.

    `query_width` and `value_width` are over all heads, `key_width` over all key heads; `feed_forward_width` is what
    one token meets. `active` leaves out the experts that a token does not meet.
    """

    model_type: str
    vocabulary: int
    hidden: int
    layers: int
    heads: int
    query_width: int
    key_width: int
    value_width: int
    feed_forward_width: int
    is_tied: bool
    embedding: int
    attention: int
    feed_forward: int
    experts: int
    active_experts: int
    norms: int

    @property
    def total(self) -> int:
        """All weights, tied ones counted once."""
        return self.embedding + self.attention + self.feed_forward + self.experts + self.norms

    @property
    def active(self) -> int:
        """Weights that one token meets."""
        return self.total - self.experts + self.active_experts

    @property
    def multiplied(self) -> int:
        """Weights in matrix products of one token: the active ones without looked-up rows of the embedding."""
        return self.active - (0 if self.is_tied else self.vocabulary * self.hidden)

    def adapters(self, rank: int) -> int:
        """Weights of low-rank adapters on the seven linear maps of every layer of a dense model."""
        wide, inner = self.query_width, self.feed_forward_width
        inputs = 3 * self.hidden + wide + 2 * self.hidden + inner
        outputs = wide + 2 * self.key_width + self.hidden + 2 * inner + self.hidden
        return self.layers * rank * (inputs + outputs)


def training_flops(shape: ModelShape, tokens: float, document_length: float, *, trains_all: bool = True) -> float:
    """Return the operations of training on so many tokens: 6 per weight and token, 4 where weights are frozen.

    Causal attention is counted half: a token meets half of its document on average.
    """
    attention = 3.0 * shape.layers * (shape.query_width + shape.value_width) * document_length
    return tokens * ((6.0 if trains_all else 4.0) * shape.multiplied + attention)


def shape_of(raw: Mapping[str, Any]) -> ModelShape:
    """Return the shape and the exact counts of a parsed `config.json`.

    Raises: InvalidRequest for a model type that is not counted, or a size that is missing or out of range.
    """
    kind = str(raw.get("model_type"))
    if kind not in COUNTED_TYPES:
        raise InvalidRequest(
            f"config_json.model_type must be one of {', '.join(COUNTED_TYPES)}; got {kind!r}", field="config_json"
        )
    norms_per_layer, _ = COUNTED_TYPES[kind]
    hidden, layers, vocabulary = (_size(raw, key) for key in ("hidden_size", "num_hidden_layers", "vocab_size"))
    is_tied = bool(raw.get("tie_word_embeddings", kind in _TIED))
    attention, attention_norms, widths = _latent(raw) if raw.get("kv_lora_rank") else _grouped(raw, kind)
    sparse = _sparse_layers(raw, layers)
    dense_width = _size(raw, "intermediate_size")
    expert, shared, router, chosen, width = _experts(raw, kind) if sparse else (0, 0, 0, 0, 0)
    dense = 3 * hidden * dense_width + bool(raw.get("mlp_bias")) * (2 * dense_width + hidden)
    count = _size(raw, *_EXPERT_KEYS) if sparse else 0
    return ModelShape(
        model_type=kind,
        vocabulary=vocabulary,
        hidden=hidden,
        layers=layers,
        heads=_size(raw, "num_attention_heads"),
        query_width=widths[0],
        key_width=widths[1],
        value_width=widths[2],
        feed_forward_width=((layers - sparse) * dense_width + sparse * width) // layers,
        is_tied=is_tied,
        embedding=vocabulary * hidden * (1 if is_tied else 2),
        attention=layers * attention,
        feed_forward=(layers - sparse) * dense + sparse * (shared + router),
        experts=sparse * count * expert,
        active_experts=sparse * chosen * expert,
        norms=layers * (norms_per_layer * hidden + attention_norms) + hidden,
    )


_EXPERT_KEYS = ("num_local_experts", "num_experts", "n_routed_experts")


def _grouped(raw: Mapping[str, Any], kind: str) -> tuple[int, int, tuple[int, int, int]]:
    """Return weights of a layer's attention, of its norms, and widths of queries, keys and values."""
    hidden, heads = _size(raw, "hidden_size"), _size(raw, "num_attention_heads")
    kv_heads = _size(raw, "num_key_value_heads", default=heads)
    head = _size(raw, "head_dim", default=hidden // heads)
    query, key = heads * head, kv_heads * head
    weights = 2 * hidden * (query + key)
    if kind in _QKV_BIAS:
        weights += query + 2 * key
    elif raw.get("attention_bias", kind == "gpt_oss"):
        weights += query + 2 * key + hidden
    weights += heads if kind == "gpt_oss" else 0  # one learned sink per head
    norms = {"": 0, "each head": 2 * head, "all heads": query + key}[COUNTED_TYPES[kind][1]]
    return weights, norms, (query, key, query)


def _latent(raw: Mapping[str, Any]) -> tuple[int, int, tuple[int, int, int]]:
    """Return the same for attention through a latent vector (DeepSeek-AI 2024, section 2.1)."""
    hidden, heads, rank = (_size(raw, key) for key in ("hidden_size", "num_attention_heads", "kv_lora_rank"))
    rope, plain, value = (_size(raw, key) for key in ("qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim"))
    query = heads * (plain + rope)
    down = hidden * (rank + rope) + rank * heads * (plain + value) + heads * value * hidden
    if not raw.get("q_lora_rank"):
        return down + hidden * query, rank, (query, query, heads * value)
    low = _size(raw, "q_lora_rank")
    return down + hidden * low + low * query, rank + low, (query, query, heads * value)


def _experts(raw: Mapping[str, Any], kind: str) -> tuple[int, int, int, int, int]:
    """Return weights of one expert, of shared experts, of the router; experts per token; width a token meets."""
    hidden = _size(raw, "hidden_size")
    inner = _size(raw, "moe_intermediate_size", "intermediate_size")
    count, chosen = _size(raw, *_EXPERT_KEYS), _size(raw, "num_experts_per_tok")
    expert, router, shared_width = 3 * hidden * inner, hidden * count, 0
    if kind == "gpt_oss":  # experts and router have biases
        expert, router = expert + 2 * inner + hidden, router + count
    if kind == "qwen2_moe":  # the shared expert has a gate of its own
        shared_width, router = _size(raw, "shared_expert_intermediate_size"), router + hidden
    elif raw.get("n_shared_experts"):
        shared_width = inner * _size(raw, "n_shared_experts")
    return expert, 3 * hidden * shared_width, router, chosen, chosen * inner + shared_width


def _sparse_layers(raw: Mapping[str, Any], layers: int) -> int:
    """Return how many layers have experts."""
    if not any(raw.get(key) for key in _EXPERT_KEYS):
        return 0
    first, step = int(raw.get("first_k_dense_replace") or 0), max(1, int(raw.get("decoder_sparse_step") or 1))
    dense = set(raw.get("mlp_only_layers") or ())
    return sum(layer >= first and layer not in dense and (layer + 1) % step == 0 for layer in range(layers))


def _size(raw: Mapping[str, Any], *keys: str, default: int | None = None) -> int:
    found = next((raw[key] for key in keys if raw.get(key) is not None), default)
    if not isinstance(found, int) or isinstance(found, bool) or not 0 < found < _SIZE_MAX:
        raise InvalidRequest(f"config_json.{keys[0]} must be a positive integer; got {found!r}", field="config_json")
    return found
