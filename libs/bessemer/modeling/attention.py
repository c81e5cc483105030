"""Causal attention inside each document of a packed row; tokens never see another document."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from torch import Tensor

__all__ = ["document_attention"]

# Up to this length plain products with a hand-written backward beat the fused CPU kernel.
_PLAIN_LIMIT = 512
# Rows handled together: of one document, where columns to the right are never computed, or several whole short ones.
_BLOCK = 128


def document_attention(q: Tensor, k: Tensor, v: Tensor, lengths: list[int]) -> Tensor:
    """Attend causally within each document.

    Shapes: q [T, H, D], k and v [T, K, D] with H a multiple of K; lengths sum to T; result [T, H * D].
    """
    if max(lengths) <= _PLAIN_LIMIT:
        return _plain_attention(q, k, v, lengths)
    parts = zip(*(x.split_with_sizes(lengths) for x in (q, k, v)), strict=True)
    return torch.cat([_attend(*part) for part in parts])


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    if len(q) <= _PLAIN_LIMIT:
        return _plain_attention(q, k, v, [len(q)])
    q, k, v = (x.transpose(0, 1)[None] for x in (q, k, v))
    out = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    return out[0].transpose(0, 1).flatten(1)


def _plain_attention(q: Tensor, k: Tensor, v: Tensor, lengths: list[int]) -> Tensor:
    windows = _windows(tuple(lengths), q.dtype, q.device)
    return _PlainAttention.apply(q, k, v, windows)  # type: ignore[no-any-return, no-untyped-call]


class _Window(NamedTuple):
    """Rows `start` to `end` and the columns `first` to `end` that they may see.

    `bias` is -inf where one of the last columns may not be seen, [end - start, end - start]; all before are seen.
    """

    first: int
    start: int
    end: int
    bias: Tensor


@lru_cache(maxsize=4)  # every layer asks for the same ones
def _windows(lengths: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> list[_Window]:
    """Cut long documents into blocks and put neighbouring short ones into one."""
    causal = torch.full((_BLOCK, _BLOCK), float("-inf"), dtype=dtype, device=device).triu_(1)
    windows: list[_Window] = []
    first = 0
    for length in lengths:
        last = windows[-1] if windows else None
        end = first + length
        if last is not None and last.first == last.start and end - last.start <= _BLOCK:
            bias = causal[: end - last.start, : end - last.start].clone()
            bias[: last.end - last.start, : last.end - last.start] = last.bias
            bias[first - last.start :, : first - last.start] = float("-inf")
            windows[-1] = _Window(last.start, last.start, end, bias)
        else:
            for start in range(first, end, _BLOCK):
                rows = min(_BLOCK, end - start)
                windows.append(_Window(first, start, start + rows, causal[:rows, :rows]))
        first = end
    return windows


class _PlainAttention(torch.autograd.Function):
    """Two products per window; the G query heads of a key head lie side by side, so keys are never copied."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, windows: list[_Window]) -> Tensor:
        length, heads, width = q.shape
        kv_heads = k.shape[1]
        grouped = _by_key_head(q, kv_heads) * width**-0.5
        keys, values = k.transpose(0, 1).contiguous(), v.transpose(0, 1).contiguous()
        out = torch.empty(length, heads * width, dtype=q.dtype, device=q.device)
        target = _by_key_head(out.view(q.shape), kv_heads)
        saved = [keys, values]
        for first, start, end, bias in windows:
            rows = grouped[:, :, start:end].reshape(kv_heads, -1, width)
            scores = torch.bmm(rows, keys[:, first:end].transpose(1, 2))
            # Adding is vectorised where filling by a mask is not.
            scores.view(kv_heads, -1, end - start, end - first)[..., start - first :].add_(bias)
            weights = torch.softmax(scores, -1, dtype=torch.float32).to(q.dtype)
            product = torch.bmm(weights, values[:, first:end])
            target[:, :, start:end] = product.view(kv_heads, -1, end - start, width)
            saved += [rows, weights]
        ctx.windows = windows
        ctx.save_for_backward(*saved)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        keys, values, *blocks = ctx.saved_tensors
        kv_heads, length, width = keys.shape
        grouped = _by_key_head(grad.view(length, -1, width), kv_heads)
        grad_q = torch.empty(length, grad.shape[1] // width, width, dtype=grad.dtype, device=grad.device)
        target = _by_key_head(grad_q, kv_heads)
        grad_k, grad_v = torch.zeros_like(keys), torch.zeros_like(values)
        for index, (first, start, end, _) in enumerate(ctx.windows):
            rows, weights = blocks[2 * index : 2 * index + 2]
            out = grouped[:, :, start:end].reshape(kv_heads, -1, width)
            grad_v[:, first:end].baddbmm_(weights.transpose(1, 2), out)
            scores = torch.bmm(out, values[:, first:end].transpose(1, 2))
            scores = torch._softmax_backward_data(scores, weights, -1, weights.dtype)  # noqa: SLF001 - no public name
            product = torch.bmm(scores, keys[:, first:end]).view(kv_heads, -1, end - start, width)
            torch.mul(product, width**-0.5, out=target[:, :, start:end])
            grad_k[:, first:end].baddbmm_(scores.transpose(1, 2), rows)
        return grad_q, grad_k.transpose(0, 1), grad_v.transpose(0, 1), None


def _by_key_head(x: Tensor, kv_heads: int) -> Tensor:
    """View [T, H, D] as [K, G, T, D]."""
    return x.view(len(x), kv_heads, -1, x.shape[2]).permute(1, 2, 0, 3)
