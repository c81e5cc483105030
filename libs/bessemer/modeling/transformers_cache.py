"""Key-value caches of transformers' models, one per slot: right for every architecture, and slow.

Each architecture has a cache of its own kind, some of which cannot be cut back. So a slot that is cut back, or takes
over the beginning of another one, remembers its tokens only and computes them again with the next ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bessemer.modeling.transformers_model import TransformersModel

__all__ = ["TransformersCache"]


class TransformersCache:
    """`slots` conversations of up to `max_length` tokens; `lengths` counts those of each."""

    def __init__(self, *, slots: int, max_length: int) -> None:
        self.max_length = max_length
        self._ids: list[list[int]] = [[] for _ in range(slots)]
        self._caches: list[Any] = [None] * slots
        self._pixels: list[Tensor | None] = [None] * slots

    @property
    def lengths(self) -> list[int]:
        """Tokens of each slot."""
        return [len(ids) for ids in self._ids]

    def reset(self, slot: int, length: int = 0) -> None:
        """Forget what a slot holds beyond `length` tokens."""
        if length < len(self._ids[slot]):
            self._ids[slot], self._caches[slot] = self._ids[slot][:length], None

    def copy_prefix(self, source: int, target: int, length: int) -> None:
        """Make `target` hold the first `length` tokens of `source`."""
        self._ids[target], self._caches[target] = self._ids[source][:length], None
        self._pixels[target] = self._pixels[source]

    def show(self, slot: int, pixels: Tensor | None) -> None:
        """Give an empty slot the images that its tokens stand for, [N, 3, size, size]."""
        self._pixels[slot] = pixels

    def append(self, model: TransformersModel, slot: int, tokens: Sequence[int]) -> Tensor:
        """Add tokens to a slot and return the logits after the last one, [V]."""
        assert len(self._ids[slot]) + len(tokens) <= self.max_length
        fresh = self._caches[slot] is None
        new = [*self._ids[slot], *tokens] if fresh else list(tokens)
        pixels = self._pixels[slot] if fresh else None
        hidden, self._caches[slot] = model.continued(torch.tensor([new]), self._caches[slot], pixels)
        self._ids[slot] += tokens
        return model.logits(hidden[0, -1:])[0]
