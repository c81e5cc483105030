"""Causal attention inside each document of a packed row; tokens never see another document."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from torch import Tensor

__all__ = ["document_attention"]

# Up to this length plain products with a hand-written backward beat the fused CPU kernel.
_PLAIN_LIMIT = 512
# Rows of a document handled together; columns to the right of a block are never computed.
_BLOCK = 128


def document_attention(q: Tensor, k: Tensor, v: Tensor, lengths: list[int]) -> Tensor:
    """Attend causally within each document.

    Shapes: q [T, H, D], k and v [T, K, D] with H a multiple of K; lengths sum to T; result [T, H * D].
    """
    if len(lengths) == 1 and lengths[0] <= _PLAIN_LIMIT:
        return _PlainAttention.apply(q, k, v)  # type: ignore[no-any-return, no-untyped-call]
    parts = zip(*(x.split_with_sizes(lengths) for x in (q, k, v)), strict=True)
    return torch.cat([_attend(*part) for part in parts])


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    if len(q) <= _PLAIN_LIMIT:
        return _PlainAttention.apply(q, k, v)  # type: ignore[no-any-return, no-untyped-call]
    q, k, v = (x.transpose(0, 1)[None] for x in (q, k, v))
    out = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    return out[0].transpose(0, 1).flatten(1)


class _PlainAttention(torch.autograd.Function):
    """Two products per block of rows; the G query heads of a key head lie side by side, so keys are never copied."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        length, heads, width = q.shape
        groups = heads // k.shape[1]
        grouped = q.view(length, k.shape[1], groups, width).permute(1, 2, 0, 3) * width**-0.5
        keys, values = k.transpose(0, 1).contiguous(), v.transpose(0, 1).contiguous()
        out = torch.empty_like(grouped)
        future = torch.ones(_BLOCK, _BLOCK, dtype=torch.bool, device=q.device).triu_(1)
        saved = [keys, values]
        for start in range(0, length, _BLOCK):
            end = min(start + _BLOCK, length)
            rows = grouped[:, :, start:end].reshape(len(keys), -1, width)
            scores = torch.bmm(rows, keys[:, :end].transpose(1, 2))
            diagonal = scores.view(len(keys), groups, end - start, end)[..., start:]
            diagonal.masked_fill_(future[: end - start, : end - start], float("-inf"))
            weights = torch.softmax(scores, -1, dtype=torch.float32).to(q.dtype)
            out[:, :, start:end] = torch.bmm(weights, values[:, :end]).view(len(keys), groups, end - start, width)
            saved += [rows, weights]
        ctx.save_for_backward(*saved)
        return out.permute(2, 0, 1, 3).reshape(length, heads * width)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        keys, values, *blocks = ctx.saved_tensors
        kv_heads, length, width = keys.shape
        grouped = grad.view(length, kv_heads, -1, width).permute(1, 2, 0, 3)
        grad_q = torch.empty_like(grouped)
        grad_k, grad_v = torch.zeros_like(keys), torch.zeros_like(values)
        for index, start in enumerate(range(0, length, _BLOCK)):
            rows, weights = blocks[2 * index : 2 * index + 2]
            end = min(start + _BLOCK, length)
            out = grouped[:, :, start:end].reshape(kv_heads, -1, width)
            grad_v[:, :end].baddbmm_(weights.transpose(1, 2), out)
            scores = torch.bmm(out, values[:, :end].transpose(1, 2))
            scores = torch._softmax_backward_data(scores, weights, -1, weights.dtype)  # noqa: SLF001 - no public name
            grad_q[:, :, start:end] = torch.bmm(scores, keys[:, :end]).view(kv_heads, -1, end - start, width)
            grad_k[:, :end].baddbmm_(scores.transpose(1, 2), rows)
        grad_q = (grad_q * width**-0.5).permute(2, 0, 1, 3).reshape(length, -1, width)
        return grad_q, grad_k.transpose(0, 1), grad_v.transpose(0, 1)
