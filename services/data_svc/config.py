"""Settings of this service that are nobody else's business."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DataConfig"]


@dataclass(frozen=True)
class DataConfig:
    """What an operator may want to change."""

    url_lifetime_s: int = 3600  # long enough for a slow line, short enough that a leaked URL soon is worthless
    parallelism: int = 1  # curation fills the cores by itself; two at once only take turns
