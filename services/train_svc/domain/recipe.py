"""Recipes with every default written down, so that a job's record says all that it did.

Ranges of single fields stand as rules in the contract and are checked before a request gets here.
"""

from __future__ import annotations

from typing import Any

from bessemer.api.train.v1.training_job_pb2 import GrpoMethod, OnlineDpoMethod, TrainingRecipe
from bessemer.kernel.errors import InvalidRequest
from google.protobuf.message import Message

__all__ = ["ROLLOUT_METHODS", "RolloutMethod", "resolve", "rollout_method"]

RolloutMethod = GrpoMethod | OnlineDpoMethod

# Methods that learn from answers of the model's own.
ROLLOUT_METHODS = frozenset({"grpo", "online_dpo"})

# Peak learning rates when all weights learn; adapters stand ten times as much.
LEARNING_RATES = {
    "cpt": 5e-5,
    "sft": 5e-5,
    "dpo": 1e-5,
    "pretrain": 1e-3,
    "kto": 1e-5,
    "orpo": 1e-5,
    "reward_model": 1e-5,
    "grpo": 5e-6,
    "online_dpo": 5e-6,
    "distill": 5e-5,
}
_ROLLOUTS = {
    "prompts_per_step": 16,
    "completions_per_prompt": 8,
    "max_new_tokens": 64,
    "kl_budget": 1.0,
    "updates_per_rollout": 1,
}
# Defaults of a method's own fields.
DEFAULTS: dict[str, dict[str, Any]] = {
    "dpo": {"beta": 0.1, "nll_weight": 1.0, "loss": "sigmoid"},
    "kto": {"beta": 0.1, "nll_weight": 1.0, "desirable_weight": 1.0, "undesirable_weight": 1.0},
    "orpo": {"beta": 0.1},
    "distill": {"temperature": 1.0, "data_weight": 0.0},
    "grpo": {"variant": "dr_grpo", "kl_weight": 0.0, **_ROLLOUTS},
    "online_dpo": {"beta": 0.1, "nll_weight": 1.0, "loss": "sigmoid", **_ROLLOUTS},
}
_ADAPTERS_FACTOR = 10
_LABEL_NOISE = 0.1
_ENVIRONMENT_STEPS = 200


def rollout_method(recipe: TrainingRecipe) -> RolloutMethod | None:
    """Return the settings of a method that learns from answers of the model's own; None for another one."""
    method = recipe.WhichOneof("method")
    return getattr(recipe, method) if method in ROLLOUT_METHODS else None


def resolve(recipe: TrainingRecipe, *, threads: int) -> TrainingRecipe:
    """Return a copy with every default that does not depend on the data filled in.

    `steps` stays unset when it was: one pass over the data, which only the worker counts. `sequence_length` stays
    unset too: `inputs.sequence_length` knows the model and the data.
    Raises: InvalidRequest if no method is named, or fields contradict each other.
    """
    method = recipe.WhichOneof("method")
    if method is None:
        raise InvalidRequest(
            f"training_job.recipe must hold exactly one of {', '.join(LEARNING_RATES)}",
            field="training_job.recipe.method",
        )
    full = TrainingRecipe()
    full.CopyFrom(recipe)
    _fill(getattr(full, method), **DEFAULTS.get(method, {}))
    if method == "dpo" and full.dpo.loss == "robust":
        _fill(full.dpo, label_noise=_LABEL_NOISE)
    if method in ROLLOUT_METHODS:
        _fill_rewards(full, method)
    if method == "pretrain" and full.HasField("lora"):
        raise InvalidRequest("pretrain learns all weights; leave lora out", field="training_job.recipe.lora")
    if full.HasField("lora"):
        _fill(full.lora, rank=16)
        _fill(full.lora, alpha=2.0 * full.lora.rank)
    _fill(
        full,
        learning_rate=LEARNING_RATES[method] * (_ADAPTERS_FACTOR if full.HasField("lora") else 1),
        tokens_per_step=1024,
        warmup_fraction=0.05,
        decay_fraction=0.3,
        weight_decay=0.01,
        gradient_clip_norm=1.0,
        checkpoint_every_steps=20,
        seed=0,
        threads=threads,
        dtype="auto",
        num_ranks=1,
        trained_weights="all",
    )
    _check_parts(full)
    return full


def _check_parts(full: TrainingRecipe) -> None:
    """Refuse combinations that make no sense together."""
    if full.sharding and full.num_ranks == 1:
        raise InvalidRequest(
            "one rank has nothing to divide; raise recipe.num_ranks or leave recipe.sharding out",
            field="training_job.recipe.sharding",
        )
    if full.trained_weights == "projector" and (full.HasField("lora") or full.WhichOneof("method") != "sft"):
        raise InvalidRequest(
            "the projector learns by sft, and without lora; leave recipe.trained_weights out",
            field="training_job.recipe.trained_weights",
        )


def _fill_rewards(full: TrainingRecipe, method: str) -> None:
    """Say where prompts and rewards come from. An environment has no end, so steps have a default."""
    settings = getattr(full, method)
    if settings.reward_models:
        for field in ("grader", "environment"):
            if settings.HasField(field):
                raise InvalidRequest(
                    f"reward models grade the answers to prompts of the data; leave {method}.{field} out",
                    field=f"training_job.recipe.{method}.{field}",
                )
        _fill(settings, reward_pessimism=1.0)
    elif settings.HasField("environment"):
        if settings.HasField("grader"):
            raise InvalidRequest(
                f"an environment grades its answers itself; leave {method}.grader out",
                field=f"training_job.recipe.{method}.grader",
            )
        _fill(full, steps=_ENVIRONMENT_STEPS)
    else:
        _fill(settings, grader="numeric")


def _fill(message: Message, **defaults: Any) -> None:
    """Set the fields that nobody set."""
    for field, value in defaults.items():
        if not message.HasField(field):
            setattr(message, field, value)
