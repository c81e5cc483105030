"""Puts an engine together: model, cache, scheduler."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import openvino as ov
from bessemer.kernel.errors import FailedPrecondition, InvalidRequest
from bessemer.modeling.config import ModelConfig
from bessemer.modeling.generate import open_cache, token_bytes
from bessemer.modeling.language_model import LanguageConfig, LanguageModel, read_config
from bessemer.modeling.load import load_decoder, load_model, read_json
from bessemer.modeling.tokenizer import Tokenizer

from serve_svc.engine.choice import Choice, choose
from serve_svc.engine.decoder import Decoder, TorchDecoder
from serve_svc.engine.paged.blocks import BLOCK_TOKENS, Blocks
from serve_svc.engine.paged.decoder import PagedDecoder, compile_paged
from serve_svc.engine.paged.graphs import open_graph
from serve_svc.engine.paged.memory import PagedMemory
from serve_svc.engine.paged.parity import PROMPTS, check_parity
from serve_svc.engine.protocol import Load
from serve_svc.engine.slots import Memory, SlotMemory, Slots

__all__ = ["Assembly", "assemble"]


@dataclass(frozen=True)
class Assembly:
    """All that computes, and the longest conversation it can hold.

    `model` gives our own model code for what the engine does not compute; it is loaded when it is first asked for.
    """

    choice: Choice
    config: LanguageConfig
    decoder: Decoder
    slots: Slots
    model: Callable[[], LanguageModel]
    context_length: int


def assemble(load: Load, tokenizer: Tokenizer, *, fastest: str) -> Assembly:
    """Load a model into the engine that suits it; if the fast one does not compute what it should, into the plain one.

    `fastest` is the number format in which this processor was measured to multiply fastest.

    Raises: InvalidRequest if the model cannot be served.
    """
    folder = Path(load.folder)
    config = read_config(read_json(folder / "config.json"))
    model = lru_cache(lambda: load_model(folder))
    # OpenVINO names bf16 also where it is emulated, and torch may be fast where OpenVINO has no kernels.
    has_kernels = "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    choice = choose(config, load.precision, multiplies_bf16=has_kernels and fastest == "bf16")
    if choice.engine == "openvino" and isinstance(config, ModelConfig):
        try:
            decoder, memory, length = _paged(load, config, choice.precision, tokenizer)
        except (FailedPrecondition, RuntimeError) as error:  # the latter is how OpenVINO says anything
            choice = Choice("torch", "fp32", str(error))
    if choice.engine == "torch":
        decoder, memory, length = _plain(load, model())
    slots = Slots(memory, num_waiting_max=load.num_waiting_max, prefill_tokens_max=load.prefill_tokens_max)
    return Assembly(choice, config, decoder, slots, model, length)


def _plain(load: Load, model: LanguageModel) -> tuple[Decoder, Memory, int]:
    # Memory is taken as slots fill up, so short conversations never use the whole allowance.
    slot_tokens = load.kv_bytes_max // token_bytes(model) // load.num_slots
    length = min(model.config.context_length, slot_tokens)
    if length < 1:
        raise InvalidRequest(f"a cache of {load.kv_bytes_max} bytes cannot hold a token of this model in every slot")
    cache = open_cache(model, slots=load.num_slots, max_length=length)
    return TorchDecoder(model, cache), SlotMemory(load.num_slots), length


def _paged(load: Load, config: ModelConfig, precision: str, tokenizer: Tokenizer) -> tuple[Decoder, Memory, int]:
    graph = open_graph(Path(load.folder), "int8" if precision == "int8" else "fp32")
    program = compile_paged(graph.read(), precision=precision, threads=load.threads)
    num_blocks = load.kv_bytes_max // program.block_bytes
    length = min(config.context_length, num_blocks * BLOCK_TOKENS)
    if length < 1:
        raise InvalidRequest(f"a cache of {load.kv_bytes_max} bytes cannot hold {BLOCK_TOKENS} tokens of this model")
    memory = PagedMemory(Blocks(num_blocks), load.num_sequences)
    decoder = PagedDecoder(
        program,
        memory,
        num_blocks=num_blocks,
        adapting=lambda: compile_paged(graph.read(), precision=precision, threads=load.threads, adapts=True),
    )
    checked = f"parity-{precision}-{ov.Core().get_property('CPU', 'FULL_DEVICE_NAME')}".replace("/", "-")
    if not graph.has_note(checked):
        prompts = [tokenizer.encode(text) for text in PROMPTS]
        check_parity(load_decoder(Path(load.folder)), decoder, memory, prompts, precision=precision)
        graph.note(checked)
        _release_memory()
    return decoder, memory, length


def _release_memory() -> None:
    """Give the memory of the reference back to the kernel, which the allocator would keep."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
