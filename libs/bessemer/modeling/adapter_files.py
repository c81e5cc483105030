"""Low-rank adapters as PEFT writes them: `adapter_config.json` and `adapter_model.safetensors`.

Source: LoRA, Hu et al. 2021, section 4.1; file names and keys as the PEFT library documents its checkpoint format.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from bessemer.kernel.errors import FailedPrecondition, InvalidRequest
from bessemer.modeling.load import read_json
from bessemer.modeling.transformer import Projection, Transformer

__all__ = ["ADAPTER_FILES", "Adapter", "add_adapter", "read_adapter", "save_adapter"]

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
_TENSOR = re.compile(r"(?:base_model\.model\.)?(model\.layers\.\d+\.\w+\.\w+_proj)\.lora_(A|B)\.weight")
_REFUSED = ("use_dora", "modules_to_save", "lora_bias", "rank_pattern", "alpha_pattern", "trainable_token_indices")

Matrix = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Adapter:
    """The low-rank maps of an adapter by the name of their projection: down [r, in], up [r, out] with its scale."""

    rank: int
    maps: Mapping[str, tuple[Matrix, Matrix]]


def read_adapter(folder: Path, sizes: Mapping[str, tuple[int, int]]) -> Adapter:
    """Read an adapter for a model whose projections have such sizes, (in, out) by name.

    Raises: InvalidRequest if it is none, wants what is not implemented, or belongs to another model.
    """
    config = read_json(folder / "adapter_config.json")
    wanted = [key for key in _REFUSED if config.get(key)]
    if config.get("peft_type") != "LORA" or config.get("bias", "none") != "none" or wanted:
        raise _invalid(f"adapter_config.json must describe plain LoRA; got {config.get('peft_type')}, {wanted}")
    rank = config.get("r")
    alpha = config.get("lora_alpha")
    if not isinstance(rank, int) or rank < 1 or not isinstance(alpha, int | float):
        raise _invalid(f"adapter_config.json must state r above 0 and lora_alpha; got {rank!r} and {alpha!r}")
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    try:
        tensors = load_file(folder / "adapter_model.safetensors")
    except (OSError, SafetensorError) as error:
        raise _invalid(f"adapter_model.safetensors cannot be read: {error}") from None
    parts: dict[tuple[str, str], Matrix] = {}
    for name, tensor in tensors.items():
        match = _TENSOR.fullmatch(name)
        size = sizes.get(match[1]) if match else None
        if match is None or size is None:
            raise _invalid(f"the model has no projection for {name}")
        values = tensor.float().numpy()
        if values.shape != ((rank, size[0]) if match[2] == "A" else (size[1], rank)):
            raise _invalid(f"{name} is {values.shape}, which does not fit rank {rank} and this model")
        parts[match[1], match[2]] = values if match[2] == "A" else np.ascontiguousarray(values.T * scale, np.float32)
    names = {name for name, _ in parts}
    if len(parts) != 2 * len(names) or not names:
        raise _invalid("adapter_model.safetensors lacks one half of a projection, or all of them")
    return Adapter(rank, {name: (parts[name, "A"], parts[name, "B"]) for name in names})


def save_adapter(model: Transformer, folder: Path) -> int:
    """Write the adapters that stand beside a model's weights, in fp32, and return their rank."""
    tensors: dict[str, torch.Tensor] = {}
    rank, alpha = 0, 0.0
    for prefix, projection in model.projections():
        assert isinstance(projection, Projection)
        assert projection.lora_a is not None
        assert projection.lora_b is not None
        names = _names(model, prefix)
        rank = len(projection.lora_a) // len(names)
        alpha = projection.scale * rank
        downs = projection.lora_a.detach().float().chunk(len(names))
        ups = projection.lora_b.detach().float().split_with_sizes(list(projection.parts.values()))
        for name, down, up in zip(names, downs, ups, strict=True):
            tensors[f"base_model.model.{name}.lora_A.weight"] = down.contiguous()
            tensors[f"base_model.model.{name}.lora_B.weight"] = up.contiguous()
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "base_model_name_or_path": None,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "r": rank,
        "target_modules": sorted({name.split(".")[-3] for name in tensors}),
        "task_type": "CAUSAL_LM",
        "use_dora": False,
        "use_rslora": False,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
    return rank


@torch.no_grad()
def add_adapter(model: Transformer, folder: Path) -> int:
    """Put an adapter from files beside a model's weights, and return its rank.

    Raises: InvalidRequest as `read_adapter`; FailedPrecondition for a model with routed experts.
    """
    homes: dict[str, tuple[Projection, int]] = {}
    for prefix, projection in model.projections():
        if not isinstance(projection, Projection):
            text = f"adapters in files fit dense models; {model.config.model_type} has routed experts here"
            raise FailedPrecondition(text, reason="SOURCE_INVALID")
        homes |= {name: (projection, part) for part, name in enumerate(_names(model, prefix))}
    sizes = {
        name: (projection.weight.shape[1], list(projection.parts.values())[part])
        for name, (projection, part) in homes.items()
    }
    adapter = read_adapter(folder, sizes)
    for _, projection in model.projections():
        projection.add_adapter(adapter.rank, 1.0, torch.Generator())
    for name, (down, up) in adapter.maps.items():
        projection, part = homes[name]
        assert projection.lora_a is not None
        assert projection.lora_b is not None
        projection.lora_a.chunk(len(projection.parts))[part].copy_(torch.from_numpy(down))
        ups = projection.lora_b.split_with_sizes(list(projection.parts.values()))
        ups[part].copy_(torch.from_numpy(up.T.copy()))
    return adapter.rank


def _names(model: Transformer, prefix: str) -> list[str]:
    """Return the Hugging Face names of the linear maps in a projection, in their order."""
    slots = [slot for slot in model.slots() if slot.parameter == f"{prefix}.weight"]
    return [slot.name.removesuffix(".weight") for slot in sorted(slots, key=lambda slot: slot.start)]


def _invalid(message: str) -> InvalidRequest:
    return InvalidRequest(message, reason="SOURCE_INVALID", field="adapter")
