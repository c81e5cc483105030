"""Feed-forward by routed experts: tokens are sorted by expert, and each expert is one product over its own rows.

Legend: T tokens, E experts, K chosen per token, S rows sorted by expert, H hidden, I inner width. S is T * K plus the
rows that fill each expert's up to a round number. Nothing is dropped: an expert computes every row that chose it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from torch import Tensor, nn

from bessemer.modeling.balance import Balance
from bessemer.modeling.config import Experts
from bessemer.modeling.gated import gated_unit
from bessemer.modeling.gradients import gradient_place

__all__ = ["ExpertProjection", "Router", "SparseFeedForward", "grouped_linear"]


class SparseFeedForward(nn.Module):
    """A router and its experts, each a gated network like the dense one."""

    def __init__(self, width: int, experts: Experts) -> None:
        super().__init__()
        self.router = Router(width, experts)
        self.gate_up = ExpertProjection(
            experts.num_experts, width, dict.fromkeys(("gate", "up"), experts.intermediate_size)
        )
        self.down = ExpertProjection(experts.num_experts, experts.intermediate_size, {"down": width})

    def forward(self, x: Tensor) -> Tensor:
        """Map [T, H] to [T, H]."""
        weights, chosen = self.router(x)
        layout = _layout(chosen, self.gate_up.num_experts)
        rows: Tensor = _Dispatch.apply(x, layout)  # type: ignore[no-untyped-call]
        row_weights = weights.new_zeros(len(rows)).index_copy(0, layout.places, weights.flatten())
        inner = gated_unit(self.gate_up(rows, layout.sizes), row_weights)
        out: Tensor = _Combine.apply(self.down(inner, layout.sizes), layout)  # type: ignore[no-untyped-call]
        return out


class _Layout(NamedTuple):
    """Where the rows lie: `places` [T * K] of each choice, `tokens` [S] of each row, `sizes` [E] in rows.

    Rows that only fill up repeat token 0. Their weight is zero, so they change neither a result nor a gradient.
    """

    places: Tensor
    tokens: Tensor
    sizes: list[int]
    num_chosen: int


def _layout(chosen: Tensor, num_experts: int) -> _Layout:
    flat = chosen.flatten()
    counts: list[int] = torch.bincount(flat, minlength=num_experts).tolist()
    # oneDNN builds a kernel for every new shape, which took as long as the product; round sizes come again.
    mean = len(flat) / num_experts
    step = 32 if mean >= 128 else 16 if mean >= 32 else 1
    sizes = [-(-count // step) * step for count in counts]
    filling = torch.tensor([0, *(size - count for size, count in zip(sizes, counts, strict=True))]).cumsum(0)
    order = flat.argsort(stable=True)
    places = torch.empty_like(order)
    places[order] = torch.arange(len(flat)) + filling[flat[order]]
    tokens = order.new_zeros(sum(sizes))
    tokens[places] = torch.arange(len(chosen)).repeat_interleave(chosen.shape[1])
    return _Layout(places, tokens, sizes, chosen.shape[1])


class Router(nn.Module):
    """Chooses the experts of a token and weighs them, in fp32."""

    def __init__(self, width: int, experts: Experts) -> None:
        super().__init__()
        self.num_chosen, self.normalises = experts.num_chosen, experts.normalises
        self.weight = nn.Parameter(torch.empty(experts.num_experts, width))
        self.balance = Balance(experts.num_experts)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return weights and numbers of the chosen experts, [T, K] each."""
        shares = F.linear(x.float(), self.weight.float()).softmax(-1)
        weights, chosen = shares.topk(self.num_chosen, dim=-1)
        if self.normalises:
            weights = weights / weights.sum(-1, keepdim=True)
        return self.balance(weights, shares, chosen).to(x.dtype), chosen


