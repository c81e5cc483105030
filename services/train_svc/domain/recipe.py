"""Recipes with every default written down, so that a job's record says all that it did.

Ranges of single fields stand as rules in the contract and are checked before a request gets here.
"""

from __future__ import annotations

from typing import Any

from bessemer.api.train.v1.training_job_pb2 import TrainingRecipe
from bessemer.kernel.errors import InvalidRequest
from google.protobuf.message import Message

__all__ = ["resolve"]

# Peak learning rates by (method, adapters?); adapters stand ten times what all weights stand.
LEARNING_RATES = {
    ("cpt", False): 5e-5,
    ("cpt", True): 5e-4,
    ("sft", False): 5e-5,
    ("sft", True): 5e-4,
    ("dpo", False): 1e-5,
    ("dpo", True): 1e-4,
}


def resolve(recipe: TrainingRecipe, *, threads: int) -> TrainingRecipe:
    """Return a copy with every default that does not depend on the data filled in.

    `steps` stays unset when it was: one pass over the data, which only the worker counts. `sequence_length` stays
    unset too: `inputs.sequence_length` knows the model and the data.
    Raises: InvalidRequest if no method is named.
    """
    method = recipe.WhichOneof("method")
    if method is None:
        raise InvalidRequest(
            "training_job.recipe must hold exactly one of cpt, sft, dpo", field="training_job.recipe.method"
        )
    full = TrainingRecipe()
    full.CopyFrom(recipe)
    if method == "dpo":
        _fill(full.dpo, beta=0.1, nll_weight=1.0)
    if full.HasField("lora"):
        _fill(full.lora, rank=16)
        _fill(full.lora, alpha=2.0 * full.lora.rank)
    _fill(
        full,
        learning_rate=LEARNING_RATES[method, full.HasField("lora")],
        tokens_per_step=1024,
        warmup_fraction=0.05,
        decay_fraction=0.3,
        weight_decay=0.01,
        gradient_clip_norm=1.0,
        checkpoint_every_steps=20,
        seed=0,
        threads=threads,
        dtype="auto",
    )
    return full


def _fill(message: Message, **defaults: Any) -> None:
    """Set the fields that nobody set."""
    for field, value in defaults.items():
        if not message.HasField(field):
            setattr(message, field, value)
