"""The weights that did best so far, to go back to when a guard stops a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

__all__ = ["Best"]

_PREFIX = "best/"


@dataclass
class Best:
    """Trained weights by name and the reward they were saved with; empty at first."""

    reward: float | None = None
    weights: dict[str, Tensor] = field(default_factory=dict)

    def see(self, reward: float, weights: Mapping[str, Tensor]) -> None:
        """Keep a copy of weights with a higher reward than any before."""
        if self.reward is None or reward > self.reward:
            self.reward = reward
            self.weights = {name: tensor.detach().clone() for name, tensor in weights.items()}

    def tensors(self) -> dict[str, Tensor]:
        """Return what a checkpoint has to hold."""
        return {_PREFIX + name: tensor for name, tensor in self.weights.items()}

    def load(self, reward: float | None, tensors: Mapping[str, Tensor]) -> None:
        """Take over what a checkpoint holds."""
        self.reward = reward
        self.weights = {
            name.removeprefix(_PREFIX): tensor for name, tensor in tensors.items() if name.startswith(_PREFIX)
        }
