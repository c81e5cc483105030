"""How much reinforcement lifts a model that adds numbers, on sums that it never saw, and what it costs.

The model has learned to add for a while, but not to the end. Answers are drawn at temperature 1, eight to each of 100
held-out sums. Costs are in CPU seconds of this process, one thread, with everything: answers,
reference, checkpoints, storing the model.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.fixtures.addition import AdditionBench, conversation  # noqa: E402

WARM_STEPS = 190
STEPS = "steps: 200 weight_decay: 0 learning_rate: 0.0004"
SHAPE = "prompts_per_step: 16 completions_per_prompt: 8 max_new_tokens: 8"
VARIANTS = ("dr_grpo", "dapo", "rloo")
RIGHT_GOAL, CPU_GOAL, KL_GOAL = 0.70, 40.0, 1.0


def main() -> None:
    """Measure, print the table, write `build/bench/reinforcement.json`."""
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        bench = AdditionBench(Path(folder))
        bench.warm(steps=WARM_STEPS)
        start = bench.score(bench.model)[0]
        prompts = bench.rows("CHAT", [conversation(a, b, ".") for a, b in bench.pairs])
        for variant in VARIANTS:
            begin = time.process_time()
            manifest, points = bench.train(f'grpo {{ {SHAPE} variant: "{variant}" }} {STEPS}', prompts)
            seconds = time.process_time() - begin
            right = bench.score(manifest)[0]
            divergence = [value for key, _, value in points if key == "grpo/kl"][-8:]
            rows += [
                row(f"{variant}: share of right answers, held out", right, start, RIGHT_GOAL),
                row(f"{variant}: KL to the start, nats per answer", sum(divergence) / len(divergence), None, KL_GOAL),
                row(f"{variant}: CPU seconds of {points[-1][1]} steps", seconds, None, CPU_GOAL),
            ]
            if bench.early_stop:
                print(f"{variant} stopped early: {bench.early_stop}")
    report("reinforcement", rows)


def row(metric: str, ours: float, start: float | None, goal: float | None) -> dict[str, object]:
    """`peer` is the model before training."""
    peer = None if start is None else round(start, 3)
    ratio = round(ours / start, 3) if start else None
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
