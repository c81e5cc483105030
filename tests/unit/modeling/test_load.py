from __future__ import annotations

import json

import pytest
import torch
from bessemer.kernel.errors import InvalidRequest
from bessemer.modeling import numerics
from bessemer.modeling.config import ModelConfig
from bessemer.modeling.load import load_model, save_model
from bessemer.modeling.lora import add_adapters, merged_weights
from safetensors.torch import load_file, save_file

from tests.fixtures.tiny_model import make_tiny_model


@pytest.fixture
def folder(tmp_path):
    return make_tiny_model(tmp_path / "tiny")


def hidden(model):
    ids = torch.arange(0, 300, 7)
    with torch.no_grad():
        return model(ids, torch.arange(len(ids)), [len(ids)])


def test_saved_model_loads_again_with_the_same_bytes(folder, tmp_path):
    model = load_model(folder)
    save_model(model, tmp_path / "copy")
    assert (tmp_path / "copy" / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    assert sum(p.numel() for p in model.parameters()) == model.config.num_parameters


def test_load_several_shards_and_a_repeated_tied_head(folder):
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    save_file({n: tensors[n] for n in names[::2]}, folder / "model-00001-of-00002.safetensors")
    rest = {n: tensors[n] for n in names[1::2]}
    rest["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(rest, folder / "model-00002-of-00002.safetensors")
    assert hidden(load_model(folder)).isfinite().all()


def test_load_half_precision_weights_become_fp32(folder):
    tensors = load_file(folder / "model.safetensors")
    save_file({n: t.bfloat16() for n, t in tensors.items()}, folder / "model.safetensors")
    assert load_model(folder).dtype == torch.float32


@pytest.mark.parametrize("change", ["missing", "extra", "shape", "integers"])
def test_load_tensors_that_do_not_fit_are_refused(folder, change):
    tensors = load_file(folder / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    if change == "missing":
        del tensors[name]
    elif change == "extra":
        tensors["model.layers.2.mlp.up_proj.weight"] = torch.zeros(2)
    else:
        tensors[name] = tensors[name].t().contiguous() if change == "shape" else tensors[name].int()
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(InvalidRequest, match="up_proj"):
        load_model(folder)


def test_config_sliding_window_bounds_the_context(folder):
    raw = json.loads((folder / "config.json").read_text())
    assert ModelConfig.from_json({**raw, "model_type": "mistral", "sliding_window": 64}).context_length == 64


def test_config_step_flops_are_six_per_weight_and_token_plus_attention(folder):
    config = load_model(folder).config
    assert config.step_flops([10, 6]) == 6 * config.num_parameters * 16 + 12 * 2 * 4 * 16 * (100 + 36) / 2
    assert config.step_flops([1], trains_all=False) < config.step_flops([1])


def test_adapters_change_nothing_at_first_and_merge_into_the_weights(folder):
    model = load_model(folder)
    before = hidden(model)
    add_adapters(model, rank=3, alpha=6, seed=0)
    assert torch.equal(hidden(model), before)
    assert {n.rsplit(".", 1)[-1] for n, p in model.named_parameters() if p.requires_grad} == {"lora_a", "lora_b"}
    with torch.no_grad():
        for _, projection in model.projections():
            projection.lora_b.normal_(std=0.1)
    changed = hidden(model)
    assert (changed - before).abs().max() > 0.01
    merged = load_model(folder)
    merged.load_state_dict(merged_weights(model))
    assert (hidden(merged) - changed).abs().max() < 1e-4


def test_prepare_picks_a_format_this_machine_is_fast_in():
    threads = torch.get_num_threads()
    try:
        chosen = numerics.prepare(1)
        assert chosen.dtype in {torch.float32, torch.bfloat16}
        assert chosen.peak_flops > 1e9
        assert torch.are_deterministic_algorithms_enabled()
        with pytest.raises(InvalidRequest):
            numerics.prepare(1, "int8")
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(threads)
