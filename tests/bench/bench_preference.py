"""What preference methods do to a model that adds numbers, when a fifth of the labels is wrong.

Answers are equal but for their ending; `!` is wanted, `.` is not. A method is good when the wanted ending becomes usual
and the sums do not suffer. DPO without its anchor must not get through: the guard has to stop it. Costs are in CPU
seconds of this process, one thread, with everything: reference, checkpoints, storing the model.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bessemer.api.common.v1.artifact_pb2 import ArtifactRef  # noqa: E402
from bessemer.kernel.errors import FailedPrecondition  # noqa: E402

from tests.fixtures.addition import AdditionBench  # noqa: E402

WARM_STEPS = 140
STEPS = "steps: 120 tokens_per_step: 1024 learning_rate: 0.0003 weight_decay: 0"
METHODS = {
    "DPO": "dpo {}",
    "robust DPO": 'dpo { loss: "robust" label_noise: 0.2 }',
    "KTO": "kto {}",
    "ORPO": "orpo {}",
}
UNANCHORED = "dpo { nll_weight: 1e-9 }"
STYLE_GOAL = 0.70


def main() -> None:
    """Measure, print the table, write `build/bench/preference.json`."""
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        bench = AdditionBench(Path(folder))
        bench.warm(steps=WARM_STEPS)
        start = bench.score(bench.model)
        noisy = preferences(bench, noise=0.2)
        for name, recipe in METHODS.items():
            begin = time.process_time()
            manifest, points = bench.train(f"{recipe} {STEPS}", noisy)
            seconds = time.process_time() - begin
            right, style = bench.score(manifest)
            changes = [value for key, _, value in points if key.endswith("/chosen_change")][-8:]
            rows += [
                row(f"{name}, 20 % wrong labels: share with the wanted ending", style, start[1], STYLE_GOAL),
                row(f"{name}, 20 % wrong labels: share of right sums", right, start[0], round(start[0], 3)),
                row(f"{name}, 20 % wrong labels: change of log p(chosen), nats", sum(changes) / len(changes), 0.0, 0.0),
                row(f"{name}: CPU seconds", seconds, None, None),
            ]
        rows.append(row("DPO without anchor is stopped by the guard", float(is_stopped(bench)), None, 1.0))
    report("preference", rows)


def preferences(bench: AdditionBench, *, noise: float) -> ArtifactRef:
    draw, pairs = random.Random(1), []
    for a, b in bench.pairs:
        chosen, rejected = f"{a + b}!", f"{a + b}."
        if draw.random() < noise:
            chosen, rejected = rejected, chosen
        pairs.append({"prompt": [{"role": "user", "content": f"{a}+{b}"}], "chosen": chosen, "rejected": rejected})
    return bench.rows("PREFERENCE", pairs)


def is_stopped(bench: AdditionBench) -> bool:
    try:
        bench.train(f"{UNANCHORED} {STEPS}", preferences(bench, noise=0.0))
    except FailedPrecondition as error:
        print(error.message)
        return error.reason == "TRAINING_DIVERGED"
    return False


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
