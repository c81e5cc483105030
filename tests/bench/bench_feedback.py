"""What is learned from thumbs of which a fifth is wrong, once and in five rounds, and what a brigade changes about it.

Users of a model that adds numbers like right sums with emphasis. Gold is how many answers to 100 sums that nobody was
shown they would like, eight draws each. A brigade of as many as a tenth of the people rates the opposite of what it
sees, four times as often as others, on prompts from one list and within an hour. Everything said goes through the real
curation. Costs are in CPU seconds of this process, one thread, for a whole run of rounds: answers, curation, training,
scores. Arguments: the number of seeds.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.fixtures.crowd import Crowd  # noqa: E402
from tests.fixtures.feedback import KTO, SFT, FeedbackBench, is_happy  # noqa: E402

RATED_ONCE, ROUNDS, RATED_A_ROUND = 1000, 5, 600
SEEDS = 3
GAIN_ONCE, KL_ONCE, GAIN_LOOP, KL_LOOP, CPU_LOOP, SHIFT = 1.5, 0.5, 2.0, 1.0, 40.0, 0.03
STUDENT_95 = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 8: 2.36}


def main() -> None:
    """Measure, print the table, write `build/bench/feedback.json`."""
    seeds = range(int(sys.argv[1]) if len(sys.argv) > 1 else SEEDS)
    with tempfile.TemporaryDirectory() as folder:
        bench = FeedbackBench(Path(folder))
        start = bench.gold()[0]
        rows = once(bench, start)
        rows += rounds(bench, start, seeds)
    report("feedback", rows)


def once(bench: FeedbackBench, start: float) -> list[dict[str, object]]:
    """Learn from one batch."""
    rows = []
    for name, recipe in {"KTO with NLL": KTO, "SFT on accepted": SFT}.items():
        bench.model, bench.release = bench.start, 0
        bench.learn(bench.serve(Crowd(is_happy, 0), RATED_ONCE, 0), recipe)
        happy, divergence = bench.gold()
        rows += [
            row(f"{name}, {RATED_ONCE} thumbs, 20 % wrong: happy", happy, start, GAIN_ONCE * start),
            row(f"{name}, {RATED_ONCE} thumbs, 20 % wrong: KL, nats per answer", divergence, None, KL_ONCE),
        ]
    return rows


def rounds(bench: FeedbackBench, start: float, seeds: range) -> list[dict[str, object]]:
    """Go through rounds with and without a brigade, turn by turn, with the same honest people."""
    rows, shifts, plain, divergences, seconds, missed = [], [], [], [], [], []
    for seed in seeds:
        begin = time.process_time()
        clean = bench.rounds(Crowd(is_happy, seed), ROUNDS, RATED_A_ROUND, SFT)
        seconds.append(time.process_time() - begin)
        brigade = Crowd(is_happy, seed, num_poisoners=30)
        poisoned = bench.rounds(brigade, ROUNDS, RATED_A_ROUND, SFT)
        plain.append(clean.happy[-1])
        divergences.append(clean.divergence[-1])
        shifts.append(poisoned.happy[-1] - clean.happy[-1])
        missed.append(1 - sum(poisoned.brigade_left_out) / (ROUNDS * brigade.num_poisoners))
        print(f"seed {seed}: {show(clean.happy)} alone, {show(poisoned.happy)} beside a brigade", flush=True)
    low, high = interval(shifts)
    rows += [
        row(f"{ROUNDS} rounds of {RATED_A_ROUND}: happy, mean of {len(seeds)}", mean(plain), start, GAIN_LOOP * start),
        row(f"{ROUNDS} rounds: happy, the worst of {len(seeds)}", min(plain), start, GAIN_LOOP * start),
        row(f"{ROUNDS} rounds: KL, nats per answer, the worst", max(divergences), None, KL_LOOP),
        row(f"{ROUNDS} rounds: CPU seconds, median", statistics.median(seconds), None, CPU_LOOP),
        row("share of the brigade that curation misses", mean(missed), None, None),
        row("a brigade's shift of happy, mean", mean(shifts), None, SHIFT),
        row("a brigade's shift of happy, 95 % interval from", low, None, None),
        row("a brigade's shift of happy, 95 % interval to", high, None, None),
    ]
    return rows


def interval(values: list[float]) -> tuple[float, float]:
    """Return Student's interval of the mean."""
    half = STUDENT_95.get(len(values), 2.26) * statistics.stdev(values) / math.sqrt(len(values))
    return mean(values) - half, mean(values) + half


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def show(values: list[float]) -> str:
    return " ".join(f"{value:.2f}" for value in values)


def row(metric: str, ours: float, start: float | None, goal: float | None) -> dict[str, object]:
    """`peer` is the model before training."""
    peer = None if start is None else round(start, 3)
    ratio = round(ours / start, 3) if start else None
    goal = None if goal is None else round(goal, 3)
    return {"metric": metric, "ours": round(ours, 3), "peer": peer, "ratio": ratio, "limit": None, "goal": goal}


def report(name: str, rows: list[dict[str, object]]) -> None:
    path = ROOT / "build" / "bench" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2))
    for each in rows:
        figures = "  ".join(f"{key} {each[key]}" for key in ("ours", "peer", "ratio", "goal"))
        print(f"{each['metric']:64} {figures}")
    print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