class ExpertProjection(nn.Module):
    """The same linear maps in every expert, with optional low-rank adapters on each; experts lie one below the other.

    Shapes: weight [E * sum of parts, in]; parts are of equal size.
    """

    def __init__(self, num_experts: int, width: int, parts: dict[str, int]) -> None:
        super().__init__()
        self.num_experts, self.parts = num_experts, parts
        self.weight = nn.Parameter(torch.empty(num_experts * sum(parts.values()), width))
        self.lora_a: nn.Parameter | None = None
        self.lora_b: nn.Parameter | None = None
        self.scale = 0.0

    def add_adapter(self, rank: int, scale: float, generator: torch.Generator) -> None:
        """Add adapters that change nothing yet: A as nn.Linear would draw it, B zero."""
        width = self.weight.shape[1]
        bound = 1 / math.sqrt(width)
        a = (torch.rand(self.num_experts * len(self.parts) * rank, width, generator=generator) * 2 - 1) * bound
        self.lora_a = nn.Parameter(a.to(self.weight.dtype))
        self.lora_b = nn.Parameter(self.weight.new_zeros(self.weight.shape[0], rank))
        self.scale = scale

    def adapter_delta(self) -> Tensor:
        """Return what the adapters add to the weight, in fp32."""
        assert self.lora_a is not None
        assert self.lora_b is not None
        maps = self.num_experts * len(self.parts)
        down = self.lora_a.detach().float().view(maps, -1, self.lora_a.shape[1])
        up = self.lora_b.detach().float().view(maps, -1, self.lora_b.shape[1])
        return torch.bmm(up, down).flatten(0, 1) * self.scale

    def forward(self, x: Tensor, sizes: Sequence[int]) -> Tensor:
        """Map rows sorted by expert, `sizes` of each, [S, in] to [S, sum of parts]."""
        y = grouped_linear(x, self.weight, sizes)
        if self.lora_a is None or self.lora_b is None:
            return y
        lows = (grouped_linear(x, self.lora_a, sizes) * self.scale).chunk(len(self.parts), -1)
        ups = self.lora_b.view(self.num_experts, len(self.parts), -1, self.lora_b.shape[1]).unbind(1)
        return y + torch.cat(
            [grouped_linear(low, up.flatten(0, 1), sizes) for low, up in zip(lows, ups, strict=True)], -1
        )


def grouped_linear(x: Tensor, weight: Tensor, sizes: Sequence[int]) -> Tensor:
    """Multiply each group of rows with its own matrix.

    Shapes: x [S, in] with groups of `sizes`; weight [len(sizes) * out, in]; result [S, out].
    """
    return _Grouped.apply(x, weight, sizes)  # type: ignore[no-any-return, no-untyped-call]


class _Grouped(torch.autograd.Function):
    """Adds to the gradient of a parameter in place: experts without rows then cost nothing, not even a zero."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, sizes: Sequence[int]) -> Tensor:
        ctx.save_for_backward(x)
        ctx.weight, ctx.sizes = weight, sizes
        out = x.new_empty(len(x), len(weight) // len(sizes))
        for rows, matrix in _groups(sizes, weight):
            torch.mm(x[rows], matrix.t(), out=out[rows])
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (x,), weight = ctx.saved_tensors, ctx.weight
        grad_x = returned = None
        if ctx.needs_input_grad[0]:
            grad_x = torch.empty_like(x)
            for rows, matrix in _groups(ctx.sizes, weight):
                torch.mm(grad[rows], matrix, out=grad_x[rows])
        if ctx.needs_input_grad[1]:
            into, returned = gradient_place(weight)
            for rows, matrix in _groups(ctx.sizes, into):
                matrix.addmm_(grad[rows].t(), x[rows])
        return grad_x, returned, None


def _groups(sizes: Sequence[int], weight: Tensor) -> Iterator[tuple[slice, Tensor]]:
    start = 0
    for size, matrix in zip(sizes, weight.chunk(len(sizes)), strict=True):
        if size:
            yield slice(start, start + size), matrix
        start += size


class _Dispatch(torch.autograd.Function):
    """Rows of tokens in the order of their experts; the gradient of a token is the sum of those of its rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layout: _Layout) -> Tensor:
        ctx.layout = layout
        return x.index_select(0, layout.tokens)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _gather(grad, ctx.layout), None


class _Combine(torch.autograd.Function):
    """The transpose of `_Dispatch`."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, layout: _Layout) -> Tensor:
        ctx.layout = layout
        return _gather(rows, layout)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad.index_select(0, ctx.layout.tokens), None


def _gather(rows: Tensor, layout: _Layout) -> Tensor:
    return rows.index_select(0, layout.places).view(-1, layout.num_chosen, rows.shape[1]).sum(1)
