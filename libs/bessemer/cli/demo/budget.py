"""How much training fits into the minutes the user gives."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TOKENS_PER_STEP", "Budget", "plan_budget"]

# Import, curation, deployment and questions, seen on two cores.
FIXED_S = 110.0
# A training step costs about three forward passes (Kaplan et al. 2020, section 2.1), plus optimiser and checkpoints.
TRAINING_COST = 3.4
# A preference step also runs two answers; its reference pass is done once.
PREFERENCE_COST = 4.6
TOKENS_PER_STEP = 1024
SHARES = {"cpt": 0.72, "sft": 0.18, "dpo": 0.10}
STEPS_MIN = {"cpt": 8, "sft": 6, "dpo": 3}


@dataclass(frozen=True)
class Budget:
    """Optimiser steps per stage."""

    cpt: int
    sft: int
    dpo: int


def plan_budget(*, minutes: float, evaluation_s: float, tokens_per_s: float) -> Budget:
    """Return steps so that training fills what evaluation and the fixed parts leave of `minutes`.

    Units: `evaluation_s` seconds of one evaluation run, which happens twice; `tokens_per_s` its forward rate.
    """
    left_s = max(60.0, minutes * 60 - FIXED_S - 2 * evaluation_s)

    def steps(stage: str, cost: float) -> int:
        tokens = left_s * SHARES[stage] * tokens_per_s / cost
        return max(STEPS_MIN[stage], round(tokens / TOKENS_PER_STEP))

    return Budget(cpt=steps("cpt", TRAINING_COST), sft=steps("sft", TRAINING_COST), dpo=steps("dpo", PREFERENCE_COST))
