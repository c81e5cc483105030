"""Where the tensors of a Hugging Face file lie in our parameters, which hold several of them one below the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from torch import nn

from bessemer.modeling.config import ModelConfig

__all__ = ["Slot", "block_slots"]

# Names of the parts of an expert, and the module they are in, where they differ from the dense ones.
_MIXTRAL = {"gate": "w1", "up": "w3", "down": "w2"}
_PLAIN = {"gate": "gate_proj", "up": "up_proj", "down": "down_proj"}


class Slot(NamedTuple):
    """Where one Hugging Face tensor lives: rows `start:end` of parameter `parameter`."""

    name: str
    parameter: str
    start: int
    end: int


def block_slots(config: ModelConfig, block: nn.Module, layer: int) -> Iterator[Slot]:
    """Yield the slots of a decoder layer."""
    theirs, ours = f"model.layers.{layer}", f"blocks.{layer}"
    vectors = {"attention_norm": "input_layernorm", "mlp_norm": "post_attention_layernorm"}
    vectors |= {"q_norm": "self_attn.q_norm", "k_norm": "self_attn.k_norm"}
    for name, parameter in block.named_parameters(recurse=False):
        yield Slot(f"{theirs}.{vectors[name]}.weight", f"{ours}.{name}", 0, len(parameter))
    for name in ("qkv", "output"):
        yield from _dense(block.get_submodule(name), f"{theirs}.self_attn", f"{ours}.{name}")
    sparse = config.experts is not None and layer in config.experts.layers
    home = "block_sparse_moe" if config.model_type == "mixtral" else "mlp"
    if sparse and config.experts is not None:
        yield Slot(f"{theirs}.{home}.gate.weight", f"{ours}.mlp.router.weight", 0, config.experts.num_experts)
    for name in ("gate_up", "down"):
        module = block.get_submodule(f"mlp.{name}")
        if sparse:
            names = _MIXTRAL if config.model_type == "mixtral" else _PLAIN
            yield from _experts(module, f"{theirs}.{home}.experts", f"{ours}.mlp.{name}", names)
        else:
            yield from _dense(module, f"{theirs}.mlp", f"{ours}.mlp.{name}")


def _dense(module: nn.Module, theirs: str, ours: str) -> Iterator[Slot]:
    parts: Mapping[str, int] = module.parts  # type: ignore[assignment]
    for kind in ("weight",) if module.bias is None else ("weight", "bias"):
        start = 0
        for part, size in parts.items():
            yield Slot(f"{theirs}.{part}_proj.{kind}", f"{ours}.{kind}", start, start + size)
            start += size


def _experts(module: nn.Module, theirs: str, ours: str, names: Mapping[str, str]) -> Iterator[Slot]:
    parts: Mapping[str, int] = module.parts  # type: ignore[assignment]
    start = 0
    for expert in range(int(module.num_experts)):  # type: ignore[arg-type]
        for part, size in parts.items():
            yield Slot(f"{theirs}.{expert}.{names[part]}.weight", f"{ours}.weight", start, start + size)
            start += size
