"""Low-rank adapters on all linear maps (Hu et al. 2021), and their merge into the weights."""

from __future__ import annotations

import torch

from bessemer.modeling.transformer import Transformer

__all__ = ["add_adapters", "merge_adapters"]


def add_adapters(model: Transformer, *, rank: int, alpha: float, seed: int) -> None:
    """Freeze the weights and add adapters that change nothing yet; A is drawn from `seed`."""
    model.requires_grad_(requires_grad=False)
    generator = torch.Generator().manual_seed(seed)
    for _, projection in model.projections():
        projection.add_adapter(rank, alpha / rank, generator)


@torch.no_grad()
def merge_adapters(model: Transformer) -> None:
    """Add what the adapters do to the weights, which should be fp32, and drop them."""
    for _, projection in model.projections():
        projection.weight.add_(projection.adapter_delta())
        projection.lora_a = projection.lora_b = None
