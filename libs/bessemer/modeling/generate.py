"""Building blocks of generation with continuous batching: key-value slots, packed prefill, batched decode steps."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from torch import Tensor

from bessemer.modeling.attention import document_attention
from bessemer.modeling.config import ModelConfig
from bessemer.modeling.language_model import LanguageModel
from bessemer.modeling.transformer import Transformer
from bessemer.modeling.transformers_cache import TransformersCache
from bessemer.modeling.transformers_model import TransformersModel

__all__ = [
    "Cache",
    "KVCache",
    "Sample",
    "decode_step",
    "generate_greedy",
    "generate_sampled",
    "open_cache",
    "prefill",
    "token_bytes",
]


class KVCache:
    """Keys and values of `slots` conversations of up to `max_length` tokens; memory is taken as slots fill up.

    Shapes: keys, values [layers, slots, kv heads, max_length, head dim]; `lengths` counts cached tokens per slot.
    """

    def __init__(self, config: ModelConfig, *, slots: int, max_length: int, dtype: torch.dtype = torch.float32) -> None:
        shape = (config.num_layers, slots, config.num_kv_heads, max_length, config.head_dim)
        self.keys, self.values = _lazy_zeros(shape, dtype), _lazy_zeros(shape, dtype)
        self.max_length = max_length
        self.lengths = [0] * slots

    def reset(self, slot: int, length: int = 0) -> None:
        """Forget what a slot holds beyond `length` tokens."""
        self.lengths[slot] = min(self.lengths[slot], length)

    def copy_prefix(self, source: int, target: int, length: int) -> None:
        """Make `target` hold the first `length` tokens of `source`, so that a shared prompt is computed once."""
        self.keys[:, target, :, :length] = self.keys[:, source, :, :length]
        self.values[:, target, :, :length] = self.values[:, source, :, :length]
        self.lengths[target] = length

    @staticmethod
    def token_bytes(config: ModelConfig, dtype: torch.dtype = torch.float32) -> int:
        """Return the bytes that one cached token takes."""
        return 2 * config.num_layers * config.num_kv_heads * config.head_dim * dtype.itemsize


Cache: TypeAlias = KVCache | TransformersCache


def open_cache(model: LanguageModel, *, slots: int, max_length: int) -> Cache:
    """Return an empty cache of the kind that a model works with."""
    if isinstance(model, TransformersModel):
        return TransformersCache(slots=slots, max_length=max_length)
    return KVCache(model.config, slots=slots, max_length=max_length, dtype=model.dtype)


def token_bytes(model: LanguageModel) -> int:
    """Return the bytes that one cached token takes; a bound for models of transformers, whose caches differ."""
    if isinstance(model, TransformersModel):
        return 2 * model.config.num_layers * max(model.config.hidden_size, 1) * model.dtype.itemsize
    return KVCache.token_bytes(model.config, model.dtype)


@torch.inference_mode()
def prefill(model: LanguageModel, cache: Cache, slots: Sequence[int], prompts: Sequence[Sequence[int]]) -> Tensor:
    """Append a non-empty run of tokens to each slot, all in one pass, and return the logits after each, [N, V].

    A slot that already holds tokens is continued: long prompts may come in pieces, shared prefixes by `copy_prefix`.
    """
    if isinstance(model, TransformersModel):
        assert isinstance(cache, TransformersCache)
        return torch.stack([cache.append(model, *part) for part in zip(slots, prompts, strict=True)])
    assert isinstance(cache, KVCache)
    lengths = [len(prompt) for prompt in prompts]
    begins = [cache.lengths[slot] for slot in slots]
    assert min(lengths) > 0
    assert all(b + n <= cache.max_length for b, n in zip(begins, lengths, strict=True))
    ids = torch.tensor([token for prompt in prompts for token in prompt])
    positions = torch.cat([torch.arange(b, b + n) for b, n in zip(begins, lengths, strict=True)])

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        parts = zip(slots, *(x.split_with_sizes(lengths) for x in (q, k, v)), strict=True)
        keys, values = cache.keys[layer], cache.values[layer]
        return torch.cat(
            [_extend(keys[s], values[s], b, q=q, k=k, v=v) for (s, q, k, v), b in zip(parts, begins, strict=True)]
        )

    hidden = model.hidden(ids, positions, attend)
    for slot, begin, length in zip(slots, begins, lengths, strict=True):
        cache.lengths[slot] = begin + length
    return model.logits(hidden[torch.tensor(lengths).cumsum(0) - 1])


@torch.inference_mode()
def decode_step(model: LanguageModel, cache: Cache, slots: Sequence[int], tokens: Sequence[int]) -> Tensor:
    """Append one token to each of these different slots and return the logits after it, [B, V]."""
    if isinstance(model, TransformersModel):
        return prefill(model, cache, slots, [[token] for token in tokens])
    assert isinstance(cache, KVCache)
    return _decode_own(model, cache, slots, tokens)


def _decode_own(model: Transformer, cache: KVCache, slots: Sequence[int], tokens: Sequence[int]) -> Tensor:
    positions = torch.tensor([cache.lengths[slot] for slot in slots])
    index = torch.tensor(slots)
    longest = int(positions.max()) + 1
    assert longest <= cache.max_length
    low, high = min(slots), max(slots) + 1
    # Neighbouring slots are read in place, idle ones between them included; copying the cache costs more.
    dense = high - low <= 2 * len(slots)
    rows = high - low if dense else len(slots)
    order = index - low if dense else torch.arange(len(slots))
    last = torch.zeros(rows, dtype=torch.long).index_copy_(0, order, positions)
    mask = None
    if rows > 1:
        allowed = torch.arange(longest) <= last[:, None]
        mask = torch.zeros(rows, 1, 1, longest, dtype=model.dtype).masked_fill_(~allowed[:, None, None], float("-inf"))
    groups = model.config.num_heads // model.config.num_kv_heads

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        keys, values = cache.keys[layer], cache.values[layer]
        keys[index, :, positions], values[index, :, positions] = k, v
        window = (slice(low, high) if dense else index, slice(None), slice(0, longest))
        # The query heads of one key head stand where a sequence would: no key is ever repeated.
        queries = q.view(len(slots), -1, groups, q.shape[-1])
        if rows != len(slots):
            queries = queries.new_zeros(rows, *queries.shape[1:]).index_copy_(0, order, queries)
        elif dense and rows > 1:
            queries = torch.empty_like(queries).index_copy_(0, order, queries)
        wide = None if mask is None else mask.expand(rows, queries.shape[1], groups, longest)
        out = F.scaled_dot_product_attention(queries, keys[window], values[window], attn_mask=wide)
        return out[order].reshape(len(slots), -1)

    hidden = model.hidden(torch.tensor(tokens), positions, attend)
    for slot in slots:
        cache.lengths[slot] += 1
    return model.logits(hidden)


def generate_greedy(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    stop: Collection[int] = (),
    pixels: Sequence[Tensor] = (),
) -> list[list[int]]:
    """Return the most likely continuation of each prompt, up to and including the first token of `stop`.

    `pixels` are the images of each prompt, [N, 3, size, size], for models that see.
    """
    longest = max(map(len, prompts)) + max_new_tokens
    cache = open_cache(model, slots=len(prompts), max_length=longest)
    for slot, images in enumerate(pixels):
        assert isinstance(cache, TransformersCache)
        cache.show(slot, images)
    live = list(range(len(prompts)))
    out: list[list[int]] = [[] for _ in prompts]
    logits = prefill(model, cache, live, prompts)
    while live:
        for i, token in zip(live, logits.argmax(-1).tolist(), strict=True):
            out[i].append(token)
        live = [i for i in live if len(out[i]) < max_new_tokens and out[i][-1] not in stop]
        if live:
            logits = decode_step(model, cache, live, [out[i][-1] for i in live])
    return out


class Sample(NamedTuple):
    """A drawn continuation and the log-probability of each of its tokens, in nats."""

    ids: list[int]
    logprobs: list[float]


@torch.inference_mode()
def generate_sampled(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    *,
    copies: int,
    max_new_tokens: int,
    stop: Collection[int],
    generators: Sequence[torch.Generator],
) -> list[list[Sample]]:
    """Draw `copies` continuations of each prompt from the model as it is: temperature 1, nothing cut off.

    They end with the first token of `stop`, or without one after `max_new_tokens`. A prompt is computed once. Each has
    a generator of its own, so that what else is drawn at the same time, or where, does not matter.
    """
    longest = max(map(len, prompts)) + max_new_tokens
    cache = open_cache(model, slots=len(prompts) * copies, max_length=longest)
    firsts = [i * copies for i in range(len(prompts))]
    logits = prefill(model, cache, firsts, prompts).repeat_interleave(copies, 0)
    for first, prompt in zip(firsts, prompts, strict=True):
        for slot in range(first + 1, first + copies):
            cache.copy_prefix(first, slot, len(prompt))
    samples = [Sample([], []) for _ in range(len(prompts) * copies)]
    live = list(range(len(samples)))
    while live:
        logprobs = logits.float().log_softmax(-1)
        tokens = _draw(logprobs, live, copies, generators)
        drawn = zip(live, tokens[:, 0].tolist(), logprobs.gather(1, tokens)[:, 0].tolist(), strict=True)
        for i, token, logprob in drawn:
            samples[i].ids.append(token)
            samples[i].logprobs.append(logprob)
        live = [i for i in live if len(samples[i].ids) < max_new_tokens and samples[i].ids[-1] not in stop]
        if live:
            logits = decode_step(model, cache, live, [samples[i].ids[-1] for i in live])
    return [samples[first : first + copies] for first in firsts]


def _draw(logprobs: Tensor, live: Sequence[int], copies: int, generators: Sequence[torch.Generator]) -> Tensor:
    """Return a token for each row, [rows, 1]: where a uniform number of its sequence falls among the probabilities."""
    numbers = {i // copies: torch.empty(0) for i in live}
    for prompt in numbers:
        numbers[prompt] = torch.rand(copies, generator=generators[prompt])
    uniform = torch.stack([numbers[i // copies][i % copies] for i in live])
    sums = logprobs.exp().cumsum(-1)
    return torch.searchsorted(sums, uniform[:, None] * sums[:, -1:], right=True).clamp_(max=logprobs.shape[1] - 1)


def _extend(keys: Tensor, values: Tensor, begin: int, /, *, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Store keys and values of one slot from position `begin` on, and attend to all up to them."""
    end = begin + len(q)
    keys[:, begin:end], values[:, begin:end] = k.transpose(0, 1), v.transpose(0, 1)
    if begin == 0:
        return document_attention(q, k, v, [len(q)])
    mask = torch.arange(end) <= torch.arange(begin, end)[:, None]
    q, keys, values = q.transpose(0, 1)[None], keys[None, :, :end], values[None, :, :end]
    out = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask, enable_gqa=True)
    return out[0].transpose(0, 1).flatten(1)


def _lazy_zeros(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    # numpy hands out untouched zero pages, torch.zeros would write them all.
    size = dtype.itemsize * int(np.prod(shape))
    return torch.from_numpy(np.zeros(size, dtype=np.uint8)).view(dtype).view(shape)
