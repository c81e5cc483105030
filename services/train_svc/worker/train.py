"""The training job: feed, step, checkpoint, until done."""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from bessemer.api.common.v1.metric_pb2 import MetricPoint
from bessemer.api.train.v1.training_job_pb2 import TrainingJob, TrainingResult, TrainingState, TrainingUsage
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import JSON, read_manifest
from bessemer.jobs.worker import Done, Paused, PauseRequested, TaskContext
from bessemer.kernel.ids import project_of
from bessemer.modeling.language_model import LanguageModel
from bessemer.modeling.load import save_model
from bessemer.modeling.lora import merged_weights
from bessemer.modeling.numerics import prepare
from bessemer.modeling.transformer import Transformer

from train_svc.domain.recipe import rollout_method
from train_svc.worker.best import Best
from train_svc.worker.checkpoint import Checkpoints, Snapshot
from train_svc.worker.feed import PreferenceFeed
from train_svc.worker.gang import accompanied
from train_svc.worker.guards import BAD_STEPS_MAX, Action, Guard, diverged
from train_svc.worker.inputs import open_inputs
from train_svc.worker.learner import REWARD, Learner
from train_svc.worker.memory import peak_memory_bytes
from train_svc.worker.merge import keep_adapter, merged_parity
from train_svc.worker.mixture_feed import PreferenceMixtureFeed
from train_svc.worker.model_folder import TOKENIZER_FILES, store_model
from train_svc.worker.optim import learning_rate
from train_svc.worker.ranks import Ranks, agreed, open_ranks
from train_svc.worker.reward import calibration, save_head
from train_svc.worker.rollouts import RolloutFeed
from train_svc.worker.step import StepResult, answer_logprobs
from train_svc.worker.watch import Watch

__all__ = ["run"]

_LOG = logging.getLogger(__name__)
_REFERENCE_PAIRS = 16
_ALONE = Ranks()


def run(context: TaskContext, env: Mapping[str, str] | None = None) -> Done | Paused:
    """Train as the job says, from the newest checkpoint if there is one; `env` may name other ranks.

    Raises: InvalidRequest, FailedPrecondition DATASET_EMPTY or TRAINING_DIVERGED, LimitReached STORAGE_FULL, DataLoss.
    """
    ranks = open_ranks(env or {})
    with accompanied(context, ranks):
        trainer = _Trainer(context, ranks)
        trainer.resume()
        try:
            trainer.train()
        except PauseRequested:
            return Paused(trainer.save().SerializeToString())
        return trainer.finish()


