"""Low-rank adapters on all linear maps (Hu et al. 2021), and their merge into the weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bessemer.kernel.errors import InvalidRequest
from bessemer.modeling.language_model import LanguageModel
from bessemer.modeling.transformer import Transformer
from bessemer.modeling.transformers_model import TransformersModel

__all__ = ["add_adapters", "merge_parametrized", "merged_weights"]


def add_adapters(model: LanguageModel, *, rank: int, alpha: float, seed: int) -> None:
    """Freeze the weights and add adapters that change nothing yet; A is drawn from `seed`.

    Raises: InvalidRequest for a model of transformers without a linear map to adapt.
    """
    model.requires_grad_(requires_grad=False)
    generator = torch.Generator().manual_seed(seed)
    if not isinstance(model, TransformersModel):
        for _, projection in model.projections():
            projection.add_adapter(rank, alpha / rank, generator)
        return
    maps = model.linear_maps()
    if not maps:
        raise InvalidRequest(
            f"models of type {model.config.model_type} have no linear map that adapters fit; train all weights",
            field="recipe.lora",
        )
    for module, name in maps:
        adapter = _LowRank(getattr(module, name), rank, alpha / rank, generator)
        parametrize.register_parametrization(module, name, adapter)


@torch.no_grad()
def merged_weights(model: Transformer) -> dict[str, Tensor]:
    """Return the weights by parameter name with what the adapters add to them, in fp32; the model stays as it is."""
    merged = {name: p.detach().float() for name, p in model.named_parameters() if ".lora_" not in name}
    for prefix, projection in model.projections():
        if projection.lora_a is not None:
            merged[f"{prefix}.weight"] = merged[f"{prefix}.weight"] + projection.adapter_delta()
    return merged


@torch.no_grad()
def merge_parametrized(model: TransformersModel) -> None:
    """Put what the adapters make of the weights in their place, and drop the adapters."""
    for module in list(model.modules()):
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)


class _LowRank(nn.Module):
    """A weight plus B A; experts have one of each.

    Shapes: weight [..., out, in], lora_a [..., rank, in], lora_b [..., out, rank].
    """

    def __init__(self, weight: Tensor, rank: int, scale: float, generator: torch.Generator) -> None:
        super().__init__()
        *experts, rows, columns = weight.shape
        a = (torch.rand(*experts, rank, columns, generator=generator) * 2 - 1) / math.sqrt(columns)
        self.lora_a = nn.Parameter(a.to(weight.dtype))
        self.lora_b = nn.Parameter(weight.new_zeros(*experts, rows, rank))
        self.scale = scale

    def forward(self, weight: Tensor) -> Tensor:
        """Return the adapted weight."""
        return weight + torch.matmul(self.lora_b, self.lora_a) * self.scale
