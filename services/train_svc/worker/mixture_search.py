"""The mixture job: one small model after the other, each kept as it ends, then pairs of larger ones."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from bessemer.api.common.v1.metric_pb2 import MetricPoint
from bessemer.api.train.v1.mixture_job_pb2 import (
    MixtureJob,
    MixtureJobResult,
    MixtureJobState,
    MixtureRun,
    MixtureRunRole,
)
from bessemer.api.train.v1.training_job_pb2 import TrainingRecipe
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import Manifest, fetch, read_manifest
from bessemer.artifacts.mixture import read_mixture
from bessemer.artifacts.shard import split_shards, split_tokens
from bessemer.artifacts.shard_files import ShardFiles
from bessemer.artifacts.stream import TextStream
from bessemer.jobs.worker import Done, TaskContext
from bessemer.kernel.ids import project_of
from bessemer.modeling.language_model import LanguageModel
from bessemer.modeling.numerics import prepare
from bessemer.modeling.score import score
from bessemer.modeling.tokenizer import Tokenizer

from train_svc.domain.mixture_proposal import plan_swarm, propose_shares, summarise, with_shares
from train_svc.domain.mixture_search import natural_shares, next_size
from train_svc.worker.feed import Feed, TextFeed, open_feed
from train_svc.worker.guards import diverged
from train_svc.worker.initial import draw_model
from train_svc.worker.learner import Learner
from train_svc.worker.mixture_feed import MixtureFeed
from train_svc.worker.mixture_report import write_report
from train_svc.worker.optim import learning_rate

__all__ = ["run"]

_LOG = logging.getLogger(__name__)
PROXY, NATURAL, PROPOSED = (
    MixtureRunRole.MIXTURE_RUN_ROLE_PROXY,
    MixtureRunRole.MIXTURE_RUN_ROLE_NATURAL,
    MixtureRunRole.MIXTURE_RUN_ROLE_PROPOSED,
)
# Held-out tokens of a target that a model is scored on.
_SCORED_TOKENS = 16_384
# A model twice as wide takes about so many times as long, until one was timed.
_NEXT_SIZE_COST = 2.5


@dataclass(frozen=True)
class _Element:
    """A model to train."""

    role: MixtureRunRole
    seed: int
    shares: list[float]


def run(context: TaskContext) -> Done:
    """Train what is still missing of the swarm and of the pairs, and say what they show.

    Raises: FailedPrecondition TRAINING_DIVERGED or DATASET_EMPTY, DataLoss, LimitReached STORAGE_FULL.
    """
    search = _Search(context)
    while (element := search.next_element()) is not None:
        search.add(search.train(element))
    return search.finish()


class _Search:
    """One attempt; every element is a function of the job and of the runs before it."""

    def __init__(self, context: TaskContext) -> None:
        self.context = context
        self.job = MixtureJob.FromString(context.job)
        self.blobs = Blobs(context.objects, project_of(self.job.name))
        context.report(stage="fetch inputs", fraction=0.0)
        self.mixture = read_mixture(self.blobs, self.job.inputs.mixture)
        self.base = fetch(
            self.blobs, read_manifest(self.blobs, self.job.inputs.model_manifest), context.workdir / "base"
        )
        self.tokenizer = Tokenizer.from_folder(self.base)
        self.files = ShardFiles(context.objects, context.workdir / "shards")
        self.numerics = prepare(self.job.recipe.threads, self.job.recipe.dtype)
        self.parts: tuple[int, list[Feed]] = (-1, [])
        self.heldout = [self._heldout(read_manifest(self.blobs, ref)) for ref in self.job.inputs.target_manifests]
        self.swarm = plan_swarm(self.job, self.mixture)
        self.runs = list(MixtureJobState.FromString(context.saved_state).runs)
        if self.runs:
            _LOG.info("resuming after %d of %d models", len(self.runs), self.num_elements)

    @property
    def num_elements(self) -> int:
        """Models in all."""
        return int(self.job.num_proxies + 2 * self.job.num_pairs)

    def next_element(self) -> _Element | None:
        """Return the model to train now; None after the last."""
        number, seed = len(self.runs), self.job.recipe.seed
        if number < self.job.num_proxies:
            return _Element(PROXY, seed, self.swarm[number].tolist())
        if number == self.num_elements:
            return None
        pair, is_proposed = divmod(number - self.job.num_proxies, 2)
        if is_proposed:
            shares = propose_shares(self.job, self.mixture, self.runs[: self.job.num_proxies]).tolist()
            return _Element(PROPOSED, seed + 1 + pair, shares)
        return _Element(NATURAL, seed + 1 + pair, natural_shares(self.mixture))

    def train(self, element: _Element) -> MixtureRun:
        """Train and score a model."""
        begin = time.perf_counter()
        recipe = self.job.recipe if element.role == PROXY else next_size(self.job.recipe)
        folder = self.base
        if recipe.HasField("pretrain"):
            drawn = self.context.workdir / "drawn"
            shutil.rmtree(drawn, ignore_errors=True)
            folder = draw_model(self.base, recipe.pretrain, drawn, seed=element.seed)
        learner = Learner(folder, recipe, self.numerics.dtype)
        feed = MixtureFeed(
            with_shares(self.mixture, element.shares),
            self._parts(element.seed),
            tokens_per_step=recipe.tokens_per_step,
            steps=recipe.steps,
        )
        tokens = self._learn(learner, feed, recipe)
        model = learner.finished_model()
        half = 0 if element.role == PROXY else 1  # the pairs judge on text that the law was not fitted to
        return MixtureRun(
            role=element.role,
            seed=element.seed,
            shares=element.shares,
            losses=[_loss(model, halves[half]) for halves in self.heldout],
            parameters=model.config.num_parameters,
            tokens=tokens,
            seconds=time.perf_counter() - begin,
        )

    def add(self, made: MixtureRun) -> None:
        """Keep a run, and save all so far."""
        self.runs.append(made)
        mean = sum(t.weight * loss for t, loss in zip(self.job.targets, made.losses, strict=True))
        self._report(0.0, {"mixture/loss": mean}, saved_state=MixtureJobState(runs=self.runs).SerializeToString())

    def finish(self) -> Done:
        """Return what the runs show, with the report stored."""
        self.context.report(stage="fit the law", fraction=1.0)
        proposal = summarise(self.job, self.mixture, self.runs)
        report = write_report(self.job, self.runs, proposal)
        proposal.report.CopyFrom(self.blobs.put_bytes(report.encode(), "text/html; charset=utf-8"))
        return Done(MixtureJobResult(proposal=proposal, runs=self.runs), [proposal.report])

    def _learn(self, learner: Learner, feed: Feed, recipe: TrainingRecipe) -> int:
        rows, tokens = feed.rows_per_step(recipe.tokens_per_step), 0
        for step in range(recipe.steps):
            self.context.check()
            rate = learning_rate(
                step,
                steps=recipe.steps,
                peak=recipe.learning_rate,
                warmup_fraction=recipe.warmup_fraction,
                decay_fraction=recipe.decay_fraction,
            )
            result, norm = learner.backward(feed.take(step * rows, rows))
            learner.optimizer.step(rate, norm)
            tokens += sum(result.lengths)
            self._report((step + 1) / recipe.steps, {})
        if not learner.is_finite():
            raise diverged("a small model has weights that are not finite; lower recipe.learning_rate")
        return tokens

    def _report(self, done: float, metrics: Mapping[str, float], *, saved_state: bytes = b"") -> None:
        """Say how far the search is, with a model in work done by so much."""
        number = len(self.runs)
        costs = _costs(self.job, self.runs)
        spent = sum(costs[:number]) + done * sum(costs[number : number + 1])
        kind = "swarm" if number < self.job.num_proxies else "pairs"
        self.context.report(
            stage=f"{kind}: model {min(number + 1, self.num_elements)} of {self.num_elements}",
            fraction=spent / sum(costs),
            remaining_s=(sum(costs) - spent) if self.runs else 0.0,
            metrics=[MetricPoint(key=key, step=number, value=value) for key, value in metrics.items()],
            saved_state=saved_state,
        )

    def _parts(self, seed: int) -> list[Feed]:
        """Return the versions' rows in the order of a seed."""
        if self.parts[0] != seed:
            datasets = [read_manifest(self.blobs, component.manifest) for component in self.mixture.components]
            open_rows = partial(
                open_feed,
                "pretrain",
                tokenizer=self.tokenizer,
                shard_files=self.files,
                sequence_length=self.job.recipe.sequence_length,
                seed=seed,
            )
            digests = [component.manifest.sha256 for component in self.mixture.components]
            feeds = [
                open_rows([(Path(), manifest)], digest=digest)
                for manifest, digest in zip(datasets, digests, strict=True)
            ]
            self.parts = (seed, feeds)
        return self.parts[1]

    def _heldout(self, manifest: Manifest) -> tuple[list[list[int]], list[list[int]]]:
        """Return documents of the held-out split: of every other row, and of the rest."""
        stream = TextStream(split_shards(manifest, "heldout"), self.files, digest="", seed=0)
        feed = TextFeed(stream, split_tokens(manifest, "heldout"))
        rows = feed.take(0, min(len(feed), 2 * max(1, _SCORED_TOKENS // self.job.recipe.sequence_length)))
        first, second = (
            [document.ids.tolist() for row in rows[half::2] for document in row.documents if len(document.ids) > 1]
            for half in (0, 1)
        )
        return first, second


def _costs(job: MixtureJob, runs: Sequence[MixtureRun]) -> list[float]:
    """Return seconds of every model: measured, or as long as others of its kind."""
    small = [run.seconds for run in runs if run.role == PROXY] or [1.0]
    each = sum(small) / len(small)
    large = [run.seconds for run in runs if run.role != PROXY] or [each * _NEXT_SIZE_COST]
    expected = [each] * job.num_proxies + [sum(large) / len(large)] * 2 * job.num_pairs
    return [run.seconds for run in runs] + expected[len(runs) :]


def _loss(model: LanguageModel, documents: Sequence[Sequence[int]]) -> float:
    """Return the mean loss of held-out documents in nats per token."""
    with torch.inference_mode():
        parts = score(model, documents)
    count = sum(len(part) for part in parts)
    return -float(sum(part.double().sum() for part in parts)) / count
