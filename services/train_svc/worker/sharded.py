"""Weights, gradients and optimiser state divided among ranks by PyTorch's FSDP2, in the names of the whole model."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from bessemer.modeling.language_model import LanguageModel
from bessemer.modeling.transformers_model import TransformersModel
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from train_svc.worker.optim import Optimizer
from train_svc.worker.ranks import Ranks

__all__ = ["ShardedOptimizer", "shard"]


def shard(model: LanguageModel, ranks: Ranks, dtype: torch.dtype) -> None:
    """Divide a model, which is in fp32, layer by layer; it computes in `dtype`, gradients are added up in fp32.

    The embedding and the head stay whole from a forward pass to the end of its backward pass, as the loss needs them.
    """
    mesh = init_device_mesh("cpu", (ranks.size,))
    policy = MixedPrecisionPolicy(param_dtype=None if dtype == torch.float32 else dtype, reduce_dtype=torch.float32)
    parts = model.layers() if isinstance(model, TransformersModel) else list(model.blocks)
    for part in parts:
        fully_shard(part, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy, reshard_after_forward=False)
    for part in [*parts, model]:
        part.set_gradient_divide_factor(1.0)  # type: ignore[operator] # losses are counted over all ranks: they add up
        part.set_force_sum_reduction_for_comms(True)  # type: ignore[operator] # gloo knows no scaled sums


class ShardedOptimizer(Optimizer):
    """AdamW over shards; weights and moments go in and out whole, so that a checkpoint fits any number of ranks.

    Reading `masters` or `state` gathers: all ranks must do it together.
    """

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], ranks: Ranks, *, weight_decay: float, clip_norm: float
    ) -> None:
        self._ranks = ranks
        super().__init__(parameters, weight_decay=weight_decay, clip_norm=clip_norm)

    @property
    def masters(self) -> dict[str, Tensor]:
        """The whole fp32 weights by name."""
        return {name: _whole(p.detach()) for name, p in self._parameters.items()}

    def gradients(self) -> list[Tensor]:
        """Return the gradients that are still to be added up: those of weights beside the model."""
        return [p.grad for p in self._parameters.values() if p.grad is not None and not isinstance(p, DTensor)]

    def gradient_norm(self) -> float:
        """Return the global norm of the gathered gradients."""
        total = torch.zeros(1, dtype=torch.float64)
        for p in self._parameters.values():
            if p.grad is not None:
                copies = 1 if isinstance(p, DTensor) else self._ranks.size
                total += _part(p.grad).double().square().sum() / copies
        self._ranks.add_up([total])
        return float(total.sqrt())

    def step(self, rate: float, norm: float) -> None:
        """Clip gradients of this norm and take one step at this rate."""
        if norm > self._clip_norm:
            for p in self._parameters.values():
                if p.grad is not None:
                    _part(p.grad).mul_(self._clip_norm / norm)
        for group in self._adam.param_groups:
            group["lr"] = rate
        self._adam.step()

    def clear(self) -> None:
        """Forget the gradients."""
        for parameter in self._parameters.values():
            parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """Return the whole moments by parameter name; empty before the first step."""
        return {
            f"{key}/{name}": _whole(value)
            for name, parameter in self._parameters.items()
            for key, value in self._adam.state.get(parameter, {}).items()
        }

    def load(self, weights: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
        """Take over whole weights and moments; without moments the optimiser is new."""
        self._adam.state.clear()
        with torch.no_grad():
            for name, p in self._parameters.items():
                _part(p).copy_(_part(_divided(weights[name], p)))
                if f"step/{name}" in state:
                    self._adam.state[p] = {
                        "step": state[f"step/{name}"].clone(),
                        **{key: _divided(state[f"{key}/{name}"], p) for key in ("exp_avg", "exp_avg_sq")},
                    }


def _whole(value: Tensor) -> Tensor:
    return value.full_tensor() if isinstance(value, DTensor) else value


def _part(value: Tensor) -> Tensor:
    return value.to_local() if isinstance(value, DTensor) else value


def _divided(whole: Tensor, like: Tensor) -> Tensor:
    if not isinstance(like, DTensor):
        return whole
    return distribute_tensor(whole.detach().to(like.dtype).contiguous(), like.device_mesh, like.placements)
