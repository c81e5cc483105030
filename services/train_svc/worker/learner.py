"""The model that learns, its optimiser, and the model that comes out of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import torch
from bessemer.api.train.v1.training_job_pb2 import Sharding, TrainingRecipe
from bessemer.kernel.errors import Internal, InvalidRequest
from bessemer.modeling.language_model import LanguageModel
from bessemer.modeling.load import load_model
from bessemer.modeling.lora import add_adapters, merge_parametrized
from bessemer.modeling.score import pack_positions
from bessemer.modeling.transformers_model import TransformersModel
from torch import Tensor, nn

from train_svc.worker.distill import backward_divergence, load_teacher
from train_svc.worker.methods import losses_of
from train_svc.worker.optim import Optimizer
from train_svc.worker.ranks import Ranks, share_out
from train_svc.worker.reward import backward_scores
from train_svc.worker.rows import Row
from train_svc.worker.sharded import ShardedOptimizer, shard
from train_svc.worker.step import StepResult, answer_logprobs, backward, baseline_of, contrasts
from train_svc.worker.zero import ZERO_STAGES, DrivenModel, ZeroOptimizer

__all__ = ["REWARD", "Learner"]

_MERGE_TOLERANCE = 1e-3  # of the range of logits

REWARD = "reward_head"  # name of the head of a reward model among the trained weights
_ALONE = Ranks()


class Learner:
    """Weights in `dtype`, fp32 masters of what is trained: everything, or adapters only."""

    def __init__(
        self,
        folder: Path,
        recipe: TrainingRecipe,
        dtype: torch.dtype,
        ranks: Ranks = _ALONE,
        teacher: Path | None = None,
    ) -> None:
        self._folder = folder
        self._recipe = recipe
        self._ranks = ranks
        sharding = recipe.sharding if ranks.size > 1 else Sharding.SHARDING_UNSPECIFIED
        self._is_sharded = sharding != Sharding.SHARDING_UNSPECIFIED
        is_fsdp = sharding == Sharding.SHARDING_FSDP
        self._divides_weights = is_fsdp or sharding == Sharding.SHARDING_ZERO_3
        self._teacher: LanguageModel | None = None
        self.model = self._load(torch.float32 if is_fsdp else dtype)
        if teacher is not None:
            self._teacher = load_teacher(teacher, self.model)
        if is_fsdp:
            shard(self.model, ranks, dtype)
        trained = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        self.reward_head: nn.Parameter | None = None
        if recipe.HasField("reward_model"):
            self.reward_head = trained[REWARD] = nn.Parameter(torch.zeros(self.model.config.hidden_size))
        self._copy: LanguageModel | None = None
        how = {"weight_decay": recipe.weight_decay, "clip_norm": recipe.gradient_clip_norm}
        self._driven: DrivenModel | None = None
        self.optimizer: Optimizer
        if is_fsdp:
            self.optimizer = ShardedOptimizer(trained, ranks, **how)
        elif self._is_sharded:
            stage = ZERO_STAGES[sharding]
            self.optimizer = zero = ZeroOptimizer(
                self.model, trained, ranks, stage=stage, beside=self.reward_head, **how
            )
            self._driven = zero.driven
        else:
            self.optimizer = Optimizer(trained, **how)
        self._losses = losses_of(recipe)

    @property
    def trains_all(self) -> bool:
        """Whether all weights learn, not only adapters or a projector."""
        return not self._recipe.HasField("lora") and self._recipe.trained_weights != "projector"

    def backward(self, rows: Sequence[Row]) -> tuple[StepResult, float]:
        """Gather the gradients of rows; return what the step saw and the gradient norm. Without rows there are none."""
        self.optimizer.clear()
        if not rows:
            return StepResult(0.0, ()), 0.0
        # Adapters leave routers alone, so there is nothing to balance; the load is watched all the same.
        stated = self._recipe.router_balance if self._recipe.HasField("router_balance") else self.model.config.balance
        coefficient = stated if self.trains_all else 0.0
        batches = share_out(rows, self._ranks)
        model, driven = self.model, self._driven
        if driven is not None:
            coefficient *= self._ranks.size  # its gradients are averaged
            driven.expect(len(batches))
            model = cast("LanguageModel", driven)
        for balance in self.model.balances():
            balance.begin(sum(row.num_tokens for row in rows), coefficient)
        if self.reward_head is not None:
            head = self.reward_head if driven is None else driven.beside
            result = backward_scores(model, head, rows, batches)
        elif self._teacher is not None:
            method = self._recipe.distill
            result = backward_divergence(
                model,
                self._teacher,
                rows,
                batches,
                temperature=method.temperature,
                data_weight=method.data_weight,
            )
        else:
            result = backward(model, rows, self._losses, batches, self._baseline(rows))
        return self._add_up(result), self.optimizer.gradient_norm()

    def _baseline(self, rows: Sequence[Row]) -> float:
        """Return how far the policy has moved on answers that nobody judged; each rank looks at its part of them."""
        alone = [Row((document,)) for document in contrasts(rows)]
        if not alone:
            return 0.0
        now = [sum(answer_logprobs(self.model, batch.documents)) for batch in share_out(alone, self._ranks)]
        return baseline_of(rows, list(self._ranks.add_up_numbers({"now": sum(now)}).values()))

    def _add_up(self, result: StepResult) -> StepResult:
        """Add up over all ranks what each saw of a step, and the gradients where every rank holds them all."""
        if self._ranks.size == 1:
            return result
        self._ranks.add_up(self.optimizer.gradients())
        for balance in self.model.balances():
            self._ranks.add_up([balance.counts])
        sums = self._ranks.add_up_numbers({"loss": result.loss, **result.seen})
        if "baseline" in sums:
            sums["baseline"] = result.seen["baseline"]  # that of all already
        return StepResult(sums.pop("loss"), result.lengths, sums)

    def expert_loads(self) -> dict[str, float]:
        """Return metrics of the last step: rows of the busiest expert over the mean, by layer, and the worst."""
        loads = {f"train/expert_load_max_over_mean/{i}": b.max_over_mean for i, b in enumerate(self.model.balances())}
        return {"train/expert_load_max_over_mean": max(loads.values()), **loads} if loads else {}

    def flops(self, lengths: Sequence[int]) -> float:
        """Return the floating-point operations of a step on documents of these lengths."""
        return self.model.config.step_flops(lengths, trains_all=self.trains_all)

    def reset(self) -> None:
        """Go back to the base weights and a new optimiser."""
        fresh: dict[str, Tensor] = dict(self._load(torch.float32).named_parameters())
        if self.reward_head is not None:
            fresh[REWARD] = torch.zeros_like(self.reward_head)
        self.optimizer.load(fresh, {})

    def base_model(self) -> LanguageModel:
        """Return the model as it was before the first step, frozen."""
        return load_model(self._folder, dtype=self.model.dtype).requires_grad_(requires_grad=False)

    def policy(self) -> LanguageModel:
        """Return a model that answers as the weights now are.

        Where they are divided it is a whole copy, for which all ranks have to ask together: a rank may then write as
        much as it likes, while the others write something else.
        """
        if not self._divides_weights:
            return self.model
        if self._copy is None:
            self._copy = self._load(self.model.dtype).requires_grad_(requires_grad=False)
        return _take_over(self._copy, self.optimizer.masters)

    def check_agreement(self, position: int) -> None:
        """Compare the weights of all ranks, where every rank has them all.

        Raises: DataLoss if they differ.
        """
        if self._ranks.size > 1 and not self._is_sharded:
            self._ranks.check_agreement(self.state_sha256(position).encode())

    def is_finite(self) -> bool:
        """Whether every trained weight is a finite number."""
        return all(bool(torch.isfinite(master).all()) for master in self.optimizer.masters.values())

    def state_sha256(self, position: int) -> str:
        """Return a digest over trained weights, optimiser and position."""
        digest = hashlib.sha256(f"{position}\n".encode())
        tensors: dict[str, Tensor] = {**self.optimizer.masters, **self.optimizer.state()}
        for name in sorted(tensors):
            digest.update(name.encode())
            digest.update(tensors[name].detach().contiguous().numpy().data)
        return digest.hexdigest()

    def finished_model(self) -> LanguageModel:
        """Return the model in fp32; the learner must not learn on after this.

        Adapters of our own decoder still stand beside the weights, those of other architectures are merged.

        Raises: Internal if merging changes what the model says.
        """
        model = self.model
        if model.dtype != torch.float32 or self._is_sharded:
            model = _take_over(self._load(torch.float32), self.optimizer.masters)
        if self._recipe.HasField("lora") and isinstance(model, TransformersModel):
            before = _probe(model)
            merge_parametrized(model)
            error = float((_probe(model) - before).abs().max() / before.abs().max().clamp(min=1.0))
            if not error <= _MERGE_TOLERANCE:
                raise Internal(f"merging the adapters changed logits by {error:.2e} of their range")
        return model

    def _load(self, dtype: torch.dtype) -> LanguageModel:
        model = load_model(self._folder, dtype=dtype)
        if self._recipe.trained_weights == "projector":
            _free_projector(model)
        elif self._recipe.HasField("lora"):
            lora = self._recipe.lora
            add_adapters(model, rank=lora.rank, alpha=lora.alpha, seed=self._recipe.seed)
        return model


def _take_over(model: LanguageModel, weights: Mapping[str, Tensor]) -> LanguageModel:
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name in parameters.keys() & weights.keys():
            parameters[name].copy_(weights[name])
    return model


def _free_projector(model: LanguageModel) -> None:
    """Freeze all but the weights between vision and language.

    Raises: InvalidRequest for a model that has none.
    """
    free = model.projector() if isinstance(model, TransformersModel) else []
    if not free:
        raise InvalidRequest(
            f"models of type {model.config.model_type} have no projector", field="recipe.trained_weights"
        )
    model.requires_grad_(requires_grad=False)
    for parameter in free:
        parameter.requires_grad_()


@torch.inference_mode()
def _probe(model: TransformersModel) -> Tensor:
    length = min(64, model.config.vocab_size, model.config.context_length)
    ids = torch.arange(length) * (model.config.vocab_size // length)
    if model.config.image is not None:
        ids = ids[ids != model.config.image.token_id]  # no image comes with it
        length = len(ids)
    return model.logits(model(ids, pack_positions([length]), [length]))
