"""What users say moves a model through the real curation: a small model, a few steps, one taste."""

from __future__ import annotations

import json

import numpy as np
import pytest
from bessemer.modeling.tokenizer import Tokenizer
from train_svc.worker.feed import open_feed

from tests.fixtures.crowd import Crowd
from tests.fixtures.feedback import FeedbackBench

STEPS = "steps: 12 tokens_per_step: 512 learning_rate: 0.001 weight_decay: 0"


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return FeedbackBench(tmp_path_factory.mktemp("bench"), warm_steps=20)


def test_a_taste_that_is_rated_is_learned_although_a_fifth_of_the_ratings_is_wrong(bench):
    before = bench.score(bench.model)[1]
    crowd = Crowd(lambda _, answer: answer.endswith("!"), seed=0)
    bench.learn(bench.serve(crowd, 400, 0), f"sft {{}} {STEPS}")
    assert bench.score(bench.model)[1] > before + 0.1


def test_a_row_counts_as_much_as_its_weight_says(bench, tmp_path):
    (tmp_path / "train").mkdir()
    turns = [{"role": "user", "content": "1+2"}, {"role": "assistant", "content": "3!"}]
    rows = [{"messages": turns}, {"messages": turns, "weight": 2.5}]
    (tmp_path / "train" / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    feed = open_feed(
        "sft",
        [(tmp_path, None)],
        Tokenizer.from_folder(bench.base),
        shard_files=None,
        sequence_length=64,
        digest="d",
        seed=0,
    )
    weights = sorted(float(d.weights.max()) for row in feed.take(0, len(feed)) for d in row.documents)
    assert np.allclose(weights, [1.0, 2.5])
