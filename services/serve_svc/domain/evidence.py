"""What a rollout knows of one metric: counts, blocks, and a bet for each question that is asked of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from serve_svc.domain.betting import Arm, Bet, Blocks, Side, blocks_until

__all__ = ["Evidence", "dump", "load"]


@dataclass(slots=True)
class Evidence:
    """State of a metric; a pure function of its outcomes in their order."""

    worse: Bet
    safe: list[Bet]  # one for each loss that some stage rules out
    blocks: Blocks = field(default_factory=Blocks)
    total: dict[str, int] = field(default_factory=lambda: dict.fromkeys(Arm, 0))
    good: dict[str, int] = field(default_factory=lambda: dict.fromkeys(Arm, 0))
    pairs: int = 0
    sum: float = 0.0  # of the differences of the blocks
    squares: float = 0.0

    @staticmethod
    def of(margin: float, harms: Iterable[float]) -> Evidence:
        """Return the state before the first outcome."""
        return Evidence(Bet(Side.WORSE, margin), [Bet(Side.SAFE, harm) for harm in sorted(set(harms))])

    def observe(self, arm: Arm, *, good: bool) -> bool:
        """Take an outcome; say whether it completed a block."""
        self.total[arm] += 1
        self.good[arm] += good
        difference = self.blocks.add(arm, good=good)
        if difference is None:
            return False
        self.pairs += 1
        self.sum += difference
        self.squares += difference * difference
        for bet in (self.worse, *self.safe):
            bet.observe(difference)
        return True

    def excludes(self, harm: float, threshold: float) -> bool:
        """Say whether a loss of `harm` was ruled out at some time; what was once shown stays shown."""
        return self._safe(harm).best >= threshold

    def safe_evidence(self, harm: float) -> float:
        """Return the evidence that the loss is below `harm`."""
        return self._safe(harm).evidence

    def pairs_left(self, harm: float, threshold: float) -> int | None:
        """Return about how many more blocks it takes to rule a loss out; None while nobody can tell."""
        if self.excludes(harm, threshold):
            return 0
        seen = (self.pairs, self.sum, self.squares)
        return blocks_until(seen, threshold=threshold, margin=harm, side=Side.SAFE, now=self.safe_evidence(harm))

    @property
    def difference(self) -> float:
        """Mean difference of the blocks, candidate minus baseline; 0 before the first."""
        return self.sum / self.pairs if self.pairs else 0.0

    def _safe(self, harm: float) -> Bet:
        return next(bet for bet in self.safe if bet.margin == harm)


def dump(evidence: Evidence) -> dict[str, Any]:
    """Return the state as JSON holds it, exactly."""
    return asdict(evidence)


def load(state: Mapping[str, Any]) -> Evidence:
    """Return what `dump` gave."""
    blocks = Blocks(state["blocks"]["waiting"], Arm(state["blocks"]["arm"]))
    values = {key: state[key] for key in ("total", "good", "pairs", "sum", "squares")}
    return Evidence(_bet(state["worse"]), [_bet(bet) for bet in state["safe"]], blocks, **values)


def _bet(state: Mapping[str, Any]) -> Bet:
    return Bet(Side(state["side"]), state["margin"], list(state["capitals"]), state["best"])
