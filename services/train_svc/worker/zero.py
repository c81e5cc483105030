"""Optimiser state, gradients and weights divided among ranks by DeepSpeed's ZeRO, in the names of the whole model.

Stage 1 divides the optimiser's state, stage 2 gradients too, stage 3 weights too (Rajbhandari et al. 2020, section 5).
DeepSpeed waits for gradients in hooks of autograd and averages them; ours are sums, and those of the head are made
outside of autograd. So each micro-batch hands its gradients in at the end of the model, multiplied by the ranks.
"""

from __future__ import annotations

import importlib
import logging
import math
from collections.abc import Mapping
from typing import Any, cast

import torch
from bessemer.api.train.v1.training_job_pb2 import Sharding
from bessemer.kernel.errors import InvalidRequest
from bessemer.modeling.language_model import LanguageModel
from torch import Tensor, nn

from train_svc.worker.optim import BETAS, Optimizer, groups_of
from train_svc.worker.ranks import Ranks

__all__ = ["ZERO_STAGES", "DrivenModel", "ZeroOptimizer"]

ZERO_STAGES = {Sharding.SHARDING_ZERO_1: 1, Sharding.SHARDING_ZERO_2: 2, Sharding.SHARDING_ZERO_3: 3}
_BUCKET = 1 << 24  # numbers sent at once
_MOMENTS = ("exp_avg", "exp_avg_sq")


class DrivenModel:
    """A model whose forward passes go through DeepSpeed, so that it knows of the backward passes that follow.

    `head`, and a parameter `beside` the model, are twins of the real ones: what gradient they have got when a backward
    pass begins goes along with it.
    """

    def __init__(self, model: LanguageModel, ranks: Ranks, beside: nn.Parameter | None) -> None:
        self._model, self._size, self._beside = model, ranks.size, beside
        self._engine: Any = None
        self._twins: list[Tensor] = []
        self._passes = 0
        model.register_forward_hook(self._end)  # before those of DeepSpeed

    def attach(self, engine: Any) -> None:
        """Name the engine."""
        self._engine = engine

    def expect(self, passes: int) -> None:
        """Say after how many backward passes from now on gradients are complete."""
        self._passes = passes
        self._twins = [weight.detach().requires_grad_(weight.requires_grad) for weight in self._real()]

    def __call__(self, *args: Any) -> Tensor:
        """Return the hidden states of packed documents, [T, hidden]."""
        if torch.is_grad_enabled():
            self._passes -= 1
            self._engine.set_gradient_accumulation_boundary(self._passes == 0)
        return cast("Tensor", self._engine(*args))

    @property
    def head(self) -> Tensor:
        """The output weight, [V, hidden]."""
        return self._twins[0]

    @property
    def beside(self) -> Tensor:
        """The parameter beside the model."""
        return self._twins[1]

    def __getattr__(self, name: str) -> Any:
        """Be the model in everything else."""
        return getattr(self._model, name)

    def _end(self, model: nn.Module, args: Any, hidden: Tensor) -> Tensor:
        del model, args
        if not torch.is_grad_enabled():
            return hidden
        return _HandIn.apply(hidden, self._twins, self._size, *self._real())  # type: ignore[no-any-return, no-untyped-call]

    def _real(self) -> list[Tensor]:
        return [self._model.head] if self._beside is None else [self._model.head, self._beside]


