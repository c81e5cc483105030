"""Who computes: the model behind the loop, and the plain one that serves every model we know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from bessemer.kernel.errors import FailedPrecondition
from bessemer.modeling.generate import Cache, decode_step, prefill
from bessemer.modeling.language_model import LanguageModel
from torch import Tensor

from serve_svc.engine.scheduler import Place

__all__ = ["Decoder", "Run", "TorchDecoder"]


@dataclass(frozen=True, slots=True)
class Run:
    """Tokens to append to a slot; `wanted` if the logits after them are. `adapter` is empty for the bare model."""

    slot: int
    tokens: Sequence[int]
    wanted: bool
    adapter: str = ""


class Decoder(Protocol):
    """A model with its key-value cache."""

    def place(self, place: Place) -> None:
        """Make a slot begin with what a place says it shares."""

    def step(self, runs: Sequence[Run]) -> Tensor:
        """Append the tokens of each run to its slot, and return the logits after those that are wanted, [W, V]."""

    def load_adapter(self, key: str, folder: Path) -> None:
        """Let runs name an adapter in PEFT format.

        Raises: InvalidRequest if it does not fit the model; FailedPrecondition if this engine takes none.
        """

    def drop_adapter(self, key: str) -> None:
        """Forget an adapter that no run names."""


class TorchDecoder:
    """Our own model code: slow, exact, without conversion; the reference for the other."""

    def __init__(self, model: LanguageModel, cache: Cache) -> None:
        self._model = model
        self._cache = cache

    def place(self, place: Place) -> None:
        """Make a slot begin with what a place says it shares."""
        self._cache.reset(place.slot, place.num_shared)
        if place.source != place.slot:
            self._cache.copy_prefix(place.source, place.slot, place.num_shared)

    def step(self, runs: Sequence[Run]) -> Tensor:
        """Append the tokens of each run to its slot, and return the logits after those that are wanted, [W, V]."""
        long = [run for run in runs if len(run.tokens) > 1]
        short = [run for run in runs if len(run.tokens) == 1]
        found: dict[int, Tensor] = {}
        if long:
            logits = prefill(self._model, self._cache, [run.slot for run in long], [run.tokens for run in long])
            found |= {run.slot: row for run, row in zip(long, logits, strict=True)}
        if short:
            logits = decode_step(self._model, self._cache, [r.slot for r in short], [r.tokens[0] for r in short])
            found |= {run.slot: row for run, row in zip(short, logits, strict=True)}
        wanted = [found[run.slot] for run in runs if run.wanted]
        return torch.stack(wanted) if wanted else torch.empty(0, self._model.config.vocab_size)

    def load_adapter(self, key: str, folder: Path) -> None:  # noqa: ARG002
        """Refuse: adapters are for the engine over OpenVINO."""
        raise FailedPrecondition("this model is served by the plain engine, which takes no adapters; merge it instead")

    def drop_adapter(self, key: str) -> None:
        """Refuse: there is none."""
        raise FailedPrecondition(f"there is no adapter {key}")
