"""AdamW with fp32 master weights, the warm-up / stable / decay schedule, and gradient clipping."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from bessemer.kernel.errors import InvalidRequest
from torch import Tensor, nn

__all__ = ["BETAS", "Optimizer", "groups_of", "learning_rate"]

BETAS = (0.9, 0.95)


def learning_rate(step: int, *, steps: int, peak: float, warmup_fraction: float, decay_fraction: float) -> float:
    """Return the rate of step `step` (from 0): linear up, flat, linear down to just above zero at the last step.

    Raises: InvalidRequest unless the peak is above 0 and at most 1.
    """
    if not (math.isfinite(peak) and 0 < peak <= 1):
        raise InvalidRequest(f"learning_rate must be above 0 and at most 1; got {peak}", field="recipe.learning_rate")
    warmup, decay = round(warmup_fraction * steps), round(decay_fraction * steps)
    rising = (step + 1) / (warmup + 1) if step < warmup else 1.0
    falling = (steps - step) / (decay + 1) if step >= steps - decay else 1.0
    return peak * min(rising, falling)


def groups_of(parameters: Iterable[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Return an optimiser's groups: matrices, which decay, and vectors, which do not; divided weights by themselves."""
    groups: dict[tuple[bool, type], list[nn.Parameter]] = {}
    for p in parameters:
        groups.setdefault((p.dim() > 1, type(p)), []).append(p)
    return [{"params": group, "weight_decay": weight_decay * decays} for (decays, _), group in groups.items()]


class Optimizer:
    """Fused AdamW over the trainable parameters; decay acts on matrices only.

    Where the model computes in fp32 its own parameters are the masters.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], *, weight_decay: float, clip_norm: float) -> None:
        self._parameters = dict(parameters)
        self._clip_norm = clip_norm
        self._masters = {
            name: p if p.dtype == torch.float32 else nn.Parameter(p.detach().float()) for name, p in parameters.items()
        }
        self._adam = torch.optim.AdamW(groups_of(self._masters.values(), weight_decay), betas=BETAS, fused=True)

    @property
    def masters(self) -> Mapping[str, Tensor]:
        """The fp32 weights by name."""
        return self._masters

    def gradients(self) -> list[Tensor]:
        """Return the gathered gradients in fp32, always in the same order; zeros where a weight has none yet."""
        for name, parameter in self._parameters.items():
            master = self._masters[name]
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            if master is not parameter:
                master.grad = parameter.grad.float()
        return [m.grad for m in self._masters.values() if m.grad is not None]

    def gradient_norm(self) -> float:
        """Return the global norm of the gathered gradients."""
        for name, parameter in self._parameters.items():
            master = self._masters[name]
            if master.grad is None and parameter.grad is not None:  # otherwise it is already the sum over all ranks
                master.grad = parameter.grad.float()
        gradients = [m.grad for m in self._masters.values() if m.grad is not None]
        return float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))))  # noqa: SLF001 - no public name

    def step(self, rate: float, norm: float) -> None:
        """Clip gradients of this norm and take one step at this rate."""
        # The kernel divides gradients by the scale as it reads them: clipping costs no pass of its own.
        scale = torch.tensor(norm / self._clip_norm) if norm > self._clip_norm else None
        self._adam.grad_scale = scale  # type: ignore[attr-defined] # where gradient scalers put it
        for group in self._adam.param_groups:
            group["lr"] = rate
        self._adam.step()
        self._write_back()

    def clear(self) -> None:
        """Forget the gradients."""
        for name, parameter in self._parameters.items():
            parameter.grad = self._masters[name].grad = None

    def state(self) -> dict[str, Tensor]:
        """Return the moments by parameter name; empty before the first step."""
        return {
            f"{key}/{name}": value
            for name, master in self._masters.items()
            for key, value in self._adam.state.get(master, {}).items()
        }

    def load(self, weights: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
        """Take over weights and moments; without moments the optimiser is new."""
        self._adam.state.clear()
        with torch.no_grad():
            for name, master in self._masters.items():
                master.copy_(weights[name])
                if f"step/{name}" in state:  # not for a weight that never had a gradient
                    self._adam.state[master] = {k: state[f"{k}/{name}"] for k in ("step", "exp_avg", "exp_avg_sq")}
        self._write_back()

    @torch.no_grad()
    def _write_back(self) -> None:
        for name, parameter in self._parameters.items():
            if parameter is not self._masters[name]:
                parameter.copy_(self._masters[name])
