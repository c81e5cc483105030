"""Low-rank adapters beside one set of weights: requests of different adapters share every step.

The ranks of all adapters in a step lie side by side. Each token's low-rank activations are multiplied by a mask that
keeps those of its own adapter, so what others contribute is exactly zero.
Source: LoRA, Hu et al. 2021, section 4.1; the mask in place of the gathered kernels of Punica, Chen et al. 2023.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import openvino as ov
from bessemer.modeling.adapter_files import Adapter
from openvino import opset13 as ops

__all__ = ["Stack", "add_adapters"]

_LINEAR = re.compile(r"__module\.(model\.layers\.\d+\.\w+\.\w+_proj)/")


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
        self._bare: dict[str, int] = {}  # projections that hold nothing but zeros, of such a rank

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
            if not any(name in adapter.maps for adapter in held):
                if self._bare.get(name) == rank:
                    continue
                self._bare[name] = rank
            else:
                self._bare.pop(name, None)
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
