"""Attention of transformers' models over packed documents: registered there by name, called with their queries.

Their own packing leaks: with an all-ones mask documents see each other, and attention with sinks leaks either way. Here
no mask exists to go wrong: every document is attended to on its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from torch import Tensor, nn

__all__ = ["ATTENTION", "documents", "register"]

ATTENTION = "bessemer_documents"  # the name in transformers' registry
_LENGTHS: ContextVar[Sequence[int] | None] = ContextVar("document lengths", default=None)


@contextmanager
def documents(lengths: Sequence[int] | None) -> Iterator[None]:
    """Say how long the documents of the row are that goes through a model; None is one that continues its cache."""
    token = _LENGTHS.set(lengths)
    try:
        yield
    finally:
        _LENGTHS.reset(token)


def register() -> None:
    """Make the function known to transformers; no mask is built for it, since no mask function has its name."""
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION, _attention)


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_others: Any,
) -> tuple[Tensor, None]:
    """Attend causally within each document.

    Shapes: query [B, H, T, D], key [B, K, S, D], value [B, K, S, E]; B is 1 unless a cache is continued, S is T plus
    what is cached; result [B, T, H, E]. `s_aux` [H] are logits of sinks, which take weight and give nothing.
    """
    del module, attention_mask
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    lengths = _LENGTHS.get()
    if lengths is None:
        lengths = [query.shape[2]]
    if len(lengths) == 1:
        parts = [(query, key, value)]
    else:
        parts = list(zip(*(x.split_with_sizes(list(lengths), 2) for x in (query, key, value)), strict=True))
    outs = [_attend(*part, scale, window=sliding_window, softcap=softcap, sinks=s_aux) for part in parts]
    return torch.cat(outs, 2).transpose(1, 2).contiguous(), None


def _attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float,
    *,
    window: int | None,
    softcap: float | None,
    sinks: Tensor | None,
) -> Tensor:
    rows, columns = q.shape[2], k.shape[2]
    slides = window is not None and window < columns
    if sinks is None and softcap is None:
        gqa = q.shape[1] != k.shape[1]
        if rows == columns and not slides:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=gqa)
        mask = _visible(rows, columns, window)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale, enable_gqa=gqa)
    groups = q.shape[1] // k.shape[1]
    scores = torch.matmul(q, k.repeat_interleave(groups, 1).transpose(2, 3)).float() * scale
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    scores = scores.masked_fill(~_visible(rows, columns, window), float("-inf"))
    if sinks is not None:
        scores = torch.cat([scores, sinks.float().view(1, -1, 1, 1).expand(*scores.shape[:3], 1)], -1)
    weights = scores.softmax(-1)[..., :columns].to(v.dtype)
    return torch.matmul(weights, v.repeat_interleave(groups, 1))


def _visible(rows: int, columns: int, window: int | None) -> Tensor:
    """Return which columns a row sees, [T, S]: the last row is the last column."""
    distance = torch.arange(columns - rows, columns)[:, None] - torch.arange(columns)
    seen = distance >= 0
    return seen if window is None else seen & (distance < window)
