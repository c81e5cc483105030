"""Training methods as data: which components a method's loss has, with which constants."""

from __future__ import annotations

from collections.abc import Callable

from bessemer.api.train.v1.training_job_pb2 import TrainingRecipe

from train_svc.worker.components import Losses

__all__ = ["PREFERENCE_METHODS", "losses_of"]

# Methods that learn from judged answers.
PREFERENCE_METHODS = frozenset({"dpo", "kto", "orpo", "reward_model"})

# How far ratios may leave 1, below and above (Yu et al. 2025, section 3.1).
_CLIP_HIGHER = (0.2, 0.28)

_LOSSES: dict[str, Callable[[TrainingRecipe], Losses]] = {
    "cpt": lambda _: Losses(),
    "pretrain": lambda _: Losses(),
    "sft": lambda _: Losses(),
    "distill": lambda _: Losses(),  # its loss is one of whole distributions
    "dpo": lambda r: Losses(
        cross_entropy=r.dpo.nll_weight, pair=r.dpo.loss, beta=r.dpo.beta, label_noise=r.dpo.label_noise
    ),
    "kto": lambda r: Losses(
        cross_entropy=r.kto.nll_weight,
        beta=r.kto.beta,
        desirable=r.kto.desirable_weight,
        undesirable=r.kto.undesirable_weight,
    ),
    "orpo": lambda r: Losses(pair="odds_ratio", beta=r.orpo.beta),
    "reward_model": lambda _: Losses(),  # its loss is one of scores, not of log-probabilities
    "online_dpo": lambda r: Losses(
        cross_entropy=r.online_dpo.nll_weight, pair=r.online_dpo.loss, beta=r.online_dpo.beta
    ),
    "grpo": lambda r: Losses(clip=_CLIP_HIGHER if r.grpo.variant == "dapo" else None, kl=r.grpo.kl_weight),
}


def losses_of(recipe: TrainingRecipe) -> Losses:
    """Return the components of a resolved recipe's loss."""
    return _LOSSES[str(recipe.WhichOneof("method"))](recipe)
