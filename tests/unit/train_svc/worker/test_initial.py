"""New weights in another shape than the base version's."""

from __future__ import annotations

import pytest
from bessemer.api.train.v1.training_job_pb2 import PretrainMethod
from bessemer.modeling.load import load_model, read_json
from train_svc.worker.initial import draw_model

from tests.fixtures.tiny_model import make_tiny_model


def spread(folder) -> float:
    return float(load_model(folder).embedding.detach().std())


def test_narrower_model_is_drawn_with_a_wider_spread(tmp_path):
    base = make_tiny_model(tmp_path / "base")
    same = draw_model(base, PretrainMethod(num_layers=1), tmp_path / "same", seed=0)
    shape = PretrainMethod(hidden_size=16, intermediate_size=48, num_heads=2, num_kv_heads=2)
    narrow = draw_model(base, shape, tmp_path / "narrow", seed=0)
    assert spread(same) == pytest.approx(0.02, rel=0.05)
    assert spread(narrow) == pytest.approx(0.04, rel=0.05)
    assert read_json(narrow / "config.json")["initializer_range"] == pytest.approx(0.04)
