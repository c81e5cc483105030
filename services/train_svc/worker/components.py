"""The components of a loss as functions of log-probabilities; which of them count is data, not code.

Units: nats. All tensors are fp32; autograd takes the gradient of log-probabilities, the step that of the model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from torch import Tensor

__all__ = ["PAIR_LOSSES", "Answers", "Losses", "Tokens", "policy_gradient", "reference_kl", "unpaired"]


@dataclass(frozen=True)
class Losses:
    """Weights and constants of the components; those of components that the rows do not call for are not read.

    `pair` names one of `PAIR_LOSSES`. `clip` holds how far a ratio may be below and above 1; None does not clip.
    """

    cross_entropy: float = 1.0
    pair: str = "sigmoid"
    beta: float = 0.1
    label_noise: float = 0.0
    desirable: float = 1.0
    undesirable: float = 1.0
    clip: tuple[float, float] | None = None
    mask_above: float = 0.2
    kl: float = 0.0


class Answers(NamedTuple):
    """Log-probabilities of whole answers under policy and reference, and their numbers of tokens, [N] each."""

    policy: Tensor
    reference: Tensor
    tokens: Tensor

    @property
    def gain(self) -> Tensor:
        """Change against the reference."""
        return self.policy - self.reference


class Tokens(NamedTuple):
    """Of sampled tokens, [T] each: log-probabilities under the policy as sampled from and under the reference.

    `weights` already hold the share of a token in the loss, normaliser of the method included.
    """

    behaviour: Tensor
    reference: Tensor
    advantages: Tensor
    weights: Tensor


def _sigmoid(chosen: Answers, rejected: Answers, losses: Losses) -> Tensor:
    """Source: Rafailov et al. 2023, equation 7."""
    return -F.logsigmoid(losses.beta * (chosen.gain - rejected.gain))


def _robust(chosen: Answers, rejected: Answers, losses: Losses) -> Tensor:
    """Unbiased when a share `label_noise` of labels is wrong. Source: Chowdhury et al. 2024, equation 12."""
    margin, noise = losses.beta * (chosen.gain - rejected.gain), losses.label_noise
    return (noise * F.logsigmoid(-margin) - (1 - noise) * F.logsigmoid(margin)) / (1 - 2 * noise)


def _ipo(chosen: Answers, rejected: Answers, losses: Losses) -> Tensor:
    """Source: Azar et al. 2023, equation 17; per token, so that beta means the same for answers of any length."""
    margin = chosen.gain / chosen.tokens - rejected.gain / rejected.tokens
    return (margin - 1 / (2 * losses.beta)) ** 2


def _odds_ratio(chosen: Answers, rejected: Answers, losses: Losses) -> Tensor:
    """Odds of mean token probabilities. Source: Hong et al. 2024, equation 7."""
    first, second = chosen.policy / chosen.tokens, rejected.policy / rejected.tokens
    odds = first - second - torch.log1p(-first.exp()) + torch.log1p(-second.exp())
    return -losses.beta * F.logsigmoid(odds)


# Loss of each pair, [N], from the chosen and the rejected answers.
PAIR_LOSSES: dict[str, Callable[[Answers, Answers, Losses], Tensor]] = {
    "sigmoid": _sigmoid,
    "robust": _robust,
    "ipo": _ipo,
    "odds_ratio": _odds_ratio,
}


def unpaired(answers: Answers, is_desirable: Tensor, baseline: float, losses: Losses) -> Tensor:
    """Return the loss of each answer, [N]; `baseline` is the divergence of the policy from the reference.

    Source: Ethayarajh et al. 2024, equation 8.
    """
    distance = losses.beta * (answers.gain - baseline)
    weights = torch.where(is_desirable, losses.desirable, losses.undesirable)
    return weights * (1 - torch.sigmoid(torch.where(is_desirable, distance, -distance)))


def policy_gradient(logprobs: Tensor, tokens: Tokens, losses: Losses) -> Tensor:
    """Return the loss of each token, [T]: minus ratio times advantage.

    A token whose probability has already moved more than `mask_above` the way its advantage points has no gradient: the
    ratio would say little for rare tokens and too much for common ones. Clipping, if asked for: Schulman et al. 2017.
    """
    ratio = (logprobs - tokens.behaviour).exp()
    gained = ratio * tokens.advantages
    if losses.clip is not None:
        low, high = losses.clip
        gained = torch.minimum(gained, ratio.clamp(1 - low, 1 + high) * tokens.advantages)
    moved = (logprobs.exp() - tokens.behaviour.exp()).detach() * tokens.advantages.sign()
    return -tokens.weights * torch.where(moved > losses.mask_above, gained.detach(), gained)


def reference_kl(logprobs: Tensor, tokens: Tokens) -> Tensor:
    """Return each token's estimate of the divergence from the reference, [T], never negative (Schulman 2020, k3).

    The ratio in front of it makes its gradient that of the divergence (DeepSeek-V3.2, section 3.1).
    """
    difference = tokens.reference - logprobs
    return (logprobs - tokens.behaviour).exp() * (difference.exp() - difference - 1)
