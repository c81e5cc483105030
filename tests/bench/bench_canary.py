"""Canaries: how often a rollout turns back a candidate that is as good, and how soon it finds one that is worse.

Every row is many seeded rollouts through the code that rollouts run, with a look after every outcome. A peer column
holds what a two-proportion z-test at the same level finds when somebody looks at it every 50 pairs, as dashboards do.
Unequal arms: the candidate gets 1 of 100 requests; pairs are then blocks of one candidate and up to eight baselines.
"""

from __future__ import annotations

import json
import math
import os
import random
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "libs"), str(ROOT / "services")]

from serve_svc.domain.betting import BLOCK_MAX, Arm  # noqa: E402
from serve_svc.domain.plan import Metric, Plan, Signal, Stage  # noqa: E402
from serve_svc.domain.rollout import Move, decide, fresh_evidence  # noqa: E402

RUNS = 2_000
PAIRS_MAX = 4_000
MARGIN, BASELINE = 0.03, 0.8
PLAN = Plan(
    stages=[Stage(percent=50)], metrics=[Metric(id="feedback", signal=Signal.FEEDBACK, margin=MARGIN)], alpha=0.05
)
LOOK_EVERY, CRITICAL = 50, 1.96


@dataclass(frozen=True)
class Run:
    """How a simulated rollout ended."""

    move: Move
    pairs: int
    naive: int | None  # pairs at which the plain test said "different"


@dataclass(frozen=True)
class Scene:
    """What is simulated: the candidate's difference, its part of what counts, and for how many pairs at most."""

    name: str
    difference: float
    share: float = 0.5
    pairs: int = PAIRS_MAX
    runs: int = RUNS


def simulate(scene: Scene, seed: int) -> Run:
    """Roll out a candidate once."""
    generator, candidate = random.Random(f"{scene.name}{seed}"), BASELINE + scene.difference
    evidence = fresh_evidence(PLAN)
    found = evidence["feedback"]
    naive, pairs = None, 0
    while pairs < scene.pairs:
        ours = generator.random() < scene.share
        rate = candidate if ours else BASELINE
        if not found.observe(Arm.CANDIDATE if ours else Arm.BASELINE, good=generator.random() < rate):
            continue
        pairs += 1
        if naive is None and pairs % LOOK_EVERY == 0 and apart(found.total, found.good):
            naive = pairs
        move = decide(PLAN, 0, evidence, 0.0).move if above(found) else Move.STAY
        if move is not Move.STAY:
            return Run(move, pairs, naive)
    return Run(Move.STAY, pairs, naive)


def above(found) -> bool:
    """Say whether a decision is due at all; spares most looks the sentence that goes with one."""
    return found.worse.evidence >= PLAN.worse_threshold or found.excludes(MARGIN, PLAN.safe_threshold)


def apart(total, good) -> bool:
    """Say whether a z-test calls the arms different."""
    rates = {arm: good[arm] / total[arm] for arm in Arm}
    pooled = sum(good.values()) / sum(total.values())
    error = math.sqrt(pooled * (1 - pooled) * sum(1 / total[arm] for arm in Arm))
    return error > 0 and rates[Arm.BASELINE] - rates[Arm.CANDIDATE] > CRITICAL * error


def row(metric: str, ours: float, peer: float | None, goal: str) -> dict[str, object]:
    return {"metric": metric, "ours": round(ours, 4), "peer": peer, "ratio": None, "limit": None, "goal": goal}


def rows_of(scene: Scene) -> list[dict[str, object]]:
    """Simulate a scene; rows of how often it is turned back, and how soon it ends as it should."""
    runs = [simulate(scene, seed) for seed in range(scene.runs)]
    size = f"{scene.runs:,} runs of {scene.pairs:,} pairs"
    if scene.difference < -MARGIN:
        pairs = sorted(run.pairs if run.move is Move.ROLL_BACK else PAIRS_MAX + 1 for run in runs)
        within, goal = sum(count <= 1500 for count in pairs) / scene.runs, ">= 0.95" if scene.difference > -0.2 else ""
        return [
            row(f"{scene.name}: rolled back within 1,500 pairs ({size})", within, None, goal),
            row(f"{scene.name}: median pairs until then", statistics.median(pairs), None, ""),
        ]
    wrong = sum(run.move is Move.ROLL_BACK for run in runs) / scene.runs
    naive = round(sum(run.naive is not None for run in runs) / scene.runs, 4)
    found = [row(f"{scene.name}: rolled back ({size})", wrong, naive, "<= 0.05")]
    if scene.difference > -MARGIN:
        pairs = sorted(run.pairs if run.move is Move.PROMOTE else PAIRS_MAX + 1 for run in runs)
        promoted = sum(run.move is Move.PROMOTE for run in runs) / scene.runs
        found.append(row(f"{scene.name}: promoted", promoted, None, ""))
        found.append(row(f"{scene.name}: median pairs until then", statistics.median(pairs), None, ""))
    else:
        wrong = sum(run.move is Move.PROMOTE for run in runs) / scene.runs
        found.append(row(f"{scene.name}: promoted", wrong, None, "<= 0.05"))
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
    """Simulate in two processes, print the table, write `build/bench/canary.json`."""
    began = os.times()
    with ProcessPoolExecutor(2) as pool:
        rows = [one for found in pool.map(rows_of, SCENES) for one in found]
    for one in rows:
        peer = "" if one["peer"] is None else one["peer"]
        print(f"{one['metric']:80} {one['ours']!s:>8} {peer!s:>8} {one['goal']}", flush=True)
    print(f"{os.times().children_user - began.children_user:.0f} CPU-seconds")
    out = ROOT / "build" / "bench" / "canary.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
