from __future__ import annotations

import pytest
import torch
import transformers
from bessemer.kernel.errors import InvalidRequest
from bessemer.modeling.config import ModelConfig
from train_svc.domain.parameters import COUNTED_TYPES, shape_of, training_flops
from transformers.models.mistral4 import Mistral4Config, Mistral4ForCausalLM

SMALL = {"num_hidden_layers": 5, "vocab_size": 1000, "pad_token_id": None}
MODELS = {
    "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM, {}),
    "llama tied, biases": (
        transformers.LlamaConfig,
        transformers.LlamaForCausalLM,
        {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True, "num_key_value_heads": 8},
    ),
    "mistral": (transformers.MistralConfig, transformers.MistralForCausalLM, {}),
    "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM, {"num_key_value_heads": 4}),
    "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM, {}),
    "phi3": (transformers.Phi3Config, transformers.Phi3ForCausalLM, {}),
    "gemma2": (transformers.Gemma2Config, transformers.Gemma2ForCausalLM, {}),
    "olmo2": (transformers.Olmo2Config, transformers.Olmo2ForCausalLM, {}),
    "mixtral": (transformers.MixtralConfig, transformers.MixtralForCausalLM, {}),
    "olmoe": (transformers.OlmoeConfig, transformers.OlmoeForCausalLM, {}),
    "qwen2_moe": (transformers.Qwen2MoeConfig, transformers.Qwen2MoeForCausalLM, {}),
    "qwen2_moe every other layer": (
        transformers.Qwen2MoeConfig,
        transformers.Qwen2MoeForCausalLM,
        {"decoder_sparse_step": 2, "mlp_only_layers": [1], **SMALL},
    ),
    "qwen3_moe": (transformers.Qwen3MoeConfig, transformers.Qwen3MoeForCausalLM, {}),
    "gpt_oss": (transformers.GptOssConfig, transformers.GptOssForCausalLM, {}),
    "deepseek_v3": (transformers.DeepseekV3Config, transformers.DeepseekV3ForCausalLM, {}),
    "mistral4": (Mistral4Config, Mistral4ForCausalLM, {}),
    "mistral4 small, direct queries": (Mistral4Config, Mistral4ForCausalLM, {"n_shared_experts": 2, **SMALL}),
}


@pytest.mark.parametrize("name", MODELS)
def test_parameters_counted_by_formula_equal_those_of_the_model(name):
    config_class, model_class, settings = MODELS[name]
    config = config_class(**settings)
    with torch.device("meta"):
        model = model_class(config)
    parts = dict(model.named_parameters())  # tied ones come once
    shape = shape_of(config.to_dict())
    assert shape.total == sum(p.numel() for p in parts.values())
    assert shape.experts == sum(p.numel() for n, p in parts.items() if ".experts." in n)
    assert shape.embedding == sum(p.numel() for n, p in parts.items() if "embed_tokens" in n or "lm_head" in n)
    assert shape.norms == sum(p.numel() for n, p in parts.items() if "norm" in n)


def test_parameters_of_every_counted_type_are_checked():
    assert set(COUNTED_TYPES) == {config().model_type for config, _, _ in MODELS.values()}


def test_parameters_of_known_models_are_the_published_ones():
    mistral4 = shape_of(Mistral4Config().to_dict())
    assert mistral4.total == 118_972_826_624
    assert mistral4.active == pytest.approx(6.63e9, rel=1e-3)
    mixtral = shape_of(transformers.MixtralConfig().to_dict())
    assert (mixtral.total, mixtral.active) == (46_702_792_704, pytest.approx(12.88e9, rel=1e-3))
    gpt_oss = shape_of(transformers.GptOssConfig().to_dict())
    assert (gpt_oss.total, gpt_oss.active) == (116_829_156_672, pytest.approx(5.71e9, rel=2e-3))


@pytest.mark.parametrize("tied", [True, False])
def test_parameters_and_operations_of_own_models_agree_with_the_trainer(tied):
    raw = transformers.LlamaConfig(num_key_value_heads=8, tie_word_embeddings=tied).to_dict()
    shape, config = shape_of(raw), ModelConfig.from_json(raw)
    assert shape.total == config.num_parameters
    for trains_all in (True, False):
        assert training_flops(shape, 4 * 256, 256, trains_all=trains_all) == pytest.approx(
            config.step_flops([256] * 4, trains_all=trains_all)
        )


def test_parameters_of_adapters_equal_those_that_the_trainer_adds():
    from bessemer.modeling.lora import add_adapters
    from bessemer.modeling.transformer import Transformer

    raw = {
        "model_type": "qwen2",
        "vocab_size": 64,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    model = Transformer(ModelConfig.from_json(raw))
    before = sum(p.numel() for p in model.parameters())
    add_adapters(model, rank=5, alpha=10.0, seed=0)
    assert shape_of(raw).adapters(5) == sum(p.numel() for p in model.parameters()) - before


@pytest.mark.parametrize("wrong", [{"model_type": "t5"}, {"hidden_size": None}, {"num_hidden_layers": -3}])
def test_parameters_of_a_config_with_a_mistake_are_refused(wrong):
    with pytest.raises(InvalidRequest, match="config_json"):
        shape_of({**transformers.LlamaConfig().to_dict(), **wrong})
