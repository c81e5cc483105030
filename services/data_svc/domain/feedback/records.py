"""What one person said about one answer, as the snapshot of a curation holds it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["DOWN", "UP", "Said", "Settings", "read_said"]

UP, DOWN = 1, -1


@dataclass(frozen=True)
class Said:
    """One record; `rating` is `UP`, `DOWN` or 0 for none, `time_s` seconds since 1970, `logprobs` nats per token.

    `messages` is the conversation before the answer; empty if it is not known.
    """

    name: str
    user: str
    model_version: str
    time_s: float
    rating: int = 0
    messages: Sequence[Mapping[str, str]] = ()
    answer: str = ""
    edited: str = ""
    response_id: str = ""
    consent: str = ""
    categories: Sequence[str] = ()
    signals: Sequence[str] = ()
    logprobs: Sequence[float] = ()
    erased: bool = False
    weight: float = 1.0
    split: str = ""

    @property
    def asked(self) -> str:
        """The last thing that the person asked, in one spelling."""
        asked = next((m["content"] for m in reversed(self.messages) if m["role"] == "user"), "")
        return " ".join(asked.casefold().split())

    @property
    def answered(self) -> str:
        """The answer in one spelling."""
        return " ".join(self.answer.casefold().split())


@dataclass(frozen=True)
class Settings:
    """How feedback becomes rows; the fields are those of `CurateFeedbackTask`, times in seconds since 1970."""

    model_versions: frozenset[str]
    until_s: float
    form: str = "ACCEPTED"
    from_s: float = 0.0
    consents: frozenset[str] = field(default_factory=lambda: frozenset({"training"}))
    user_share_max: float = 0.01
    rated_min: int = 300
    down_min: int = 50
    heldout_fraction: float = 0.1
    false_alarms: float = 0.01
    together_s: float = 600.0
    seed: int = 0


def read_said(line: str | bytes) -> Said:
    """Return the record that a line of a snapshot holds; this service wrote it, so a bad one is a defect."""
    value: dict[str, Any] = json.loads(line)
    return Said(**value)
