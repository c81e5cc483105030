"""The gated unit silu(gate) * up with its gradient by hand: both halves of it are written where they belong."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from torch import Tensor

__all__ = ["gated_unit"]


def gated_unit(gate_up: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return silu(gate) * up, times the weight of the row if there are weights.

    Shapes: gate_up [T, 2 * I], gates before ups; weights [T]; result [T, I]. Source: Shazeer 2020, equation 6.
    """
    return _GatedUnit.apply(gate_up, weights)  # type: ignore[no-any-return, no-untyped-call]


class _GatedUnit(torch.autograd.Function):
    """Keeps the activation, which costs an exponential, and computes the products again."""

    @staticmethod
    def forward(ctx: Any, gate_up: Tensor, weights: Tensor | None) -> Tensor:
        gate, up = gate_up.chunk(2, -1)
        active = F.silu(gate)
        ctx.save_for_backward(gate_up, active, weights)
        out = active * up
        return out if weights is None else out.mul_(weights[:, None])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None]:
        gate_up, active, weights = ctx.saved_tensors
        gate, up = gate_up.chunk(2, -1)
        out = torch.empty_like(gate_up)
        grad_gate, grad_up = out.chunk(2, -1)
        torch.mul(grad, active, out=grad_up)
        grad_active, grad_weights = grad * up, None
        if weights is not None:
            grad_weights = (grad_up * up).sum(-1)
            grad_up.mul_(weights[:, None])
            grad_active.mul_(weights[:, None])
        torch.ops.aten.silu_backward.grad_input(grad_active, gate, grad_input=grad_gate)
        return out, grad_weights
