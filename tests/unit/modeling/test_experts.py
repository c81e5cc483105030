from __future__ import annotations

import json

import pytest
import torch
from bessemer.kernel.errors import InvalidRequest
from bessemer.modeling.balance import Balance
from bessemer.modeling.config import ModelConfig
from bessemer.modeling.experts import SparseFeedForward, grouped_linear
from bessemer.modeling.load import load_model
from bessemer.modeling.lora import add_adapters, merged_weights
from bessemer.modeling.transformer import Transformer
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fixtures.tiny_model import make_tiny_model

MOE = {
    "model_type": "qwen3_moe",
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "norm_topk_prob": True,
    "router_aux_loss_coef": 0.1,
}


@pytest.fixture
def folder(tmp_path):
    return make_tiny_model(tmp_path / "tiny", **MOE)


@given(sizes=st.lists(st.integers(0, 9), min_size=1, max_size=6), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_grouped_linear_is_one_product_per_group(sizes, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(sum(sizes), 5, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(len(sizes) * 3, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    parts = zip(x.split(sizes), weight.chunk(len(sizes)), strict=True)
    expected = torch.cat([part @ matrix.t() for part, matrix in parts])
    wanted = torch.autograd.grad(expected.sin().sum(), (x, weight))
    y = grouped_linear(x, weight, sizes)
    y.sin().sum().backward()
    for got, want in ((y, expected), (x.grad, wanted[0]), (weight.grad, wanted[1])):
        assert torch.allclose(got, want)


@pytest.mark.parametrize("tokens", [1, 30, 700])  # 700 fill rows up to round numbers
def test_sparse_feed_forward_is_the_weighted_sum_of_the_chosen_experts(tokens):
    config = ModelConfig.from_json(json.loads(json.dumps({**tiny(), **MOE})))
    generator = torch.Generator().manual_seed(0)
    layer = SparseFeedForward(16, config.experts).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(generator=generator)
    x = torch.randn(tokens, 16, generator=generator, dtype=torch.float64, requires_grad=True)
    shares = (x.float() @ layer.router.weight.float().t()).softmax(-1)
    top, chosen = shares.topk(2)
    top = top / top.sum(-1, keepdim=True)
    gate_up, down = layer.gate_up.weight.view(8, 64, 16), layer.down.weight.view(8, 16, 32)
    expected = []
    for t in range(tokens):
        parts = []
        for share, expert in zip(top[t], chosen[t], strict=True):
            gate, up = (gate_up[expert] @ x[t]).chunk(2)
            parts.append(share * (down[expert] @ (torch.nn.functional.silu(gate) * up)))
        expected.append(sum(parts))
    expected = torch.stack(expected)
    got = layer(x)
    assert torch.allclose(got, expected, rtol=1e-6)
    names = (x, *layer.parameters())
    want = torch.autograd.grad(expected.square().sum(), names)
    got.square().sum().backward()
    for tensor, gradient in zip(names, want, strict=True):
        assert torch.allclose(tensor.grad, gradient, rtol=1e-4, atol=1e-6)


def test_adapters_on_experts_change_nothing_at_first_and_merge_into_the_weights(folder):
    model = load_model(folder)
    before = logits(model)
    add_adapters(model, rank=3, alpha=6, seed=0)
    assert torch.equal(logits(model), before)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name.rsplit(".", 1)[-1] for name in trained} == {"lora_a", "lora_b"}
    assert "blocks.0.mlp.gate_up.lora_a" in trained
    with torch.no_grad():
        for _, projection in model.projections():
            projection.lora_b.normal_(std=0.1, generator=torch.Generator().manual_seed(1))
    changed = logits(model)
    changed.square().sum().backward()
    assert all(p.grad is not None for name, p in model.named_parameters() if name in trained and "mlp" in name)
    assert (changed - before).abs().max() > 0.01
    merged = load_model(folder)
    merged.load_state_dict(merged_weights(model))
    assert (logits(merged) - changed).abs().max() < 1e-4


def test_parameter_counts_of_known_models():
    mixtral = {
        "model_type": "mixtral",
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
    }
    config = ModelConfig.from_json(mixtral)
    assert (config.num_parameters, config.num_active_parameters) == (46_702_792_704, 12_879_925_248)
    qwen = {
        "model_type": "qwen3_moe",
        "vocab_size": 151936,
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "num_hidden_layers": 48,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
        "head_dim": 128,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": 768,
    }
    config = ModelConfig.from_json(qwen)
    assert config.num_parameters == 30_532_122_624
    with torch.device("meta"):
        assert sum(p.numel() for p in Transformer(config).parameters()) == config.num_parameters
    assert config.num_active_parameters == config.num_parameters - 48 * 120 * 3 * 2048 * 768


def test_balance_counts_a_step_and_presses_on_the_busiest(folder):
    balance = Balance(4)
    balance.begin(num_tokens=4, coefficient=0.5)
    scores = torch.zeros(4, 4, requires_grad=True)
    shares = scores.softmax(-1)
    chosen = torch.tensor([[0, 1], [0, 2], [0, 3], [0, 1]])
    weights = balance(shares.gather(1, chosen), shares, chosen)
    assert balance.counts.tolist() == [4, 2, 1, 1]
    assert balance.max_over_mean == 2
    (pressed,) = torch.autograd.grad(weights.sum() * 0, scores)
    load = torch.tensor([4, 2, 1, 1]) / 8
    again = torch.zeros(4, 4, requires_grad=True)
    loss = 0.5 * 4 * (load * again.softmax(-1).mean(0)).sum()
    (expected,) = torch.autograd.grad(loss, again)
    assert torch.allclose(pressed, expected)
    with torch.no_grad():
        balance(weights, shares, chosen)
    assert balance.counts.sum() == 8  # answers are not training


def test_more_experts_chosen_than_there_are_is_refused():
    with pytest.raises(InvalidRequest, match="num_experts_per_tok"):
        ModelConfig.from_json({**tiny(), **MOE, "num_experts_per_tok": 9})


def tiny():
    return {"vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2} | {
        "intermediate_size": 32
    }


def logits(model):
    ids = torch.arange(0, 300, 3)
    return model.logits(model(ids, torch.arange(len(ids)), [len(ids)]))
