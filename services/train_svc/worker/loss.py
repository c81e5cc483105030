"""Losses over packed tokens; logits of the whole row never exist, only those of one chunk."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from torch import Tensor

__all__ = ["cross_entropy", "dpo", "token_logprobs"]

_CHUNK = 512


def cross_entropy(hidden: Tensor, head: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted sum of -log p(target).

    Shapes: hidden [T, D], head [V, D], targets and weights [T]; a scalar comes back.
    """
    return _CrossEntropy.apply(hidden, head, targets, weights)  # type: ignore[no-any-return, no-untyped-call]


def token_logprobs(hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:
    """Return log p(target) of each token in fp32, differentiable; logits are made again on the way back.

    Shapes: hidden [T, D], head [V, D], targets [T]; [T] comes back.
    """
    return _TokenLogprobs.apply(hidden, head, targets)  # type: ignore[no-any-return, no-untyped-call]


def dpo(policy_margin: Tensor, reference_margin: Tensor, beta: float) -> Tensor:
    """Return the sum of -log sigmoid(beta * (policy margin - reference margin)) over pairs.

    A margin is log p(chosen) - log p(rejected) of whole answers. Source: Rafailov et al. 2023, equation 7.
    """
    return -F.logsigmoid(beta * (policy_margin - reference_margin)).sum()


class _CrossEntropy(torch.autograd.Function):
    """Makes the gradients on the way there, while the logits of a chunk are at hand."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        needs_head = ctx.needs_input_grad[1]
        grad_hidden = torch.empty_like(hidden)
        grad_head = torch.zeros(head.shape, dtype=torch.float32, device=head.device) if needs_head else None
        loss = torch.zeros((), dtype=torch.float32, device=hidden.device)
        for start in range(0, len(hidden), _CHUNK):
            rows = slice(start, start + _CHUNK)
            probabilities, logprobs = _softmax(hidden[rows], head, targets[rows])
            loss -= (weights[rows] * logprobs).sum()
            probabilities.scatter_add_(1, targets[rows, None], torch.full_like(logprobs, -1.0)[:, None])
            gradient = probabilities.mul_(weights[rows, None]).to(head.dtype)
            grad_hidden[rows] = gradient @ head
            if grad_head is not None:
                _accumulate(grad_head, gradient, hidden[rows])
        ctx.save_for_backward(grad_hidden, *(() if grad_head is None else (grad_head.to(head.dtype),)))
        return loss

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad_hidden, *grad_head = ctx.saved_tensors
        # The gradients are ours alone: scaled in place, copied never.
        return grad_hidden.mul_(grad), grad_head[0].mul_(grad) if grad_head else None, None, None


class _TokenLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:
        ctx.save_for_backward(hidden, head, targets)
        parts = []
        for start in range(0, len(hidden), _CHUNK):
            rows = slice(start, start + _CHUNK)
            logits = (hidden[rows] @ head.t()).float()
            parts.append(logits.gather(1, targets[rows, None])[:, 0] - logits.logsumexp(1))
        return torch.cat(parts) if parts else hidden.new_zeros(0, dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        hidden, head, targets = ctx.saved_tensors
        grad_hidden = torch.empty_like(hidden)
        needs_head = ctx.needs_input_grad[1]
        grad_head = torch.zeros(head.shape, dtype=torch.float32, device=head.device) if needs_head else None
        for start in range(0, len(hidden), _CHUNK):
            rows = slice(start, start + _CHUNK)
            probabilities, logprobs = _softmax(hidden[rows], head, targets[rows])
            probabilities.scatter_add_(1, targets[rows, None], torch.full_like(logprobs, -1.0)[:, None])
            gradient = probabilities.mul_(-grad[rows, None]).to(head.dtype)
            grad_hidden[rows] = gradient @ head
            if grad_head is not None:
                _accumulate(grad_head, gradient, hidden[rows])
        return grad_hidden, None if grad_head is None else grad_head.to(head.dtype), None


def _softmax(hidden: Tensor, head: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the probabilities [T, V] in fp32, written over the logits, and the targets' log-probabilities [T]."""
    logits = (hidden @ head.t()).float()
    normalizer = logits.logsumexp(1)
    logprobs = logits.gather(1, targets[:, None])[:, 0] - normalizer
    return logits.sub_(normalizer[:, None]).exp_(), logprobs


def _accumulate(total: Tensor, gradient: Tensor, hidden: Tensor) -> None:
    if gradient.dtype == total.dtype:
        total.addmm_(gradient.t(), hidden)
    else:
        total += gradient.t() @ hidden
