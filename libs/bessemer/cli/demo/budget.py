"""How much training fits into the minutes the user gives."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CALIBRATION_STEPS", "TOKENS_PER_STEP", "Budget", "learning_rate", "plan_budget"]

# Import, curation, calibration, deployment and questions, seen on two cores.
FIXED_S = 150.0
CALIBRATION_STEPS = 3
# What a token costs per stage beside one of calibration: starting, checkpoints and saving; a preference step also runs
# two answers, and its reference pass.
COSTS = {"cpt": 1.15, "sft": 1.15, "dpo": 1.6}
TOKENS_PER_STEP = 1024
SHARES = {"cpt": 0.72, "sft": 0.18, "dpo": 0.10}
STEPS_MIN = {"cpt": 8, "sft": 6, "dpo": 3}
# More steps than these bring little to so few documents.
STEPS_MAX = {"cpt": 96, "sft": 24, "dpo": 10}
# A run of minutes takes larger steps than the default, which is meant for runs of hours: the rate, and for how many
# steps it is right. What general text loses grows with the product: 32 steps at 2e-4 cost it nothing, 86 at 1.2e-4
# 5 %, 86 at 2e-4 15 %, and the documents gained no more by it.
LEARNING_RATES = {"cpt": (2e-4, 30), "sft": (5e-5, 16), "dpo": (1e-5, 6)}


@dataclass(frozen=True)
class Budget:
    """Optimiser steps per stage."""

    cpt: int
    sft: int
    dpo: int


def plan_budget(*, minutes: float, evaluation_s: float, tokens_per_s: float) -> Budget:
    """Return steps so that training fills what evaluation and the fixed parts leave of `minutes`.

    Units: `evaluation_s` seconds of one evaluation run, which happens twice; `tokens_per_s` of training.
    """
    left_s = max(60.0, minutes * 60 - FIXED_S - 2 * evaluation_s)

    def steps(stage: str) -> int:
        wanted = round(left_s * SHARES[stage] * tokens_per_s / COSTS[stage] / TOKENS_PER_STEP)
        return min(STEPS_MAX[stage], max(STEPS_MIN[stage], wanted))

    return Budget(cpt=steps("cpt"), sft=steps("sft"), dpo=steps("dpo"))


def learning_rate(stage: str, steps: int) -> float:
    """Return the rate for a run of so many steps; longer runs take smaller steps and forget no more."""
    rate, right_for = LEARNING_RATES[stage]
    return rate * min(1.0, right_for / steps)
