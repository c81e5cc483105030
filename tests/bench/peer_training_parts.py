"""Parts of training beside their peers, as engines of `peer_training.py`: loaders, optimisers, and a whole job."""

from __future__ import annotations

import itertools
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

Job = dict[str, Any]
Step = tuple[float, int]  # loss, tokens
DOCUMENTS_A_STEP = 64


def loader_ours(job: Job, turns: Any) -> Iterator[Step]:
    """Take packed rows from shards as the trainer does, and join what one micro-batch runs through the model."""
    from train_svc.worker.inputs import open_inputs
    from train_svc.worker.step import micro_batches

    with tempfile.TemporaryDirectory() as folder:
        bench, context = training_job(job, Path(folder), "cpt {}")
        feed = open_inputs(bench, context.objects, context.workdir).feed
        turns.begin()
        for position in itertools.count(0, DOCUMENTS_A_STEP):
            tokens = 0
            for batch in micro_batches(feed.take(position, DOCUMENTS_A_STEP)):
                ids = torch.from_numpy(np.concatenate([document.ids for document in batch.documents]))
                torch.from_numpy(np.concatenate([document.weights for document in batch.documents]))
                tokens += len(ids)
            yield 0.0, tokens


def loader_datasets(job: Job, turns: Any) -> Iterator[Step]:
    """Iterate a `Dataset` of rows of the same length through a `DataLoader` and the collator that trainers use."""
    from datasets import Dataset
    from transformers import default_data_collator

    ids, width = np.load(job["documents"])["ids"], job["length_max"]
    rows = ids[: len(ids) // width * width].reshape(-1, width).tolist()
    data = Dataset.from_dict({"input_ids": rows, "labels": rows})
    loader = torch.utils.data.DataLoader(data, batch_size=8, collate_fn=default_data_collator, shuffle=True)
    batches = (batch for _ in itertools.count() for batch in loader)
    turns.begin()
    while True:
        yield 0.0, sum(next(batches)["input_ids"].numel() for _ in range(8))


def parameters() -> dict[str, torch.nn.Parameter]:
    """Return weights of SmolLM2-135M's shapes with gradients."""
    block = [(960, 576), (576, 576), (3072, 576), (576, 1536), (576,), (576,)]
    shapes = [(49152, 576), *block * 30, (576,)]
    made = {str(number): torch.nn.Parameter(torch.randn(shape) * 0.02) for number, shape in enumerate(shapes)}
    for parameter in made.values():
        parameter.grad = torch.randn_like(parameter) * 1e-3
    return made


def adamw_ours(_: Job, turns: Any) -> Iterator[Step]:
    """Gradient norm, clipping and one step, as the trainer does."""
    from bessemer.modeling.numerics import prepare
    from train_svc.worker.optim import Optimizer

    prepare(1, "fp32")
    optimizer = Optimizer(parameters(), weight_decay=0.01, clip_norm=1.0)
    turns.begin()
    while True:
        optimizer.step(1e-4, optimizer.gradient_norm())
        yield 0.0, 1


def adamw_foreach(_: Job, turns: Any) -> Iterator[Step]:
    """Do the same by PyTorch's `clip_grad_norm_` and `AdamW(foreach=True)`."""
    torch.set_num_threads(1)
    weights = list(parameters().values())
    optimizer = torch.optim.AdamW(weights, lr=1e-4, weight_decay=0.01, foreach=True)
    turns.begin()
    while True:
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        yield 0.0, 1


def job(job: Job, turns: Any) -> Iterator[Step]:
    """Run a whole training job; each step says what the process spent beside taking rows, learning and stepping.

    The loss of a step is that share. Heartbeats go out from their thread as a worker's do, to nobody.
    """
    from train_svc.worker import train
    from train_svc.worker.learner import Learner
    from train_svc.worker.optim import Optimizer

    spent = 0.0

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            nonlocal spent
            begin = time.thread_time()
            try:
                return function(*arguments)
            finally:
                spent += time.thread_time() - begin

        return call

    Learner.backward, Optimizer.step = counted(Learner.backward), counted(Optimizer.step)  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        made, context = training_job(job, Path(folder), f"cpt {{}} {job['recipe']}")
        context.job = made.SerializeToString()
        trainer = train._Trainer(context)
        trainer.resume()
        threading.Thread(target=beat, args=(context,), daemon=True).start()
        turns.begin()
        begin = time.process_time()
        trainer.train()
        seconds = time.process_time() - begin
        yield seconds / spent - 1, trainer.usage.tokens


def beat(context: Any) -> None:
    """Send heartbeats for ever."""
    from bessemer.jobs.worker import HEARTBEAT_S

    while True:
        context.beat()
        time.sleep(HEARTBEAT_S)


def training_job(job: Job, folder: Path, recipe: str) -> tuple[Any, Any]:
    """Return a job on the documents, packed into rows and stored as a dataset, and a context for it."""
    from bessemer.api.train.v1.training_job_pb2 import TrainingRecipe
    from bessemer.artifacts.shard import BOUND, write_shard
    from google.protobuf import text_format
    from train_svc.worker.model_folder import store_model

    from tests.fixtures.training import Bench

    bench, stored, width = Bench(folder), np.load(job["documents"]), job["length_max"]
    if job["model"]:
        bench.model = store_model(bench.blobs, with_tokenizer(Path(job["model"]), bench.base), {}).manifest
    ids = stored["ids"][: len(stored["ids"]) // width * width].astype(np.uint16)
    starts = np.cumsum(stored["lengths"]) - stored["lengths"]
    cuts = np.union1d(starts[starts < len(ids)], np.arange(0, len(ids), width))
    lengths = np.diff(np.append(cuts, len(ids)))
    numbers = np.searchsorted(starts, cuts, side="right") - 1
    bounds = np.array(list(zip(cuts // width, cuts % width, lengths, numbers, cuts - starts[numbers], strict=True)))
    data = folder / "text"
    write_shard(data, "train", 0, ids.reshape(-1, width), np.array([tuple(row) for row in bounds], BOUND))
    splits = {"train": {"rows": len(ids) // width, "tokens": len(ids)}}
    manifest = bench._store(data, {"kind": "TEXT", "sequence_length": width, "token_bytes": 2, "splits": splits})
    full = TrainingRecipe(threads=1, dtype="fp32", sequence_length=width, weight_decay=0.01, gradient_clip_norm=1.0)
    made = bench.job(text_format.Merge(recipe, full), manifest)
    return made, bench.context(made)[0]


def with_tokenizer(model: Path, other: Path) -> Path:
    """Give a model folder the tokenizer of another one: the rows are tokens already."""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        if not (model / name).exists():
            (model / name).write_text((other / name).read_text())
    return model


ENGINES: dict[str, Callable[[Job, Any], Iterator[Step]]] = {
    "adamw_foreach": adamw_foreach,
    "adamw_ours": adamw_ours,
    "job": job,
    "loader_datasets": loader_datasets,
    "loader_ours": loader_ours,
}
