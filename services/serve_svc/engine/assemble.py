"""Puts an engine together: model, cache, scheduler."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import openvino as ov
from bessemer.kernel.errors import BessemerError, InvalidRequest
from bessemer.modeling.config import ModelConfig
from bessemer.modeling.generate import KVCache
from bessemer.modeling.load import load_model, read_json
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
    """All that computes, and the longest conversation it can hold."""

    choice: Choice
    decoder: Decoder
    slots: Slots
    eos_ids: frozenset[int]
    context_length: int


def assemble(load: Load, tokenizer: Tokenizer) -> Assembly:
    """Load a model into the engine that suits it; if the fast one does not compute what it should, into the plain one.

    Raises: InvalidRequest if the model cannot be served.
    """
    folder = Path(load.folder)
    config = ModelConfig.from_json(read_json(folder / "config.json"))
    choice = choose(config, load.precision, ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    if choice.engine == "openvino":
        try:
            return _assemble_paged(load, folder, config, tokenizer, choice)
        except (FailedPrecondition, RuntimeError) as error:
            choice = Choice("torch", "fp32", f"served by the plain engine: {error}")
    return _assemble_plain(load, folder, config, tokenizer, choice)