class _HandIn(torch.autograd.Function):
    """Passes hidden states through; the gradients of twins go on with theirs, all times a factor."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, twins: list[Tensor], factor: int, *real: Tensor) -> Tensor:
        del real
        ctx.twins, ctx.factor = twins, factor
        return hidden.view_as(hidden)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gradients = [None if twin.grad is None else twin.grad.mul_(ctx.factor) for twin in ctx.twins]
        for twin in ctx.twins:
            twin.grad = None
        return grad * ctx.factor, None, None, *gradients


class ZeroOptimizer(Optimizer):
    """AdamW over parts; weights and moments go in and out whole, so that a checkpoint fits any number of ranks.

    Reading `masters` or `state` gathers: all ranks must do it together.
    """

    def __init__(
        self,
        model: LanguageModel,
        parameters: Mapping[str, nn.Parameter],
        ranks: Ranks,
        *,
        stage: int,
        beside: nn.Parameter | None,
        weight_decay: float,
        clip_norm: float,
    ) -> None:
        self._ranks, self._stage = ranks, stage
        self._parameters = dict(parameters)
        self._is_filled = False
        if beside is not None:
            model.register_parameter("beside", beside)  # DeepSpeed knows no weight outside of its model
        self.driven = DrivenModel(model, ranks, beside)
        adam = torch.optim.AdamW(groups_of(self._parameters.values(), weight_decay), betas=BETAS, fused=True)
        self._engine = _start(model, adam, stage=stage, clip_norm=clip_norm, ranks=ranks)
        self._zero = self._engine.optimizer
        self.driven.attach(self._engine)
        self._open_state(0.0)
        if stage == 3:
            kept: dict[int, Any] = {id(p): p for p in (*model.parameters(recurse=False), model.head)}
            for p in kept.values():
                p.ds_persist = p.is_external_param = True  # after a step, and after any forward pass
                self._zero.persistent_parameters.append(p)
            self._gather()

    def _gather(self) -> None:
        """Gather what the loss reads outside of the model, which a step keeps so, but not what ends otherwise."""
        for p in self._zero.persistent_parameters if self._stage == 3 else ():
            if not p.numel():
                p.all_gather()

    @property
    def masters(self) -> dict[str, Tensor]:
        """The whole fp32 weights by name."""
        from deepspeed.utils import safe_get_full_fp32_param

        return {name: safe_get_full_fp32_param(p) for name, p in self._parameters.items()}

    def gradients(self) -> list[Tensor]:
        """Return none: DeepSpeed adds them up."""
        return []

    def gradient_norm(self) -> float:
        """Return the global norm of the gathered gradients."""
        from deepspeed.utils import safe_get_local_grad

        self._is_filled = True
        if self._stage < 3:
            return float(self._zero.scaled_global_norm())
        total = torch.zeros(1, dtype=torch.float64)
        for p in self._parameters.values():
            total += safe_get_local_grad(p).double().square().sum()
        self._ranks.add_up([total])
        return float(total.sqrt())

    def step(self, rate: float, norm: float) -> None:
        """Take one step at this rate; DeepSpeed clips gradients by the norm."""
        del norm
        if self._is_filled:
            self._zero.set_lr(rate)
            self._engine.step()
        self._is_filled = False

    def clear(self) -> None:
        """Forget gradients that no step was taken with: DeepSpeed forgets what is not a number."""
        if self._is_filled:
            for parts in self._zero.averaged_gradients.values():
                for part in parts:
                    part.fill_(math.nan)
            self._engine.step()
            self._gather()
        self._is_filled = False

    def state(self) -> dict[str, Tensor]:
        """Return the whole moments by parameter name; empty before the first step."""
        from deepspeed.utils import safe_get_full_optimizer_state

        states = [s for s in self._zero.optimizer.state.values() if float(s["step"])]
        if not states:
            return {}
        whole = {
            f"{key}/{name}": safe_get_full_optimizer_state(p, key)
            for name, p in self._parameters.items()
            for key in _MOMENTS
        }
        return whole | {f"step/{name}": states[0]["step"].clone() for name in self._parameters}

    def load(self, weights: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
        """Take over whole weights and moments; without moments the optimiser is new."""
        self._open_state(max([float(value) for name, value in state.items() if name.startswith("step/")], default=0.0))
        for name, p in self._parameters.items():
            self._write(p, weights[name])
            for key in _MOMENTS:
                value = state.get(f"{key}/{name}")
                self._write(p, torch.zeros_like(weights[name]) if value is None else value, key)
        if self._stage < 3:
            self._zero.update_lp_params()
            return
        from deepspeed.runtime.zero import GatheredParameters

        with GatheredParameters(list(self._parameters.values()), modifier_rank=0), torch.no_grad():
            for name, p in self._parameters.items():
                if self._ranks.is_first:
                    p.copy_(weights[name])
        self._gather()

    def _open_state(self, step: float) -> None:
        """Have moments at hand, which Adam makes in its first step only: too late for the second group of weights."""
        adam, zero = self._zero.optimizer, self._zero
        for part in zero.fp32_partitioned_groups_flat if self._stage == 3 else zero.single_partition_of_fp32_groups:
            known = adam.state[part]
            known.setdefault("step", torch.zeros(())).fill_(step)
            for key in _MOMENTS:
                known.setdefault(key, torch.zeros_like(part))
        if self._stage < 3:
            self._zero._lazy_init_hp_params_optimizer_state()  # noqa: SLF001 - no public name

    def _write(self, p: Any, whole: Tensor, key: str | None = None) -> None:
        from deepspeed import utils

        if self._stage < 3:
            if key is None:
                utils.safe_set_full_fp32_param(p, whole)
            else:
                utils.safe_set_full_optimizer_state(p, whole, key)
            return
        # DeepSpeed's own function for the whole fails where a weight does not divide evenly.
        width = p.ds_tensor.numel()
        part = whole.flatten()[self._ranks.rank * width :][:width]
        part = torch.cat([part, part.new_zeros(width - len(part))])
        if key is None:
            utils.safe_set_local_fp32_param(p, part)
        else:
            utils.safe_set_local_optimizer_state(p, part, key)


def _spare_compilers() -> None:
    """Keep DeepSpeed from compiling: it would need a compiler on every host, and minutes, for what is not used here."""
    import deepspeed
    from deepspeed.runtime import compiler

    deepspeed.ops.__compatible_ops__ = {}  # shared memory in place of gloo, within one host
    compile_, compiler.compile = compiler.compile, lambda **_: lambda function: function
    try:
        importlib.import_module("deepspeed.runtime.zero.muon.muon_optimizer")  # every engine does
    finally:
        compiler.compile = compile_


def _start(model: LanguageModel, adam: torch.optim.Optimizer, *, stage: int, clip_norm: float, ranks: Ranks) -> Any:
    """Return DeepSpeed's engine around a model.

    Raises: InvalidRequest if DeepSpeed is not installed.
    """
    try:
        import deepspeed
        from deepspeed.accelerator import set_accelerator
        from deepspeed.accelerator.cpu_accelerator import CPU_Accelerator
    except ImportError as error:
        raise InvalidRequest(
            f"ZeRO needs the package deepspeed ({error}); install bessemer[deepspeed] where workers run, or take "
            "SHARDING_FSDP",
            field="training_job.recipe.sharding",
        ) from error
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    set_accelerator(CPU_Accelerator())
    _spare_compilers()
    deepspeed.init_distributed(dist_backend="gloo", auto_mpi_discovery=False, verbose=False)
    config = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "train_batch_size": ranks.size,
        "gradient_clipping": clip_norm,
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 1 << 60,
        "bf16": {"enabled": model.dtype == torch.bfloat16, "check_grad_overflow": True},
        "communication_data_type": "fp32",
        "zero_optimization": {
            "stage": stage,
            "overlap_comm": False,
            "reduce_bucket_size": _BUCKET,
            "allgather_bucket_size": _BUCKET,
            "stage3_prefetch_bucket_size": _BUCKET,
            "stage3_param_persistence_threshold": 0,
        },
    }
    engine, *_ = deepspeed.initialize(model=model, optimizer=adam, config=config, dist_init_required=False)
    return engine
