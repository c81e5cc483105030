"""When to leave a step out, go back, or stop: decided from the numbers of the steps alone."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from bessemer.api.common.v1.job_pb2 import FAILURE_KIND_NUMERIC
from bessemer.kernel.errors import FailedPrecondition

__all__ = ["BAD_STEPS_MAX", "Action", "Guard", "diverged"]

BAD_STEPS_MAX = 3
_WINDOW = 8
_SHIFT_MIN_NATS = -1.0
_LOAD_MAX = 2.0


class Action(Enum):
    """What to do with a step's gradients."""

    APPLY = "apply"
    SKIP = "skip"
    ROLL_BACK = "roll back"


@dataclass
class Guard:
    """Counts bad steps; its fields are part of a checkpoint."""

    bad_steps: int = 0
    rolled_back: bool = False
    shifts: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOW))
    loads: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOW))

    @staticmethod
    def from_facts(facts: Mapping[str, Any]) -> Guard:
        """Return the guard that a checkpoint remembers."""
        shifts, loads = (deque(facts[name], maxlen=_WINDOW) for name in ("shifts", "loads"))
        return Guard(facts["bad_steps"], facts["rolled_back"], shifts, loads)

    def facts(self) -> dict[str, Any]:
        """Return what a checkpoint has to remember."""
        return {
            "bad_steps": self.bad_steps,
            "rolled_back": self.rolled_back,
            "shifts": list(self.shifts),
            "loads": list(self.loads),
        }

    def judge(self, loss: float, norm: float) -> Action:
        """Leave out steps whose loss or gradient is not finite; go back once after three in a row.

        Raises: FailedPrecondition TRAINING_DIVERGED when going back has not helped.
        """
        if math.isfinite(loss) and math.isfinite(norm):
            self.bad_steps = 0
            return Action.APPLY
        self.bad_steps += 1
        if self.bad_steps < BAD_STEPS_MAX:
            return Action.SKIP
        if self.rolled_back:
            raise diverged(
                f"loss or gradient was not finite in {BAD_STEPS_MAX} steps in a row, again after going back to the "
                "last checkpoint; lower recipe.learning_rate or look for damaged rows in the data"
            )
        self.bad_steps, self.rolled_back = 0, True
        return Action.ROLL_BACK

    def watch_preference(self, shift: float, margin: float) -> None:
        """Follow how the chosen answers fare; a growing margin must not be bought with their probability.

        Units: nats, `shift` per token.
        Raises: FailedPrecondition TRAINING_DIVERGED if they lost more than 1 nat per token over 8 steps.
        """
        self.shifts.append(shift)
        mean = sum(self.shifts) / len(self.shifts)
        if len(self.shifts) == _WINDOW and mean < _SHIFT_MIN_NATS and margin > 0:
            raise diverged(
                f"the chosen answers lost {-mean:.2f} nats per token while the margin grew: the model unlearns both "
                "answers; lower recipe.learning_rate, or raise recipe.dpo.beta or recipe.dpo.nll_weight"
            )

    def watch_load(self, max_over_mean: float) -> bool:
        """Follow the load of the busiest expert; return whether to raise the alarm.

        That is when its mean over 8 steps is above twice what an even load would be; then the 8 steps start anew.
        """
        self.loads.append(max_over_mean)
        alarm = len(self.loads) == _WINDOW and sum(self.loads) / _WINDOW > _LOAD_MAX
        if alarm:
            self.loads.clear()
        return alarm


def diverged(message: str) -> FailedPrecondition:
    """Return the error of a training that must not go on."""
    error = FailedPrecondition(message, reason="TRAINING_DIVERGED")
    error.failure_kind = FAILURE_KIND_NUMERIC  # type: ignore[attr-defined] # read by the worker's main
    return error
