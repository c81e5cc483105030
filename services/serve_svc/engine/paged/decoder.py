"""One compiled graph that reads pieces of prompts and continues answers in the same pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import openvino as ov
import torch
from bessemer.modeling.adapter_files import Adapter, read_adapter
from bessemer.modeling.config import ModelConfig
from openvino._offline_transformations import paged_attention_transformation
from torch import Tensor

from serve_svc.engine.decoder import Run
from serve_svc.engine.paged.adapters import Stack, add_adapters
from serve_svc.engine.paged.blocks import BLOCK_TOKENS
from serve_svc.engine.paged.memory import PagedMemory
from serve_svc.engine.scheduler import Place

__all__ = ["PagedDecoder", "Program", "compile_paged"]

# How weights are stored, products computed, and keys and values kept, by precision.
_HINTS: Mapping[str, Mapping[str, str]] = {
    "fp32": {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"},
    "bf16": {"INFERENCE_PRECISION_HINT": "bf16", "KV_CACHE_PRECISION": "bf16"},
    "int8": {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "u8"},
}


class Program:
    """A compiled graph, the shapes of its cache, and the sizes of the projections that take adapters."""

    def __init__(self, compiled: ov.CompiledModel, projections: Mapping[str, tuple[int, int]]) -> None:
        self.compiled = compiled
        self.projections = projections
        self.caches: dict[str, tuple[ov.Type, list[int]]] = {}
        for port in compiled.inputs:
            name = port.get_any_name()
            if "_cache." in name:
                self.caches[name] = (port.element_type, [size.get_length() for size in list(port.partial_shape)[1:]])
        assert self.caches
        assert all(shape[1] in (BLOCK_TOKENS, BLOCK_TOKENS + 8) for _, shape in self.caches.values())

    @property
    def block_bytes(self) -> int:
        """Bytes that a block takes in all layers."""
        return sum(kind.size * int(np.prod(shape)) for kind, shape in self.caches.values())


def compile_paged(model: ov.Model, *, precision: str, threads: int, adapts: bool = False) -> Program:
    """Compile a graph of `build_graph` with blocks of keys and values in place of its variables."""
    projections = add_adapters(model) if adapts else {}
    paged_attention_transformation(model)
    settings = {**_HINTS[precision], "INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False}
    return Program(ov.Core().compile_model(model, "CPU", settings), projections)


class PagedDecoder:
    """The model with its blocks; memory is taken as blocks are first used.

    `adapting` compiles the same graph for adapters. Until the first one comes, answers do not pay for them.
    """

    def __init__(
        self, program: Program, memory: PagedMemory, *, num_blocks: int, adapting: Callable[[], Program]
    ) -> None:
        self._memory = memory
        self._adapting = adapting
        self._adapters: dict[str, Adapter] = {}
        self._stack: Stack | None = None
        self._caches = {
            name: ov.Tensor(kind, ov.Shape([num_blocks, *shape])) for name, (kind, shape) in program.caches.items()
        }
        self._use(program)

    def load_adapter(self, key: str, folder: Path) -> None:
        """Let runs name an adapter; the first one compiles the graph anew, which takes some seconds."""
        if not self._projections:
            self._use(self._adapting())
            self._stack = Stack(self._projections)
        self._adapters[key] = read_adapter(folder, self._projections)

    def drop_adapter(self, key: str) -> None:
        """Forget an adapter that no run names."""
        del self._adapters[key]

    def _use(self, program: Program) -> None:
        self._request = program.compiled.create_infer_request()
        self._projections = program.projections
        for name, tensor in self._caches.items():
            self._request.set_tensor(name, tensor)

    def place(self, place: Place) -> None:
        """Make a slot begin with what a place says it shares."""
        copy = self._memory.lease(place.slot).copy
        if copy is not None:
            source, target = copy
            for cache in self._caches.values():
                cache.data[target] = cache.data[source]

    def step(self, runs: Sequence[Run]) -> Tensor:
        """Append the tokens of each run to its slot, and return the logits after those that are wanted, [W, V]."""
        leases = [self._memory.lease(run.slot) for run in runs]
        lengths = np.array([len(run.tokens) for run in runs], np.int32)
        totals = np.array([len(lease.tokens) for lease in leases], np.int32)
        tables = [lease.table for lease in leases]
        ends = np.cumsum(lengths, dtype=np.int32)
        wanted = [int(end) - 1 for run, end in zip(runs, ends, strict=True) if run.wanted]
        inputs = {
            "input_ids": np.array([token for run in runs for token in run.tokens], np.int64),
            "position_ids": np.concatenate(
                [np.arange(total - length, total) for total, length in zip(totals, lengths, strict=True)]
            ),
            "past_lens": totals - lengths,
            "subsequence_begins": np.concatenate([[0], ends]).astype(np.int32),
            "block_indices": np.array([block for table in tables for block in table], np.int32),
            "block_indices_begins": np.cumsum([0, *map(len, tables)], dtype=np.int32),
            "max_context_len": np.array(totals.max(), np.int32),
            # Nobody may want any: a piece in the middle of a prompt.
            "sampled_tokens_indices": np.array(wanted or [0], np.int64),
        }
        if self._stack is not None:
            adapters = [self._adapters[run.adapter] if run.adapter else None for run in runs]
            inputs["lora_mask"] = self._stack.update(self._request, adapters, lengths.tolist())
        found = self._request.infer(inputs, share_inputs=True, share_outputs=True)
        return torch.from_numpy(found["logits"][: len(wanted), 0])


def context_length(config: ModelConfig, num_blocks: int) -> int:
    """Return how long a conversation may get."""
    return min(config.context_length, num_blocks * BLOCK_TOKENS)
