"""Low-rank adapters on all linear maps (Hu et al. 2021), and their merge into the weights."""

from __future__ import annotations

import torch
from torch import Tensor

from bessemer.modeling.transformer import Transformer

__all__ = ["add_adapters", "merged_weights"]


def add_adapters(model: Transformer, *, rank: int, alpha: float, seed: int) -> None:
    """Freeze the weights and add adapters that change nothing yet; A is drawn from `seed`."""
    model.requires_grad_(requires_grad=False)
    generator = torch.Generator().manual_seed(seed)
    for _, projection in model.projections():
        projection.add_adapter(rank, alpha / rank, generator)


@torch.no_grad()
def merged_weights(model: Transformer) -> dict[str, Tensor]:
    """Return the weights by parameter name with what the adapters add to them, in fp32; the model stays as it is."""
    merged = {name: p.detach().float() for name, p in model.named_parameters() if ".lora_" not in name}
    for prefix, projection in model.projections():
        if projection.lora_a is not None:
            merged[f"{prefix}.weight"] = merged[f"{prefix}.weight"] + projection.adapter_delta()
    return merged
