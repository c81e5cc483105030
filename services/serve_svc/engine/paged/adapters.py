"""Low-rank adapters beside one set of weights: requests of different adapters share every step.

The ranks of all adapters in a step lie side by side. Each token's low-rank activations are multiplied by a mask that
keeps those of its own adapter, so what others contribute is exactly zero.
Source: LoRA, Hu et al. 2021, section 4.1; the mask in place of the gathered kernels of Punica, Chen et al. 2023.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from bessemer.kernel.errors import InvalidRequest
from bessemer.modeling.load import read_json
from numpy.typing import NDArray
from openvino import opset13 as ops
from safetensors import SafetensorError
from safetensors.torch import load_file

__all__ = ["Adapter", "Stack", "add_adapters", "read_adapter"]

_LINEAR = re.compile(r"__module\.(model\.layers\.\d+\.\w+\.\w+_proj)/")
_TENSOR = re.compile(r"(?:base_model\.model\.)?(model\.layers\.\d+\.\w+\.\w+_proj)\.lora_(A|B)\.weight")
_REFUSED = ("use_dora", "modules_to_save", "lora_bias", "rank_pattern", "alpha_pattern", "trainable_token_indices")

Matrix = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Adapter:
    """The low-rank maps of an adapter by the name of their projection: down [r, in], up [r, out] with its scale."""

    rank: int
    maps: Mapping[str, tuple[Matrix, Matrix]]


def read_adapter(folder: Path, sizes: Mapping[str, tuple[int, int]]) -> Adapter:
    """Read an adapter in PEFT format for a model whose projections have such sizes, (in, out) by name.

    Raises: InvalidRequest if it is none, wants what is not implemented, or belongs to another model.
    """
    config = read_json(folder / "adapter_config.json")
    wanted = [key for key in _REFUSED if config.get(key)]
    if config.get("peft_type") != "LORA" or config.get("bias", "none") != "none" or wanted:
        raise _invalid(f"adapter_config.json must describe plain LoRA; got {config.get('peft_type')}, {wanted}")
    rank = int(config["r"])
    scale = config["lora_alpha"] / (math.sqrt(rank) if config.get("use_rslora") else rank)
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
    if len(parts) != 2 * len(names):
        raise _invalid("adapter_model.safetensors lacks one half of a projection")
    return Adapter(rank, {name: (parts[name, "A"], parts[name, "B"]) for name in names})


def add_adapters(model: ov.Model) -> dict[str, tuple[int, int]]:
    """Give every projection of the layers inputs for low-rank maps; return their sizes, (in, out) by name.

    Inputs: lora_mask [T, 1, R], and for each projection lora_down [R, in] and lora_up [R, out].
    """
    sizes: dict[str, tuple[int, int]] = {}
    mask = _parameter("lora_mask", [-1, 1, -1])
    parameters = [mask]
    for node in model.get_ordered_ops():
        match = _LINEAR.match(node.get_friendly_name()) if node.get_type_name() == "MatMul" else None
        if match is None:
            continue
        name = match[1]
        shapes = node.get_input_partial_shape(0), node.get_output_partial_shape(0)
        width, out = (shape[len(shape) - 1].get_length() for shape in shapes)
        sizes[name] = width, out
        down, up = _parameter(f"lora_down.{name}", [-1, width]), _parameter(f"lora_up.{name}", [-1, out])
        parameters += [down, up]
        readers = node.output(0).get_target_inputs()
        low = ops.multiply(ops.matmul(node.input_value(0), down, transpose_a=False, transpose_b=True), mask)
        total = ops.add(node, ops.matmul(low, up, transpose_a=False, transpose_b=False))
        for reader in readers:
            reader.replace_source_output(total.output(0))
    model.add_parameters(parameters)
    model.validate_nodes_and_infer_types()
    return sizes


class Stack:
    """The adapters of a step side by side, written anew only when others come."""

    def __init__(self, sizes: Mapping[str, tuple[int, int]]) -> None:
        self._sizes = sizes
        self._adapters: tuple[Adapter, ...] | None = None

    def update(self, request: Any, adapters: Sequence[Adapter | None], lengths: Sequence[int]) -> Any:
        """Set the maps of the adapters in an inference request, and return the mask of its tokens, [T, 1, R].

        `adapters` and `lengths` tell of each run whose it is and how many tokens it has.
        """
        held = self._adapters or ()
        # Whoever was here stays in place, used or not, as long as nobody new comes: nothing is copied then.
        if self._adapters is None or not {a for a in adapters if a is not None} <= set(held):
            held = tuple(dict.fromkeys(a for a in adapters if a is not None))
            self._set(request, held)
            self._adapters = held
        starts: dict[Adapter, int] = {}
        rank = 0
        for member in held:
            starts[member] = rank
            rank += member.rank
        mask = np.zeros((sum(lengths), 1, max(rank, 1)), np.float32)
        end = 0
        for adapter, length in zip(adapters, lengths, strict=True):
            if adapter is not None:
                mask[end : end + length, 0, starts[adapter] : starts[adapter] + adapter.rank] = 1
            end += length
        return mask

    def _set(self, request: Any, held: tuple[Adapter, ...]) -> None:
        rank = max(sum(adapter.rank for adapter in held), 1)
        for name, (width, out) in self._sizes.items():
            down, up = np.zeros((rank, width), np.float32), np.zeros((rank, out), np.float32)
            start = 0
            for adapter in held:
                if name in adapter.maps:
                    down[start : start + adapter.rank], up[start : start + adapter.rank] = adapter.maps[name]
                start += adapter.rank
            request.set_tensor(f"lora_down.{name}", ov.Tensor(down))
            request.set_tensor(f"lora_up.{name}", ov.Tensor(up))


def _parameter(name: str, shape: list[int]) -> Any:
    node = ops.parameter(shape, np.float32, name=name)
    node.output(0).set_names({name})
    return node


def _invalid(message: str) -> InvalidRequest:
    return InvalidRequest(message, reason="SOURCE_INVALID", field="adapter")
