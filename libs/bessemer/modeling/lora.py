"""Low-rank adapters on all linear maps (Hu et al. 2021), and their merge into the weights."""

from __future__ import annotations

import torch
from torch import Tensor

from bessemer.modeling.transformer import Transformer

__all__ = ["add_adapters", "merge_adapters"]


def add_adapters(model: Transformer, *, rank: int, alpha: float, seed: int) -> None:
    """Freeze the weights and add adapters that change nothing yet; A is drawn from `seed`."""
    model.requires_grad_(requires_grad=False)
    generator = torch.Generator().manual_seed(seed)
    for _, projection in model.projections():
        projection.add_adapter(rank, alpha / rank, generator)


def merge_adapters(model: Transformer, base: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return fp32 weights with the adapters added to `base`, the fp32 weights they were trained on."""
    merged = dict(base)
    for name, projection in model.projections():
        merged[f"{name}.weight"] = base[f"{name}.weight"] + projection.adapter_delta()
    return merged
