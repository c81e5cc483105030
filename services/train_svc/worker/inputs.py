"""What a training job reads, fetched and opened."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from bessemer.api.train.v1.training_job_pb2 import GrpoMethod, TrainingJob, TrainingRecipe
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import Manifest, fetch, read_manifest
from bessemer.artifacts.mixture import MIXTURE_ORDER, read_mixture
from bessemer.artifacts.order import ORDER
from bessemer.artifacts.shard_files import ShardFiles
from bessemer.kernel.ids import project_of
from bessemer.modeling.language_model import read_config
from bessemer.modeling.load import read_json
from bessemer.modeling.tokenizer import Tokenizer
from bessemer.svckit.objects import ObjectStore

from train_svc.domain.recipe import resolve, rollout_method
from train_svc.worker.advantages import compared
from train_svc.worker.environments import Conversations, Environment, ReasoningGym
from train_svc.worker.feed import Feed, heldout_pairs, open_feed, read_conversations
from train_svc.worker.initial import draw_model
from train_svc.worker.judges import RewardModels
from train_svc.worker.methods import PREFERENCE_METHODS
from train_svc.worker.mixture_feed import MixtureFeed, PreferenceMixtureFeed
from train_svc.worker.online_dpo import best_and_worst
from train_svc.worker.rollouts import RolloutFeed
from train_svc.worker.rows import Row

__all__ = ["Inputs", "open_inputs"]

_SEQUENCE_LENGTH = 512


@dataclass(frozen=True)
class Inputs:
    """The recipe with all defaults, the folder of the base model, and the rows.

    `identity` is a digest over everything that decides the result. `heldout` are pairs to judge a reward
    model by, `teacher` is the folder of a teacher.
    """

    recipe: TrainingRecipe
    base: Path
    feed: Feed
    identity: str
    heldout: Sequence[Row] = ()
    teacher: Path | None = None


def open_inputs(job: TrainingJob, objects: ObjectStore, folder: Path) -> Inputs:
    """Open what the job names, every byte verified; `folder` takes the model, rows, and the cache of text shards.

    Raises: NotFound, DataLoss; InvalidRequest for rows of the wrong form; FailedPrecondition DATASET_EMPTY.
    """
    recipe = resolve(job.recipe, threads=torch.get_num_threads())
    blobs = Blobs(objects, project_of(job.name))
    base = fetch(blobs, read_manifest(blobs, job.inputs.model_manifest), folder / "base")
    if recipe.HasField("pretrain"):
        base = draw_model(base, recipe.pretrain, folder / "drawn", seed=recipe.seed)
    datasets = _fetch_rows(blobs, job, folder)
    image = getattr(read_config(read_json(base / "config.json")), "image", None)
    length = recipe.sequence_length or _SEQUENCE_LENGTH
    data = hashlib.sha256("/".join(ref.sha256 for ref in job.inputs.dataset_manifests).encode())
    if job.inputs.HasField("mixture"):
        data.update(f"{MIXTURE_ORDER}/{job.inputs.mixture.sha256}".encode())
    everything = hashlib.sha256(f"{job.inputs.model_manifest.sha256}/{data.hexdigest()}/".encode())
    everything.update(f"{ORDER}{job.inputs.teacher_manifest.sha256}".encode())
    for ref in job.inputs.reward_manifests:
        everything.update(ref.sha256.encode())
    # A checkpoint fits any number of ranks, threads, and kind of sharding: what a step computes is the same.
    what = TrainingRecipe()
    what.CopyFrom(recipe)
    for field in ("num_ranks", "sharding", "threads"):
        what.ClearField(field)
    everything.update(what.SerializeToString(deterministic=True))
    open_rows = partial(
        open_feed,
        str(recipe.WhichOneof("method")),
        tokenizer=Tokenizer.from_folder(base),
        shard_files=ShardFiles(objects, folder / "shards"),
        sequence_length=length,
        seed=recipe.seed,
        image=image,
    )
    feed: Feed
    if rollout_method(recipe) is not None:
        judges = [
            fetch(blobs, read_manifest(blobs, ref), folder / f"reward-{n}")
            for n, ref in enumerate(job.inputs.reward_manifests)
        ]
        rows, tokenizer = [path for path, _ in datasets], Tokenizer.from_folder(base)
        feed = _open_rollouts(recipe, rows, judges, tokenizer=tokenizer, digest=data.hexdigest())
    elif job.inputs.HasField("mixture"):
        digests = [ref.sha256 for ref in job.inputs.dataset_manifests]
        kind = PreferenceMixtureFeed if recipe.WhichOneof("method") in PREFERENCE_METHODS else MixtureFeed
        feed = kind(
            read_mixture(blobs, job.inputs.mixture),
            [open_rows([dataset], digest=digest) for dataset, digest in zip(datasets, digests, strict=True)],
            tokens_per_step=recipe.tokens_per_step,
            steps=recipe.steps if recipe.HasField("steps") else None,
        )
    else:
        feed = open_rows(datasets, digest=data.hexdigest())
    heldout = []
    if recipe.HasField("reward_model"):
        folders = [path for path, _ in datasets]
        heldout = heldout_pairs(folders, Tokenizer.from_folder(base), sequence_length=length)
    teacher = None
    if job.inputs.HasField("teacher_manifest"):
        teacher = fetch(blobs, read_manifest(blobs, job.inputs.teacher_manifest), folder / "teacher")
    return Inputs(recipe, base, feed, everything.hexdigest(), heldout, teacher)


def _fetch_rows(blobs: Blobs, job: TrainingJob, folder: Path) -> list[tuple[Path, Manifest]]:
    """Fetch rows and their images as a whole; text is streamed."""
    datasets = []
    for number, ref in enumerate(job.inputs.dataset_manifests):
        manifest = read_manifest(blobs, ref)
        paths = [
            e.path for below in ("train/rows.jsonl", "heldout/rows.jsonl", "images/") for e in manifest.below(below)
        ]
        datasets.append((fetch(blobs, manifest, folder / f"data-{number}", paths), manifest))
    return datasets


def _open_rollouts(
    recipe: TrainingRecipe, folders: Sequence[Path], judges: Sequence[Path], *, tokenizer: Tokenizer, digest: str
) -> RolloutFeed:
    method = rollout_method(recipe)
    assert method is not None
    environment: Environment
    if method.environment:
        environment = ReasoningGym(method.environment, seed=recipe.seed)
    else:
        rows = read_conversations(folders)
        environment = Conversations(rows, grader=method.grader or "exact", digest=digest, seed=recipe.seed)
    choose = compared(method) if isinstance(method, GrpoMethod) else best_and_worst
    judge = RewardModels(judges, method.reward_pessimism) if judges else None
    return RolloutFeed(environment, method, tokenizer, choose, judge=judge, digest=digest, seed=recipe.seed)
