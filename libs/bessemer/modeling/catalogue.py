"""Configurations to begin with, by name; the vocabulary is the tokenizer's.

Shapes of the larger ones are those of published models of that size: SmolLM2-135M, Qwen3-0.6B. The small mixtures have
experts of an eighth of a dense network and take two, so a token meets few of their weights.
"""

from __future__ import annotations

from typing import Any

__all__ = ["CONFIGS"]

_COMMON = {"hidden_act": "silu", "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "tie_word_embeddings": True}
# A coefficient of 0.01 left the busiest expert with three times its share, 0.1 evened the load at no cost in loss.
_BALANCE = {"norm_topk_prob": True, "router_aux_loss_coef": 0.1}


def _dense(model_type: str, width: int, inner: int, layers: int, heads: tuple[int, int], **more: Any) -> dict[str, Any]:
    return {
        **_COMMON,
        "model_type": model_type,
        "architectures": [{"llama": "LlamaForCausalLM", "qwen3": "Qwen3ForCausalLM"}[model_type]],
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads[0],
        "num_key_value_heads": heads[1],
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
        **more,
    }


def _sparse(
    width: int, layers: int, heads: tuple[int, int], *, inner: int, experts: int, chosen: int
) -> dict[str, Any]:
    return {
        **_dense("qwen3", width, 3 * width, layers, heads),
        **_BALANCE,
        "model_type": "qwen3_moe",
        "architectures": ["Qwen3MoeForCausalLM"],
        "head_dim": width // heads[0],
        "moe_intermediate_size": inner,
        "num_experts": experts,
        "num_experts_per_tok": chosen,
    }


CONFIGS: dict[str, dict[str, Any]] = {
    "llama-tiny": _dense("llama", 128, 384, 4, (4, 2)),
    "llama-7m": _dense("llama", 256, 768, 4, (4, 2)),
    "llama-135m": _dense("llama", 576, 1536, 30, (9, 3)),
    "qwen3-600m": _dense("qwen3", 1024, 3072, 28, (16, 8), head_dim=128),
    "moe-tiny": _sparse(128, 4, (4, 2), inner=96, experts=16, chosen=2),
    "moe-20m": _sparse(256, 8, (4, 2), inner=192, experts=16, chosen=2),
    "moe-500m": _sparse(768, 12, (12, 4), inner=384, experts=48, chosen=4),
}
