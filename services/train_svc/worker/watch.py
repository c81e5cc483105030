"""When reinforcement has to stop, decided from what its answers look like; the best weights are what is handed back."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Watch"]

_WINDOW = 8
_ENTROPY_MIN_SHARE = 0.3
_LENGTH_MAX_RATIO = 1.5
_TRUNCATED_MAX = 0.1


@dataclass
class Watch:
    """Means over the newest eight steps beside those of the first eight; its fields are part of a checkpoint.

    Units: `kl_budget` in nats per answer.
    """

    kl_budget: float
    start: dict[str, float] = field(default_factory=dict)
    recent: deque[dict[str, float]] = field(default_factory=lambda: deque(maxlen=_WINDOW))

    def load(self, facts: Mapping[str, Any]) -> None:
        """Take over what a checkpoint remembers."""
        self.start, self.recent = dict(facts["start"]), deque(facts["recent"], maxlen=_WINDOW)

    def facts(self) -> dict[str, Any]:
        """Return what a checkpoint has to remember."""
        return {"start": self.start, "recent": list(self.recent)}

    @property
    def means(self) -> dict[str, float]:
        """What was seen over the newest steps."""
        return {key: sum(seen[key] for seen in self.recent) / len(self.recent) for key in self.recent[-1]}

    def judge(self, seen: Mapping[str, float]) -> str:
        """Note what a step saw and return why training must stop; empty if it may go on."""
        self.recent.append(dict(seen))
        if len(self.recent) < _WINDOW:
            return ""
        if not self.start:
            self.start = self.means
        now, start = self.means, self.start
        truncated_max = start["truncated"] + _TRUNCATED_MAX
        if now["kl"] > self.kl_budget:
            return f"answers are {now['kl']:.2f} nats from the base version, the budget is {self.kl_budget:g}"
        if now["entropy"] < _ENTROPY_MIN_SHARE * start["entropy"]:
            return f"entropy fell from {start['entropy']:.3f} to {now['entropy']:.3f} nats per token"
        if now["truncated"] > truncated_max:
            return f"{now['truncated']:.0%} of the answers reach the limit, {start['truncated']:.0%} did at the start"
        if now["length"] > _LENGTH_MAX_RATIO * start["length"]:
            return f"answers grew from {start['length']:.1f} to {now['length']:.1f} tokens"
        return ""
