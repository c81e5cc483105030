"""Even load at no cost in loss: a small mixture of experts with and without our balancing, and a dense model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bessemer.api.train.v1.training_job_pb2 import TrainingRecipe
from bessemer.modeling.config import ModelConfig
from bessemer.modeling.initialise import initialise
from bessemer.modeling.load import save_model
from train_svc.worker.learner import Learner
from train_svc.worker.optim import learning_rate
from train_svc.worker.rows import Document, Row

SYMBOLS, DOMAINS, LENGTH, ROWS, STEPS = 64, 8, 128, 4, 300
EXPERTS, CHOSEN, INNER = 16, 2, 32
SEEDS = (0, 1)
SHAPE = {
    "vocab_size": SYMBOLS,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": LENGTH,
    "tie_word_embeddings": True,
    "intermediate_size": CHOSEN * INNER,
}
MOE = {
    "model_type": "qwen3_moe",
    "head_dim": 16,
    "moe_intermediate_size": INNER,
    "num_experts": EXPERTS,
    "num_experts_per_tok": CHOSEN,
    "norm_topk_prob": True,
}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_balancing_evens_the_load_and_costs_no_loss(tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    dense = [train(tmp_path / "dense", {"model_type": "qwen3", "head_dim": 16}, seed)[0] for seed in SEEDS]
    free = [train(tmp_path / "free", {**MOE, "router_aux_loss_coef": 0.0}, seed) for seed in SEEDS]
    even = [train(tmp_path / "even", {**MOE, "router_aux_loss_coef": 0.1}, seed) for seed in SEEDS]
    torch.set_num_threads(threads)
    print(f"dense {dense}, free {free}, even {even}")
    assert max(load for _, load in even) <= 1.6 < min(load for _, load in free)
    loss = np.mean([loss for loss, _ in even])
    assert loss <= np.mean([loss for loss, _ in free])
    assert loss <= np.mean(dense)


def train(folder, config, seed) -> tuple[float, float]:
    """Return the mean loss of the last 50 of 300 steps, and the load of the worst layer over their rows together."""
    save_model(initialise(ModelConfig.from_json({**SHAPE, **config}), seed), folder)
    learner = Learner(folder, TrainingRecipe(cpt={}, weight_decay=0.01, gradient_clip_norm=1.0), torch.float32)
    losses, counts = [], []
    for step in range(STEPS):
        result, norm = learner.backward(rows(step))
        rate = learning_rate(step, steps=STEPS, peak=3e-3, warmup_fraction=0.05, decay_fraction=0.2)
        learner.optimizer.step(rate, norm)
        losses.append(result.loss)
        counts.append([balance.counts.tolist() for balance in learner.model.balances()])
    total = np.sum(counts[-50:], axis=0)
    worst = float((total.max(1) / total.mean(1)).max()) if total.size else 0.0
    return float(np.mean(losses[-50:])), worst


def rows(step) -> list[Row]:
    """Texts of one domain each: a chain where every symbol is followed by one of four, other ones in each domain."""
    generator = np.random.default_rng(step)
    weights = np.ones(LENGTH, np.float32)
    weights[0] = 0
    made = []
    for _ in range(ROWS):
        domain = min(int(generator.exponential(2.0)), DOMAINS - 1)  # some are rarer than others
        table = np.random.default_rng(10_000 + domain).integers(0, SYMBOLS, (SYMBOLS, 4))
        ids = [int(generator.integers(SYMBOLS))]
        for choice in generator.choice(4, LENGTH - 1, p=(0.6, 0.2, 0.15, 0.05)):
            ids.append(int(table[ids[-1], choice]))
        made.append(Row((Document(np.array(ids), weights),)))
    return made
