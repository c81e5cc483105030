"""Training step: our learner against a plain transformers loop, same shape, same tokens, alternating.

Both compute in fp32 with AdamW, one thread, cost in CPU seconds of this process. The peer runs once as a user writes
it (library defaults) and once with the matrix product mode that our start-up self-test chooses.
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import transformers

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bessemer.api.train.v1.training_job_pb2 import TrainingRecipe  # noqa: E402
from bessemer.modeling.numerics import prepare  # noqa: E402
from train_svc.worker.learner import Learner  # noqa: E402
from train_svc.worker.rows import Document, Row  # noqa: E402

ROUNDS, STEPS = 3, 3
ROWS, TOKENS = 4, 256
SHAPE = {
    "vocab_size": 8192,
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}


def main() -> None:
    """Measure, print the table, write `build/bench/training.json`."""
    numerics = prepare(1, "fp32")
    tuned = torch.get_float32_matmul_precision()
    batches = [torch.randint(0, SHAPE["vocab_size"], (ROWS, TOKENS)) for _ in range(STEPS)]
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        peer = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SHAPE))
        peer.save_pretrained(folder)
        learner = Learner(Path(folder), recipe(), torch.float32)
        ours = [run_learner(learner, batches)]
        variants: dict[str, Callable[[], float]] = {
            "ours": lambda: run_learner(learner, batches),
            "transformers, library defaults": lambda: run_peer(peer, batches, "highest"),
            "transformers, tuned matrix products": lambda: run_peer(peer, batches, tuned),
        }
        rates: dict[str, list[float]] = {name: [] for name in variants}
        for _ in range(ROUNDS):
            for name, measure in variants.items():
                gc.collect()
                rates[name].append(ROWS * TOKENS * STEPS / measure())
        assert ours
    flops = learner.flops([TOKENS] * ROWS) / (ROWS * TOKENS)
    rows = []
    best = statistics.median(rates.pop("ours"))
    for name, measured in rates.items():
        other = statistics.median(measured)
        rows.append(
            {
                "metric": f"training tokens per CPU second, against {name}",
                "ours": round(best, 1),
                "peer": round(other, 1),
                "ratio": round(best / other, 3),
                "limit": round(numerics.peak_flops / flops, 1),
                "goal": None,
            }
        )
    report("training", rows)


def recipe() -> TrainingRecipe:
    return TrainingRecipe(cpt={}, weight_decay=0.01, gradient_clip_norm=1.0, seed=0)


def run_learner(learner: Learner, batches: list[torch.Tensor]) -> float:
    begin = time.process_time()
    for batch in batches:
        rows = [Row((Document(row.numpy(), weights(row)),)) for row in batch]
        _, norm = learner.backward(rows)
        learner.optimizer.step(1e-4, norm)
    return time.process_time() - begin


def weights(row: torch.Tensor) -> np.ndarray:
    chosen = np.ones(len(row), np.float32)
    chosen[0] = 0.0
    return chosen


def run_peer(model: transformers.PreTrainedModel, batches: list[torch.Tensor], precision: str) -> float:
    chosen = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01)
    begin = time.process_time()
    for batch in batches:
        optimizer.zero_grad()
        model(input_ids=batch, labels=batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    seconds = time.process_time() - begin
    torch.set_float32_matmul_precision(chosen)
    return seconds


def report(name: str, rows: list[dict[str, object]]) -> None:
    path = ROOT / "build" / "bench" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2))
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, one thread, {ROUNDS} rounds")
    for row in rows:
        figures = "  ".join(f"{key} {row[key]}" for key in ("ours", "peer", "ratio", "limit", "goal"))
        print(f"{row['metric']:72} {figures}")
    print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
