from __future__ import annotations

import pytest
import torch
from bessemer.modeling.config import ModelConfig
from bessemer.modeling.lora import add_adapters
from bessemer.modeling.score import pack_positions
from bessemer.modeling.transformer import Transformer
from train_svc.domain.memory import MICRO_BATCH_TOKENS, Workload, activation_bytes, forecast_memory
from train_svc.domain.parameters import shape_of
from train_svc.worker import step

RAW = {
    "model_type": "llama",
    "vocab_size": 64,
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
}
GIB = 1 << 30


def kept_by_the_model(lengths: list[int], dtype: torch.dtype, rank: int) -> int:
    """Count the bytes of all tensors that autograd keeps, each storage once, weights left out."""
    model = Transformer(ModelConfig.from_json(RAW)).to(dtype)
    if rank:
        add_adapters(model, rank=rank, alpha=1.0, seed=0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    ids = torch.zeros(sum(lengths), dtype=torch.int64)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        hidden = model(ids, pack_positions(lengths), lengths)
    assert hidden.requires_grad
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("rank", [0, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("lengths", [[256] * 4, [512, 512], [1024], [200] * 5])
def test_activations_foretold_are_those_that_the_model_keeps(lengths, dtype, rank):
    work = Workload(dtype.itemsize, rank, sum(lengths), lengths[0])
    foretold = activation_bytes(shape_of(RAW), work)
    assert foretold == pytest.approx(kept_by_the_model(lengths, dtype, rank), rel=0.02)


def test_micro_batch_is_that_of_the_worker():
    assert MICRO_BATCH_TOKENS == step.MICRO_BATCH_TOKENS


def test_memory_is_the_sum_of_its_parts_and_falls_with_devices():
    shape, work = shape_of(RAW | {"hidden_size": 4096, "num_hidden_layers": 32}), Workload(2, 0, 1024, 512)
    held = [forecast_memory(shape, work, capacity=GIB, on_cpu=False, devices=n) for n in (1, 2, 4, 8)]
    for memory in held:
        parts = [field for field, _ in memory.ListFields() if field.name not in {"devices", "total", "fits"}]
        assert memory.total == sum(getattr(memory, field.name) for field in parts)
        assert memory.fits == (memory.total <= GIB)
        sharded = memory.weights + memory.masters + memory.gradients + memory.moments
        assert sharded * memory.devices == pytest.approx(20 * shape.total, rel=1e-6)
    totals = [memory.total for memory in held]
    assert totals == sorted(totals, reverse=True)