class _Trainer:
    """One attempt at a job; `step` counts steps, `position` the rows taken from the feed."""

    def __init__(self, context: TaskContext, ranks: Ranks = _ALONE) -> None:
        self.context, self.ranks = context, ranks
        self.job = TrainingJob.FromString(context.job)
        self.blobs = Blobs(context.objects, project_of(self.job.name))
        context.report(stage="fetch inputs", fraction=0.0)
        self.inputs = open_inputs(self.job, context.objects, context.workdir)
        self.recipe, self.feed = self.inputs.recipe, self.inputs.feed
        threads = max(1, self.recipe.threads // ranks.size)
        self.numerics = agreed(prepare(threads, self.recipe.dtype), threads, ranks)
        self.learner = self._learner()
        self.rows_per_step = self.feed.rows_per_step(self.recipe.tokens_per_step)
        self.steps = self.recipe.steps or math.ceil(len(self.feed) / self.rows_per_step)
        self.step = self.position = 0
        self.usage, self.guard = TrainingUsage(), Guard()
        sampled = rollout_method(self.recipe)
        self.watch, self.best, self.early_stop = Watch(0.0 if sampled is None else sampled.kl_budget), Best(), ""
        self.recent_s: deque[float] = deque(maxlen=20)
        self.checkpoints = Checkpoints(
            context.objects,
            self.blobs,
            job=self.job.name,
            attempt=context.epoch,
            identity=self.inputs.identity,
            folder=context.workdir / "checkpoint",
            writes=ranks.is_first,
        )

    def _learner(self) -> Learner:
        return Learner(self.inputs.base, self.recipe, self.numerics.dtype, self.ranks, self.inputs.teacher)

    def resume(self) -> None:
        """Go to the newest intact checkpoint; without one to the start."""
        snapshot = self.checkpoints.load(TrainingState.FromString(self.context.saved_state))
        if snapshot is not None:
            _LOG.info("resuming after step %d of %d", snapshot.step, self.steps)
            if snapshot.facts["dtype"] != self.numerics.name:  # here the other one looked faster
                self.numerics = prepare(self.recipe.threads, snapshot.facts["dtype"])
                self.learner = self._learner()
            self.learner.optimizer.load(snapshot.weights, snapshot.moments)
            self.step, self.position, self.usage = snapshot.step, snapshot.position, snapshot.usage
            self.guard = Guard.from_facts(snapshot.facts)
            self.watch.load(snapshot.facts["watch"])
            self.best.load(snapshot.facts["best_reward"], snapshot.extra)
        if isinstance(self.feed, PreferenceFeed | PreferenceMixtureFeed):
            if snapshot is not None:
                self.feed.reference = snapshot.extra["reference"].numpy()
            elif self.learner.reward_head is not None:  # scores need none
                self.feed.reference = np.zeros((len(self.feed.pairs), 2), np.float32)
            else:
                self.feed.reference = self._reference(self.feed).numpy()
        if isinstance(self.feed, RolloutFeed):
            self.feed.begin(self.learner.policy, self.learner.base_model(), self.ranks)
            if snapshot is not None:
                self.feed.load(snapshot.extra)

    def train(self) -> None:
        """Step to the end, saving on the way."""
        while self.step < self.steps and not self.early_stop:
            self.context.check()
            begin = time.perf_counter()
            rate = learning_rate(
                self.step,
                steps=self.steps,
                peak=self.recipe.learning_rate,
                warmup_fraction=self.recipe.warmup_fraction,
                decay_fraction=self.recipe.decay_fraction,
            )
            result, norm = self.learner.backward(self.feed.take(self.position, self.rows_per_step))
            action = self.guard.judge(result.loss, norm)
            self.position += self.rows_per_step
            self.step += 1
            if action is Action.APPLY:
                self.learner.optimizer.step(rate, norm)
                self._account(result, norm, rate, time.perf_counter() - begin)
            else:
                _LOG.warning("step %d: loss %s, gradient norm %s: %s", self.step, result.loss, norm, action.value)
            if isinstance(self.feed, RolloutFeed) and self.feed.seen:
                self.early_stop = self.watch.judge(self.feed.seen)
            if self.early_stop:
                self._stop()
            elif action is Action.ROLL_BACK:
                self._roll_back()
            elif self.step % self.recipe.checkpoint_every_steps == 0 and self.step < self.steps:
                self._checkpoint()

    def save(self) -> TrainingState:
        """Commit where training stands."""
        reference = getattr(self.feed, "reference", None)
        extra = {} if reference is None else {"reference": torch.from_numpy(reference)}
        optimizer = self.learner.optimizer
        if isinstance(self.feed, RolloutFeed):
            self.best.see(self.watch.means["reward"] if self.watch.recent else 0.0, optimizer.masters)
            extra = {**self.feed.state(), **self.best.tensors()}
        facts = {**self.guard.facts(), "watch": self.watch.facts(), "best_reward": self.best.reward}
        facts["dtype"] = self.numerics.name
        return self.checkpoints.save(
            Snapshot(self.step, self.position, self.usage, optimizer.masters, optimizer.state(), extra, facts)
        )

    def finish(self) -> Done:
        """Store the model that came out.

        Raises: FailedPrecondition TRAINING_DIVERGED if its weights are not finite.
        """
        if not self.learner.is_finite():
            raise diverged("the last steps left weights that are not finite; lower recipe.learning_rate")
        self.context.report(stage="save model", fraction=1.0)
        digest = self.learner.state_sha256(self.position)
        folder = self.context.workdir / "model"
        model = self.learner.finished_model()
        # Only our own decoder can be told adapters from weights at the end; others were compared as they were merged.
        adapted = model if self.recipe.HasField("lora") and isinstance(model, Transformer) else None
        save_model(model, folder, weights=None if adapted is None else merged_weights(adapted))
        judged = self._save_reward_head(model, folder)
        for name in TOKENIZER_FILES:
            if (self.inputs.base / name).is_file():
                shutil.copyfile(self.inputs.base / name, folder / name)
        rank, merge = 0, None
        if adapted is not None:
            self.context.report(stage="compare merged weights with their adapters", fraction=1.0)
            merge = merged_parity(self.inputs.base, adapted, folder, self.context.check)
            merge.reference_sha256 = self.job.inputs.model_manifest.sha256
            rank = keep_adapter(adapted, folder)
        self.usage.peak_memory_bytes = max(self.usage.peak_memory_bytes, peak_memory_bytes())
        base_facts = read_manifest(self.blobs, self.job.inputs.model_manifest).facts
        if not self.ranks.is_first:
            return Done(TrainingResult())
        stored = store_model(self.blobs, folder, {"license": base_facts.get("license", ""), **judged})
        result = TrainingResult(
            manifest=stored.manifest,
            tokenizer=stored.tokenizer,
            architecture=stored.config.model_type,
            parameters=stored.config.num_parameters,
            context_length=stored.config.context_length,
            usage=self.usage,
            state_sha256=digest,
            early_stop=self.early_stop,
            parity=merge,
            adapter_rank=rank,
        )
        if merge is not None:
            result.parity.candidate_sha256 = read_manifest(self.blobs, stored.manifest).file("model.safetensors").sha256
        return Done(result, stored.artifacts)

    def _save_reward_head(self, model: LanguageModel, folder: Path) -> dict[str, JSON]:
        """Write the head of a reward model and return how it does on pairs that were held out, if there are any."""
        if self.learner.reward_head is None:
            return {}
        head = self.learner.optimizer.masters[REWARD]
        save_head(head, folder)
        if not self.inputs.heldout:
            return {}
        accuracy, error = calibration(model, head, self.inputs.heldout)
        judged = {"heldout_accuracy": accuracy, "heldout_calibration_error": error}
        self._report({f"reward_model/{key}": value for key, value in judged.items()})
        return dict(judged)

    def _reference(self, feed: PreferenceFeed | PreferenceMixtureFeed) -> torch.Tensor:
        """Return the log-probabilities of answers under the base model, [pairs, 2]; NaN for pairs never reached."""
        # One roll-back leaves at most a checkpoint interval of rows out, and then needs as many more.
        reach = (self.steps + self.recipe.checkpoint_every_steps + BAD_STEPS_MAX) * self.rows_per_step
        needed = feed.pairs_before(reach)
        pairs = feed.pairs
        known = torch.full((len(pairs), 2), torch.nan)
        for start in range(0, len(needed), _REFERENCE_PAIRS):
            self.context.check()
            self.context.report(stage=f"reference answers, {start} of {len(needed)}", fraction=0.0)
            numbers = needed[start : start + _REFERENCE_PAIRS]
            answers = [document for number in numbers for document in pairs[number]]
            known[numbers] = torch.tensor(answer_logprobs(self.learner.model, answers)).view(-1, 2)
        return known

    def _account(self, result: StepResult, norm: float, rate: float, seconds: float) -> None:
        """Add up what the step cost, report it, and let the guard see it."""
        tokens, flops = sum(result.lengths), self.learner.flops(result.lengths)
        self.usage.steps += 1
        self.usage.tokens += tokens
        self.usage.seconds += seconds
        self.usage.flops += flops
        self.usage.peak_memory_bytes = max(self.usage.peak_memory_bytes, peak_memory_bytes())
        self.recent_s.append(seconds)
        series = {
            "train/loss": result.loss,
            "train/learning_rate": rate,
            "train/grad_norm": norm,
            "train/tokens_per_second": tokens / seconds,
            "train/mfu": flops / seconds / self.numerics.peak_flops,
        }
        method = self.recipe.WhichOneof("method")
        seen = {**result.seen, **(self.feed.seen if isinstance(self.feed, RolloutFeed) else {})}
        loads = self.learner.expert_loads()
        self._report(series | loads | {f"{method}/{key}": value for key, value in seen.items()})
        if loads and self.guard.watch_load(loads["train/expert_load_max_over_mean"]):
            _LOG.warning(
                "step %d: one expert has over twice its share of the tokens; raise recipe.router_balance", self.step
            )
        if "chosen_shift" in result.seen:
            self.guard.watch_preference(result.seen["chosen_shift"], result.seen["margin"])

    def _report(self, series: Mapping[str, float], *, saved_state: bytes = b"") -> None:
        mean_s = sum(self.recent_s) / max(1, len(self.recent_s))
        self.context.report(
            stage=f"step {self.step} of {self.steps}",
            fraction=self.step / self.steps,
            remaining_s=mean_s * (self.steps - self.step),
            metrics=[MetricPoint(key=key, step=self.step, value=value) for key, value in series.items()],
            saved_state=saved_state,
        )

    def _checkpoint(self) -> None:
        if self.guard.bad_steps or not self.learner.is_finite():
            _LOG.warning("step %d: not saved, since numbers are not finite", self.step)
            return
        self.learner.check_agreement(self.position)
        self._report({}, saved_state=self.save().SerializeToString())
        if self.ranks.is_first:
            self.checkpoints.prune()

    def _stop(self) -> None:
        """Go back to the best weights that were saved.

        Raises: FailedPrecondition TRAINING_DIVERGED if there are none.
        """
        _LOG.warning("stopped after step %d: %s", self.step, self.early_stop)
        if not self.best.weights:
            raise diverged(f"{self.early_stop}, before the first checkpoint; lower recipe.learning_rate")
        self.learner.optimizer.load(self.best.weights, {})

    def _roll_back(self) -> None:
        """Return to the newest checkpoint's weights; the data since then stay left out."""
        snapshot = self.checkpoints.load(self.checkpoints.state)
        if snapshot is None:
            self.learner.reset()
        else:
            self.learner.optimizer.load(snapshot.weights, snapshot.moments)
        self.step = 0 if snapshot is None else snapshot.step
