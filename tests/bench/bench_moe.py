"""Training step of a small mixture of experts: our learner against a plain transformers loop, alternating.

Both compute the same model with AdamW and one thread on the same tokens, cost in CPU seconds of this process. The peer
runs each way it knows to compute experts, in fp32 and under bf16 autocast, in the matrix product mode that our start-up
self-test chooses, with the fused optimiser. We run in fp32 and in bf16 with fp32 masters. In each format we are held to
the best of the peer's ways.
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
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

ROUNDS, STEPS = 3, 2
ROWS, TOKENS = 4, 256
GOAL = 1.5
PEER = f"transformers {transformers.__version__}"
FORMATS = {"fp32": torch.float32, "bf16": torch.bfloat16}
WAYS = ("eager", "grouped_mm")  # batched_mm copies the weights for every token: 11 GB here
SHAPE = {
    "vocab_size": 8192,
    "hidden_size": 256,
    "intermediate_size": 768,
    "moe_intermediate_size": 384,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "norm_topk_prob": True,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
    "router_aux_loss_coef": 0.0,
}


def main() -> None:
    """Measure, print the table, write `build/bench/moe.json`."""
    bf16, fp32 = (prepare(1, kind) for kind in ("bf16", "fp32"))
    batches = [torch.randint(0, SHAPE["vocab_size"], (ROWS, TOKENS)) for _ in range(STEPS)]
    recipe = TrainingRecipe(cpt={}, weight_decay=0.01, gradient_clip_norm=1.0)
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        made = transformers.Qwen3MoeForCausalLM(transformers.Qwen3MoeConfig(**SHAPE))
        with torch.no_grad():  # routers start at zero there, and would choose the same two experts for all
            for name, parameter in made.named_parameters():
                if name.endswith("mlp.gate.weight"):
                    parameter.normal_(std=0.02)
        made.save_pretrained(folder)
        variants: dict[tuple[str, str], Callable[[], float]] = {}
        for kind, dtype in FORMATS.items():
            learner = Learner(Path(folder), recipe, dtype)
            variants[kind, "ours"] = lambda learner=learner: run_learner(learner, batches)
            for way in WAYS:
                peer = transformers.Qwen3MoeForCausalLM.from_pretrained(folder, experts_implementation=way)
                optimizer = torch.optim.AdamW(peer.parameters(), lr=1e-4, weight_decay=0.01, fused=True)
                autocast = torch.autocast("cpu", torch.bfloat16, enabled=kind == "bf16")
                variants[kind, way] = partial(run_peer, peer, optimizer, batches, autocast)
    rates: dict[tuple[str, str], list[float]] = {name: [] for name in variants}
    for measured in range(-1, ROUNDS):
        for name, measure in variants.items():
            gc.collect()
            seconds = measure()
            if measured >= 0:
                rates[name].append(ROWS * TOKENS * STEPS / seconds)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    flops = learner.flops([TOKENS] * ROWS) / (ROWS * TOKENS)
    rows = []
    for kind, peak in (("fp32", fp32.peak_flops), ("bf16", bf16.peak_flops)):
        best = max(WAYS, key=lambda way: medians[kind, way])
        ours = medians[kind, "ours"]
        rows += [
            {
                "metric": f"{kind} training tokens per CPU second, against {PEER} {way}",
                "ours": round(ours, 1),
                "peer": round(medians[kind, way], 1),
                "ratio": round(ours / medians[kind, way], 3),
                "limit": round(peak / flops, 1),
                "goal": GOAL if way == best else None,
            }
            for way in WAYS
        ]
    report("moe", rows)


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


def run_peer(
    model: transformers.PreTrainedModel,
    optimizer: torch.optim.Optimizer,
    batches: list[torch.Tensor],
    autocast: torch.autocast,
) -> float:
    begin = time.process_time()
    for batch in batches:
        optimizer.zero_grad()
        with autocast:
            loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return time.process_time() - begin


def report(name: str, rows: list[dict[str, object]]) -> None:
    path = ROOT / "build" / "bench" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2))
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, one thread, {ROUNDS} rounds")
    for row in rows:
        figures = "  ".join(f"{key} {row[key]}" for key in ("ours", "peer", "ratio", "limit", "goal"))
        print(f"{row['metric']:84} {figures}")
    print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
