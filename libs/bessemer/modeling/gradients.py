"""Where a function's backward pass adds the gradient of a large weight."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["gradient_place"]


def gradient_place(weight: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return a tensor to add to, and what autograd has to be handed back.

    A parameter's own gradient is added to in place, where autograd would make one of the whole weight per use. But who
    waits for it in a hook, as engines that divide gradients do, only hears of what goes through autograd.
    """
    if not weight.is_leaf or weight._post_accumulate_grad_hooks:  # noqa: SLF001 - no public way to ask
        into = torch.zeros_like(weight)
        return into, into
    if weight.grad is None:
        weight.grad = torch.zeros_like(weight)
    return weight.grad, None
