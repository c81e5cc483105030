"""Canaries: how often a rollout turns back a candidate that is as good, and how soon it finds one that is worse.

Every row is 4,000 seeded rollouts with a look after every block. Bets are computed for all runs at once; that they are
those of the code that rollouts run is checked on some of them. A peer column holds how often a two-proportion z-test
at 2.5 % on one side, of the same hypothesis, turns back when it is looked at every 50 pairs, as dashboards are.

Unequal arms: the candidate gets 1 of 100 requests, the control group 8; blocks are then one candidate and up to eight
baselines, and a pair is such a block.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "libs"), str(ROOT / "services")]

from serve_svc.domain import betting  # noqa: E402
from serve_svc.domain.betting import BLOCK_MAX, Bet, Side  # noqa: E402
from serve_svc.domain.plan import Metric, Plan, Signal, Stage  # noqa: E402

RUNS = 4_000
PAIRS_MAX = 4_000
MARGIN, BASELINE = 0.03, 0.8
PLAN = Plan(
    stages=[Stage(percent=50)], metrics=[Metric(id="feedback", signal=Signal.FEEDBACK, margin=MARGIN)], alpha=0.05
)
LOOK_EVERY, CRITICAL = 50, 1.96
CHECKED = 10
NEVER = PAIRS_MAX + 1


@dataclass(frozen=True)
class Scene:
    """What is simulated: the candidate's difference, its part of what counts, and for how many pairs at most."""

    name: str
    difference: float
    share: float = 0.5
    pairs: int = PAIRS_MAX


@dataclass(frozen=True)
class Ends:
    """Pairs after which each run was turned back, passed, or called different by the plain test; NEVER for not."""

    worse: np.ndarray
    safe: np.ndarray
    plain: np.ndarray


class Arms:
    """Draws blocks as `Blocks` forms them when independent outcomes of two arms arrive in random order."""

    def __init__(self, scene: Scene) -> None:
        self._random = np.random.default_rng(list(scene.name.encode()))
        self._share = scene.share
        self._allowed = MARGIN if scene.difference == -MARGIN else 0.0
        self._rates = np.array([BASELINE, BASELINE + scene.difference])
        self.total, self.good = np.zeros((2, RUNS)), np.zeros((2, RUNS))

    def differences(self) -> np.ndarray:
        """Return the difference of the next block of every run."""
        first = (self._random.random(RUNS) < self._share).astype(int)  # the arm that waits; 1 is the candidate
        leave = np.where(first == 1, 1 - self._share, self._share)  # chance that the next one is of the other arm
        number = np.minimum(self._random.geometric(leave), BLOCK_MAX)
        waiting = self._random.binomial(number, self._rates[first])
        other = (self._random.random(RUNS) < self._rates[1 - first]).astype(int)
        for arm in (0, 1):
            waits = first == arm
            self.total[arm] += np.where(waits, number, 1)
            self.good[arm] += np.where(waits, waiting, other)
        return np.where(first == 1, waiting / number - other, other - waiting / number)

    def apart(self) -> np.ndarray:
        """Return for which runs a z-test calls the candidate worse than is allowed."""
        rates, pooled = self.good / self.total, self.good.sum(0) / self.total.sum(0)
        error = np.sqrt(pooled * (1 - pooled) * (1 / self.total).sum(0))
        return rates[0] - rates[1] - self._allowed > CRITICAL * error


def simulate(scene: Scene) -> Ends:
    """Roll out a candidate `RUNS` times."""
    arms, ends = Arms(scene), Ends(*(np.full(RUNS, NEVER) for _ in range(3)))
    stakes = np.array(betting._STAKES)
    capitals = {side: np.tile(np.array(betting._WEIGHTS), (RUNS, 1)) for side in Side}
    checked = {side: [Bet(side, MARGIN) for _ in range(CHECKED)] for side in Side}
    for pair in range(1, scene.pairs + 1):
        found = arms.differences()
        gains = {Side.WORSE: (-MARGIN - found) / (1 + MARGIN), Side.SAFE: (found + MARGIN) / (1 - MARGIN)}
        for side, reached, threshold in (
            (Side.WORSE, ends.worse, PLAN.worse_threshold),
            (Side.SAFE, ends.safe, PLAN.safe_threshold),
        ):
            capitals[side] = np.minimum(capitals[side] * (1 + np.outer(gains[side], stakes)), 1e200)
            evidence = capitals[side].sum(1)
            reached[(evidence >= threshold) & (reached == NEVER)] = pair
            for bet, difference, ours in zip(checked[side], found[:CHECKED], evidence[:CHECKED], strict=True):
                theirs = bet.observe(float(difference))
                assert abs(theirs - ours) <= 1e-6 * theirs, "the bench bets otherwise than rollouts do"
        if pair % LOOK_EVERY == 0:
            ends.plain[arms.apart() & (ends.plain == NEVER)] = pair
    return ends


def row(metric: str, ours: float, peer: float | None, goal: str) -> dict[str, object]:
    return {"metric": metric, "ours": round(ours, 4), "peer": peer, "ratio": None, "limit": None, "goal": goal}


def rows_of(scene: Scene) -> list[dict[str, object]]:
    """Simulate a scene; rows of how often it is turned back, and how soon it ends as it should."""
    ends = simulate(scene)
    size = f"{RUNS:,} runs of {scene.pairs:,} pairs"
    if scene.difference < -MARGIN:
        within = float((ends.worse <= 1500).mean())
        return [
            row(f"{scene.name}: turned back within 1,500 pairs ({size})", within, None, ">= 0.95"),
            row(f"{scene.name}: median pairs until then", float(np.median(ends.worse)), None, ""),
            row(f"{scene.name}: 90 % turned back after", float(np.quantile(ends.worse, 0.9)), None, ""),
        ]
    # What comes first ends the rollout.
    turned, passed = ends.worse < ends.safe, (ends.safe < ends.worse) & (ends.safe != NEVER)
    plain = round(float((ends.plain <= np.minimum(ends.safe, scene.pairs)).mean()), 4)
    found = [row(f"{scene.name}: turned back ({size})", float(turned.mean()), plain, "<= 0.05")]
    goal = "<= 0.05" if scene.difference <= -MARGIN else ""
    found.append(row(f"{scene.name}: promoted", float(passed.mean()), None, goal))
    if scene.difference > -MARGIN:
        pairs = np.where(passed, ends.safe, NEVER)
        found.append(row(f"{scene.name}: median pairs until promoted", float(np.median(pairs)), None, ""))
    return found


FEW = 1 / (1 + BLOCK_MAX)  # of what counts: one candidate to `BLOCK_MAX` of the control group
SCENES = (
    Scene("exactly at the margin (-3 points)", -MARGIN),
    Scene("equal arms", 0.0),
    Scene("exactly at the margin, 1 % of the traffic", -MARGIN, share=FEW, pairs=1500),
    Scene("-10 points, 1 % of the traffic", -0.10, share=FEW, pairs=1500),
    Scene("-10 points", -0.10, pairs=1500),
    Scene("-20 points", -0.20, pairs=1500),
    Scene("+3 points", 0.03),
)


def main() -> None:
    """Simulate, print the table, write `build/bench/canary.json`."""
    began = os.times()
    rows = [one for scene in SCENES for one in rows_of(scene)]
    for one in rows:
        peer = "" if one["peer"] is None else one["peer"]
        print(f"{one['metric']:80} {one['ours']!s:>8} {peer!s:>8} {one['goal']}", flush=True)
    print(f"{os.times().user - began.user:.0f} CPU-seconds")
    out = ROOT / "build" / "bench" / "canary.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
