"""Even load of routed experts: counting, and the gradient that evens it out.

The loss of a layer is coefficient * E * sum over experts of (share of rows that chose it) * (mean of its softmax),
which is smallest when both are equal for all. Shares are those of the whole step so far, not of one micro-batch, so a
batch of one topic may still use the experts of that topic. It is added as a gradient of the softmax where that is
computed: no layer has to hand a loss to anybody. The weights that are saved need nothing else to route as they did.
Source: Fedus et al. 2021, section 2.2, equation 4; shares of a larger batch: Qiu et al. 2025, section 3.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Balance"]


class Balance(nn.Module):
    """The load of one layer's experts within a step; `counts` are rows per expert, [E]."""

    counts: Tensor

    def __init__(self, num_experts: int) -> None:
        super().__init__()
        self.num_experts = num_experts
        self.pressure = 0.0
        self.register_buffer("counts", torch.zeros(num_experts, dtype=torch.long, device="cpu"), persistent=False)

    def begin(self, num_tokens: int, coefficient: float) -> None:
        """Start to count a step of so many tokens."""
        self.counts.zero_()
        self.pressure = coefficient * self.num_experts / num_tokens

    @property
    def max_over_mean(self) -> float:
        """Rows of the busiest expert over the mean; 1 when all have the same, 0 before any came."""
        return float(self.counts.max()) / max(1.0, float(self.counts.sum())) * self.num_experts

    def forward(self, weights: Tensor, shares: Tensor, chosen: Tensor) -> Tensor:
        """Return the weights unchanged; in training, count what was chosen and press on the softmax.

        Shapes: weights and chosen [T, K], shares [T, E].
        """
        if not torch.is_grad_enabled():
            return weights
        self.counts += torch.bincount(chosen.flatten(), minlength=self.num_experts)
        if not (self.pressure and shares.requires_grad):
            return weights
        load = self.counts / self.counts.sum()
        return _Press.apply(weights, shares, load * self.pressure)  # type: ignore[no-any-return, no-untyped-call]


class _Press(torch.autograd.Function):
    """Passes weights through and adds a constant gradient to every token's softmax."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, shares: Tensor, pressure: Tensor) -> Tensor:
        ctx.save_for_backward(pressure)
        ctx.shape, ctx.dtype = shares.shape, shares.dtype
        return weights.view_as(weights)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        (pressure,) = ctx.saved_tensors
        return grad, pressure.to(ctx.dtype).expand(ctx.shape), None
