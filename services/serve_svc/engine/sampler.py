"""From logits to tokens, each request with its own source of randomness.

Settings act in this order: constraint, bias, penalties, temperature, min-p, top-k, top-p.
Source: nucleus sampling, Holtzman et al. 2020, section 3.1; repetition penalty, Keskar et al. 2019, section 4.1;
min-p, Nguyen et al. 2024, section 3; frequency and presence penalty as OpenAI's API reference defines them.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence

import torch
from bessemer.kernel.errors import BessemerError
from torch import Tensor

from serve_svc.engine.constraint import Matcher
from serve_svc.engine.protocol import Sampling

__all__ = ["Choice", "Sampler", "choose"]

_LIKELIEST = 256  # nearly always holds the nucleus; sorting a whole vocabulary costs ten times as much
# A token; its log-probability and the likeliest tokens with theirs, if asked for; whether nothing may follow it.
Choice = tuple[int, "tuple[float, list[tuple[int, float]]] | None", bool]


def choose(samplers: Sequence[Sampler], logits: Tensor) -> list[Choice | BessemerError]:
    """Draw one token for each row, or say why a row's constraint cannot be followed.

    Shapes: logits [B, V].
    """
    likeliest = logits.argmax(1).tolist()
    return [
        (token, None, False) if sampler.plain else sampler.take(row)
        for sampler, token, row in zip(samplers, likeliest, logits, strict=True)
    ]


class Sampler:
    """Chooses the tokens of one request: the same seed draws the same numbers, whatever else is in the batch."""

    def __init__(self, sampling: Sampling, *, prompt_ids: Sequence[int] = (), matcher: Matcher | None = None) -> None:
        self._sampling = sampling
        self._prompt_ids = prompt_ids
        self._matcher = matcher
        self._counts: Tensor | None = None  # how often each token was chosen, [V]
        self._seen: Tensor | None = None  # whether a token is in the prompt or the answer, [V]
        seed = secrets.randbits(63) if sampling.seed is None else sampling.seed % (1 << 63)
        self._generator = torch.Generator().manual_seed(seed)
        self._adjusts = bool(
            matcher
            or sampling.logit_bias
            or sampling.frequency_penalty
            or sampling.presence_penalty
            or sampling.repetition_penalty != 1
        )

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is always taken."""
        return self._sampling.temperature == 0 or self._sampling.top_k == 1

    @property
    def plain(self) -> bool:
        """Whether the likeliest token of the model is all that is asked for."""
        return self.greedy and not self._adjusts and self._sampling.logprobs is None

    def take(self, logits: Tensor) -> Choice | BessemerError:
        """Choose the next token and remember it.

        Shapes: logits [V].
        """
        try:
            token = self.choose(self._adjusted(logits) if self._adjusts else logits)
            ended = self._matcher.consume(token) if self._matcher else False
        except BessemerError as error:
            return error
        if self._counts is not None:
            self._counts[token] += 1
        if self._seen is not None:
            self._seen[token] = True
        return token, self._logprobs(logits, token), ended

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

    def _adjusted(self, logits: Tensor) -> Tensor:
        sampling, logits = self._sampling, logits.float().clone()
        for token, bias in sampling.logit_bias:
            if token < len(logits):
                logits[token] += bias
        if sampling.repetition_penalty != 1:
            if self._seen is None:
                self._seen = torch.zeros(len(logits), dtype=torch.bool)
                self._seen[list(self._prompt_ids)] = True
            factor = torch.where(logits > 0, 1 / sampling.repetition_penalty, sampling.repetition_penalty)
            logits = torch.where(self._seen, logits * factor, logits)
        if sampling.frequency_penalty or sampling.presence_penalty:
            if self._counts is None:
                self._counts = torch.zeros(len(logits))
            logits -= sampling.frequency_penalty * self._counts + sampling.presence_penalty * (self._counts > 0)
        if self._matcher is not None:
            logits.masked_fill_(~torch.from_numpy(self._matcher.allowed()), -math.inf)
        return logits

    def _logprobs(self, logits: Tensor, token: int) -> tuple[float, list[tuple[int, float]]] | None:
        number = self._sampling.logprobs
        if number is None:
            return None
        logprobs = logits.float().log_softmax(0)
        values, tokens = logprobs.topk(min(number, len(logprobs)))
        return float(logprobs[token]), list(zip(tokens.tolist(), values.tolist(), strict=True))

    def _candidates(self, logits: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return probabilities and their tokens, likeliest first; all tokens in order if nothing cuts them."""
        scaled = (logits - logits.max()) / self._sampling.temperature
        if self._sampling.min_p > 0:
            scaled = scaled.masked_fill(scaled < math.log(self._sampling.min_p), -math.inf)
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
