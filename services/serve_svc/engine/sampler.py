"""From logits to tokens, each request with its own source of randomness.

Source: nucleus sampling, Holtzman et al. 2020, section 3.1.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import torch
from torch import Tensor

from serve_svc.engine.protocol import Sampling

__all__ = ["Sampler", "choose"]

_LIKELIEST = 256  # nearly always holds the nucleus; sorting a whole vocabulary costs ten times as much


def choose(samplers: Sequence[Sampler], logits: Tensor) -> list[int]:
    """Draw one token for each row.

    Shapes: logits [B, V].
    """
    likeliest = logits.argmax(1).tolist()
    return [
        token if sampler.greedy else sampler.choose(row)
        for sampler, token, row in zip(samplers, likeliest, logits, strict=True)
    ]


class Sampler:
    """Chooses the tokens of one request: the same seed draws the same numbers, whatever else is in the batch."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        seed = secrets.randbits(63) if sampling.seed is None else sampling.seed % (1 << 63)
        self._generator = torch.Generator().manual_seed(seed)

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is always taken."""
        return self._sampling.temperature == 0 or self._sampling.top_k == 1

    def choose(self, logits: Tensor) -> int:
        """Draw one token.

        Shapes: logits [V].
        """
        if self.greedy:
            return int(logits.argmax())
        probabilities, tokens = self._candidates(logits.double())
        cumulative = probabilities.cumsum(0)
        if self._sampling.top_p < 1:
            size = int(torch.searchsorted(cumulative, self._sampling.top_p)) + 1
            cumulative = cumulative[:size]
        drawn = torch.rand((), generator=self._generator, dtype=torch.float64) * cumulative[-1]
        index = min(int(torch.searchsorted(cumulative, drawn, right=True)), len(cumulative) - 1)
        return index if tokens is None else int(tokens[index])

    def _candidates(self, logits: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return probabilities and their tokens, likeliest first; all tokens in order if nothing cuts them."""
        scaled = (logits - logits.max()) / self._sampling.temperature
        top_k, top_p, num_tokens = self._sampling.top_k, self._sampling.top_p, len(logits)
        if 0 < top_k < num_tokens:
            scaled, tokens = scaled.topk(top_k)
            return scaled.softmax(0), tokens
        probabilities = scaled.softmax(0)
        if top_p == 1:
            return probabilities, None
        likeliest, tokens = probabilities.topk(min(_LIKELIEST, num_tokens))
        if float(likeliest.sum()) < top_p:
            likeliest, tokens = probabilities.sort(descending=True)
        return likeliest, tokens
