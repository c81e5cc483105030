"""Our decoder against transformers with the same weights, in fp32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from bessemer.modeling.attention import document_attention
from bessemer.modeling.generate import generate_greedy
from bessemer.modeling.load import hf_tensors, load_model
from bessemer.modeling.score import pack_positions, token_logprobs
from hypothesis import given, settings
from hypothesis import strategies as st
from train_svc.worker.components import Losses
from train_svc.worker.rows import Document, Row
from train_svc.worker.step import backward

from tests.fixtures.tiny_model import make_tiny_model

transformers = pytest.importorskip("transformers")

LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
VARIANTS = {
    "llama": {},
    "untied": {"tie_word_embeddings": False},
    "llama3 rope": {"rope_parameters": LLAMA3_ROPE},
    "qwen2": {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]},
    "mistral": {"model_type": "mistral", "architectures": ["MistralForCausalLM"], "sliding_window": None},
    "one key head": {"num_key_value_heads": 1},
    "qwen3": {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]},
    "mixtral": {
        "model_type": "mixtral",
        "architectures": ["MixtralForCausalLM"],
        "num_local_experts": 6,
        "num_experts_per_tok": 2,
        "router_aux_loss_coef": 0.1,
    },
    "qwen3_moe": {
        "model_type": "qwen3_moe",
        "architectures": ["Qwen3MoeForCausalLM"],
        "num_hidden_layers": 3,
        "mlp_only_layers": [1],
        "num_experts": 8,
        "num_experts_per_tok": 3,
        "moe_intermediate_size": 32,
        "norm_topk_prob": True,
        "router_aux_loss_coef": 0.1,
    },
    "olmoe": {
        "model_type": "olmoe",
        "architectures": ["OlmoeForCausalLM"],
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "norm_topk_prob": False,
        "router_aux_loss_coef": 0.1,
    },
}


ARCHITECTURES = ("llama", "mistral", "qwen2", "qwen3", "mixtral", "qwen3_moe", "olmoe")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Return a function from the name of a variant to its model, made once."""
    made = {}

    def model(name):
        if name not in made:
            made[name] = load_model(make_tiny_model(tmp_path_factory.mktemp("model"), **VARIANTS[name]))
        return made[name]

    return model


def pair(folder: Path, overrides: dict):
    folder = make_tiny_model(folder, **overrides)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return load_model(folder), theirs.eval()


def gradients_of(model):
    """Gradients by the names of transformers' parameters, which hold all experts of a layer in one."""
    own = {name: p.grad for name, p in model.named_parameters()}
    gradients = {k.replace("block_sparse_moe", "mlp"): g for k, g in hf_tensors(model, own).items()}
    for layer, block in enumerate(model.blocks):
        if hasattr(block.mlp, "router"):
            for name in ("gate_up", "down"):
                gradient = own[f"blocks.{layer}.mlp.{name}.weight"]
                gradients[f"model.layers.{layer}.mlp.experts.{name}_proj"] = gradient.unflatten(
                    0, (block.mlp.gate_up.num_experts, -1)
                )
    return gradients


@pytest.mark.parametrize("name", VARIANTS)
def test_decoder_same_weights_same_logits_and_gradients(tmp_path, name):
    ours, theirs = pair(tmp_path, VARIANTS[name])
    # Without the padding token: transformers keeps gradients from its embedding, which is our end-of-turn token's.
    ids = torch.randint(3, 512, (300,), generator=torch.Generator().manual_seed(1))
    logits = ours.logits(ours(ids, pack_positions([300]), [300]))
    expected = theirs(input_ids=ids[None]).logits[0]
    assert (logits - expected).abs().max() <= 1e-5

    weights = np.ones(300, np.float32)
    weights[0] = 0
    result = backward(ours, [Row((Document(ids.numpy(), weights),))], Losses())
    loss = theirs(input_ids=ids[None], labels=ids[None]).loss
    loss.backward()
    assert result.loss == pytest.approx(loss.item(), rel=1e-6)
    gradients = gradients_of(ours)
    for key, parameter in theirs.named_parameters():
        error = (gradients[key] - parameter.grad).norm() / parameter.grad.norm()
        assert error <= 1e-5, key


