"""Whether a compiled graph computes what our own model code computes, before it may answer anybody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from bessemer.kernel.errors import FailedPrecondition
from bessemer.modeling.transformer import Transformer
from torch import Tensor

from serve_svc.engine.answer import Answer
from serve_svc.engine.decoder import Decoder, Run
from serve_svc.engine.protocol import Sampling
from serve_svc.engine.slots import Memory

__all__ = ["Distance", "check_parity", "measure"]

# Of different lengths, one longer than a block; what they say does not matter.
PROMPTS = (
    "Iron",
    "The capital of France is",
    "Ore, coke and limestone go into the blast furnace; pig iron and slag leave it. Water cools the mould. " * 2,
)
STEPS = 6

# The largest difference of a logit over the largest logit: sums of another order gain 3e-6, a wrong graph 0.1.
ERROR_MAX = {"fp32": 1e-3}
# Mean divergence in nats: rounding gains up to 0.02, a wrong graph whole nats.
DIVERGENCE_MAX = {"bf16": 0.1, "int8": 0.1}


@dataclass(frozen=True, slots=True)
class Distance:
    """How far logits are from the reference: the largest difference over the largest logit, mean divergence, nats."""

    error: float
    divergence: float


def check_parity(
    model: Transformer, decoder: Decoder, memory: Memory, prompts: Sequence[Sequence[int]], *, precision: str
) -> Distance:
    """Compare logits after prompts and after each token of the reference's greedy answers.

    Raises: FailedPrecondition if they differ by more than rounding explains.
    """
    found = measure(model, decoder, memory, prompts)
    error_max, divergence_max = ERROR_MAX.get(precision, float("inf")), DIVERGENCE_MAX.get(precision, float("inf"))
    if not (found.error <= error_max and found.divergence <= divergence_max):
        raise FailedPrecondition(
            f"in {precision} the compiled model is not the model: its logits differ by {found.error:.2g} of the "
            f"largest, its distributions by {found.divergence:.2g} nats"
        )
    return found


@torch.inference_mode()
def measure(model: Transformer, decoder: Decoder, memory: Memory, prompts: Sequence[Sequence[int]]) -> Distance:
    """Return how far a decoder is from the model; its slots are free again afterwards."""
    slots, texts = [], [list(prompt) for prompt in prompts]
    for prompt in prompts:
        answer = Answer("", prompt, Sampling(), num_tokens_max=STEPS, decode=str)
        place = memory.take(answer)
        assert place is not None
        decoder.place(place)
        slots.append((place.slot, place.num_shared))
    fresh = [text[num_shared:] for text, (_, num_shared) in zip(texts, slots, strict=True)]
    errors, divergences = [], []
    for _ in range(STEPS):
        for (slot, _), tokens in zip(slots, fresh, strict=True):
            memory.grow(slot, tokens)
        runs = [Run(slot, tokens, wanted=True) for (slot, _), tokens in zip(slots, fresh, strict=True)]
        got = decoder.step(runs).float()
        expected = torch.stack([_last_logits(model, text) for text in texts]).float()
        errors.append(float((got - expected).abs().max() / expected.abs().max()))
        divergences.append(float(_divergence(expected, got)))
        fresh = [[token] for token in expected.argmax(1).tolist()]
        texts = [[*text, *tokens] for text, tokens in zip(texts, fresh, strict=True)]
    for slot, _ in slots:
        memory.give_back(slot)
    # Not a number is not close to anything, whatever max() makes of it.
    worst = max(errors) if all(error == error for error in errors) else float("nan")  # noqa: PLR0124
    return Distance(worst, sum(divergences) / len(divergences))


def _last_logits(model: Transformer, ids: Sequence[int]) -> Tensor:
    hidden = model(torch.tensor(ids), torch.arange(len(ids)), [len(ids)])
    return model.logits(hidden[-1:])[0]


def _divergence(expected: Tensor, got: Tensor) -> Tensor:
    reference = expected.log_softmax(1)
    return (reference.exp() * (reference - got.log_softmax(1))).sum(1).mean()
