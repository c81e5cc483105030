"""How much a model may differ after a hop, by the number format of what came out.

Each limit lies between what clean exports show and what a planted defect does. Measured on SmolLM2-135M-Instruct and on
small trained models of every architecture, through ONNX Runtime, llama.cpp and OpenVINO; `make bench NAME=parity`
measures again, and docs/decisions/0026 holds the figures.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["LIMITS", "Limits", "limits_of"]


@dataclass(frozen=True)
class Limits:
    """Most that may differ.

    `logit_error` is the largest difference of a logit over the largest logit, not held where rounding may send a token
    to another expert; `kl_mean` and `kl_p99` are the mean and 99th percentile over positions of
    KL(reference || candidate) in nats; `top1` is the least share of decided positions with the same first choice;
    `regret_mean` is what the candidate's own greedy tokens cost under the reference, in nats a token; `weight_error` is
    the largest relative error of one row of a weight, or, of integers, of one weight in steps of its scale;
    `task_changed` is the largest share of decided questions that get another answer.
    """

    logit_error: float | None
    kl_mean: float
    kl_p99: float
    top1: float
    regret_mean: float
    weight_error: float
    task_changed: float


LIMITS = {
    "fp32": Limits(1e-4, 1e-7, 1e-6, 1.0, 1e-3, 1e-6, 0.0),
    "fp16": Limits(None, 1e-4, 1e-3, 0.995, 1e-2, 1e-3, 0.0),
    "bf16": Limits(None, 5e-3, 5e-2, 0.99, 5e-2, 8e-3, 0.1),
    "int8": Limits(None, 2e-2, 2e-1, 0.98, 1e-1, 1.2, 0.2),
    "int4": Limits(None, 0.25, 2.0, 0.75, 0.5, 1.2, 0.5),
}


def limits_of(precision: str, *, has_experts: bool) -> Limits:
    """Return the limits of a number format; a model with routed experts may say much else at a few positions.

    Rounding sends a token whose experts are nearly tied to another one, and the whole rest of the network differs
    there. One such token in 800 raised the mean from 1e-6 to 2e-3 nats in fp16. Weights are held as tightly as ever.
    """
    limits = LIMITS[precision]
    if not has_experts or precision == "fp32":
        return limits
    return replace(
        limits,
        kl_mean=max(2 * limits.kl_mean, 0.05),
        kl_p99=max(limits.kl_p99, 5.0),
        top1=min(limits.top1, 0.95),
        task_changed=max(limits.task_changed, 0.25),
    )
