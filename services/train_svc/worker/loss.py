"""Log-probabilities of packed tokens and their gradients; logits exist for one chunk of tokens at a time.

Everything here is in fp32 where it matters and outside of autograd: the caller states how much each log-probability
counts and carries the gradient of the hidden states on.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["divergence_gradients", "logprob_gradients", "token_logprobs"]

_CHUNK = 512


@torch.no_grad()
def token_logprobs(hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:
    """Return log p(target) of each token, [T] in fp32.

    Shapes: hidden [T, D], head [V, D], targets [T].
    """
    parts = [torch.empty(0)]
    for rows in _chunks(len(hidden)):
        logits = (hidden[rows] @ head.t()).float()
        parts.append(logits.gather(1, targets[rows, None])[:, 0] - logits.logsumexp(1))
    return torch.cat(parts)


@torch.no_grad()
def logprob_gradients(
    hidden: Tensor, head: Tensor, targets: Tensor, scales: Tensor, head_gradient: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return log p(target) [T] and the gradient of sum(scales * log p(target)) for the hidden states [T, D].

    That for the head is added to `head_gradient`, if given: a gradient of its own per call would be as large as it.
    Shapes: hidden [T, D], head and head_gradient [V, D], targets and scales [T].
    """
    gradient = torch.empty_like(hidden)
    parts = [torch.empty(0)]
    for rows in _chunks(len(hidden)):
        logits = (hidden[rows] @ head.t()).float()
        logits.sub_(logits.amax(1, keepdim=True))
        wanted = logits.gather(1, targets[rows, None])
        total = logits.exp_().sum(1, keepdim=True)
        parts.append((wanted - total.log())[:, 0])
        # d log p(target) / d logits = one-hot - softmax, made in place of the logits.
        logits.mul_(-scales[rows, None] / total).scatter_add_(1, targets[rows, None], scales[rows, None])
        share = logits.to(head.dtype)
        torch.mm(share, head, out=gradient[rows])
        if head_gradient is not None:
            head_gradient.addmm_(share.t(), hidden[rows])
    return torch.cat(parts), gradient


@torch.no_grad()
def divergence_gradients(
    student: tuple[Tensor, Tensor],
    teacher: tuple[Tensor, Tensor],
    scales: Tensor,
    temperature: float,
    head_gradient: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Return KL(teacher || student) of each token [T], and the gradient of sum(scales * KL) for the student's states.

    Both are pairs of hidden states [T, D] and head [V, D], of widths of their own; scales [T]. The gradient for the
    student's head is added to `head_gradient`, if given. Distributions are softened by the temperature, and the result
    grows by its square, so that gradients keep their size (Hinton et al. 2015, section 2.1).
    """
    hidden, head = student
    gradient = torch.empty_like(hidden)
    parts = [torch.empty(0)]
    for rows in _chunks(len(hidden)):
        own = ((hidden[rows] @ head.t()).float() / temperature).log_softmax(1)
        wanted = ((teacher[0][rows] @ teacher[1].t()).float() / temperature).log_softmax(1)
        likely = wanted.exp()
        parts.append((likely * (wanted - own)).sum(1) * temperature**2)
        share = ((own.exp() - likely) * (scales[rows, None] * temperature)).to(head.dtype)
        torch.mm(share, head, out=gradient[rows])
        if head_gradient is not None:
            head_gradient.addmm_(share.t(), hidden[rows])
    return torch.cat(parts), gradient


def _chunks(length: int) -> list[slice]:
    return [slice(start, min(start + _CHUNK, length)) for start in range(0, length, _CHUNK)]
