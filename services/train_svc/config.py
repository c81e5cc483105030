"""Settings of this service that are nobody else's business."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TrainConfig"]


@dataclass(frozen=True)
class TrainConfig:
    """What an operator may want to change."""

    parallelism: int = 1  # a training run fills the cores; two at once only take turns