@pytest.mark.parametrize("name", VARIANTS)
def test_saved_model_is_what_transformers_loads_and_saves(tmp_path, name):
    ours, theirs = pair(tmp_path / "ours", VARIANTS[name])
    assert sum(p.numel() for p in theirs.parameters()) == ours.config.num_parameters
    theirs.save_pretrained(tmp_path / "theirs")
    back = load_model(tmp_path / "theirs")
    assert back.config == ours.config
    for key, tensor in hf_tensors(back).items():
        assert torch.equal(tensor, hf_tensors(ours)[key]), key


@pytest.mark.parametrize("name", ARCHITECTURES)
@settings(max_examples=8, deadline=None)
@given(lengths=st.lists(st.integers(2, 70), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_packed_loss_is_the_sum_of_the_losses_alone(models, name, lengths, seed):
    model, generator = models(name), torch.Generator().manual_seed(seed)
    documents = []
    for length in lengths:
        weights = np.ones(length, np.float32)
        weights[0] = 0
        documents.append(Document(torch.randint(0, 512, (length,), generator=generator).numpy(), weights))
    counted = [float(document.weights.sum()) for document in documents]
    packed = backward(model, [Row(tuple(documents))], Losses()).loss * sum(counted)
    alone = [backward(model, [Row((one,))], Losses()).loss for one in documents]
    total = sum(loss * count for loss, count in zip(alone, counted, strict=True))
    assert packed == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_packed_documents_do_not_see_each_other(models, name):
    model, generator = models(name), torch.Generator().manual_seed(2)
    parts = [torch.randint(0, 512, (n,), generator=generator) for n in (7, 1, 130, 300)]
    lengths = [len(part) for part in parts]
    packed = model(torch.cat(parts), pack_positions(lengths), lengths).split(lengths)
    for part, hidden in zip(parts, packed, strict=True):
        alone = model(part, pack_positions([len(part)]), [len(part)])
        assert (hidden - alone).abs().max() <= 1e-5


def test_packed_attention_same_gradients_as_each_document_alone():
    lengths = [7, 1, 130, 20, 90, 30, 300, 128, 5, 520]  # short ones share a block, long ones have several
    generator = torch.Generator().manual_seed(4)
    shapes = [(sum(lengths), heads, 16) for heads in (4, 2, 2)]
    inputs = [torch.randn(shape, generator=generator, requires_grad=True) for shape in shapes]
    grad = torch.randn(sum(lengths), 64, generator=generator)

    def run(cut):
        out = document_attention(*inputs, lengths) if cut is None else torch.cat([cut(*part) for part in parts(inputs)])
        return out, *torch.autograd.grad(out, inputs, grad)

    def parts(tensors):
        return zip(*(x.split(lengths) for x in tensors), strict=True)

    def fused(q, k, v):
        q, k, v = (x.transpose(0, 1) for x in (q, k, v))
        out = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return out.transpose(0, 1).flatten(1)

    for ours, theirs in zip(run(None), run(fused), strict=True):
        assert (ours - theirs).abs().max() <= 1e-5


@pytest.mark.parametrize("length", [1, 127, 129, 512, 513])
def test_decoder_any_document_length_matches_fused_attention(tmp_path, length):
    ours, theirs = pair(tmp_path, {"max_position_embeddings": 1024})
    ids = torch.randint(0, 512, (length,), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        logits = ours.logits(ours(ids, pack_positions([length]), [length]))
        assert (logits - theirs(input_ids=ids[None]).logits[0]).abs().max() <= 1e-4


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_generate_greedy_batch_of_slots_equals_transformers(tmp_path, name):
    ours, theirs = pair(tmp_path, VARIANTS[name])
    generator = torch.Generator().manual_seed(4)
    prompts = [torch.randint(0, 512, (n,), generator=generator).tolist() for n in (3, 40, 11, 1)]
    expected = [
        theirs.generate(torch.tensor([p]), attention_mask=torch.ones(1, len(p)), max_new_tokens=24, do_sample=False)
        for p in prompts
    ]
    got = generate_greedy(ours, prompts, max_new_tokens=24, stop=ours.config.eos_ids)
    assert got == [row[0, len(p) :].tolist() for row, p in zip(expected, prompts, strict=True)]


def test_token_logprobs_equal_log_softmax_of_transformers(tmp_path):
    ours, theirs = pair(tmp_path, {})
    ids = torch.randint(0, 512, (50,), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        expected = theirs(input_ids=ids[None]).logits[0, :-1].log_softmax(-1).gather(1, ids[1:, None])[:, 0]
    assert (token_logprobs(ours, ids, chunk=7) - expected).abs().max() <= 1e-5
