"""What a request for a plan says about model, data and recipe, in the numbers that planning works with."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bessemer.api.data.v1.dataset_pb2 import DatasetKind, DatasetVersion
from bessemer.api.data.v1.mixture_pb2 import Mixture
from bessemer.api.train.v1.model_pb2 import ModelVersion
from bessemer.api.train.v1.training_job_pb2 import TrainingJob, TrainingRecipe

from train_svc.domain.forecast import Measurement
from train_svc.domain.inputs import KINDS

__all__ = ["DataFacts", "data_facts", "is_same_shape", "measurement_of", "method_for"]

_UNITS = {"DATASET_KIND_TEXT": "tokens", "DATASET_KIND_CHAT": "conversations", "DATASET_KIND_PREFERENCE": "pairs"}
# Text that is tokenized at training time: bytes per token, and memory per byte of rows that lie there as objects.
_BYTES_PER_TOKEN, _MEMORY_PER_BYTE = 4, 6
# A packed token on its pages, and the bookkeeping of a row.
_TOKEN_BYTES, _ROW_BYTES = 4, 200
# The first steps build kernels and do not count.
_STEPS_TO_SETTLE, _STEPS_MIN = 2, 3


@dataclass(frozen=True)
class DataFacts:
    """Unique tokens, rows and their unit, mean length of a document in tokens, memory that a worker needs for them.

    `odd_pieces` are documents and parts of documents that do not fill a row.
    """

    tokens: float
    rows: int
    unit: str
    document_length: float
    odd_pieces: int
    memory_bytes: int


def method_for(versions: Sequence[DatasetVersion]) -> str:
    """Return the method that learns from data of this kind by default."""
    kind = versions[0].kind if versions else KINDS["cpt"]
    return next((method for method, wanted in KINDS.items() if wanted == kind), "cpt")


def data_facts(versions: Sequence[DatasetVersion], mixture: Mixture | None) -> DataFacts:
    """Add up the training splits; a mixture counts what its versions hold."""
    splits = [split for version in versions for split in version.splits if split.split == "train"]
    unit = _UNITS[DatasetKind.Name(versions[0].kind)]
    rows = sum(split.rows for split in splits)
    if mixture is not None:
        tokens = float(sum(component.tokens for component in mixture.components))
    else:
        tokens = float(sum(split.tokens or split.bytes / _BYTES_PER_TOKEN for split in splits))
    if unit == "tokens":
        documents = sum(split.documents for split in splits)
        pieces, odd = rows + documents, 2 * documents  # a document begins within a row and ends within one
        memory = round(_TOKEN_BYTES * tokens) + _ROW_BYTES * rows
    else:
        pieces = odd = rows * (2 if unit == "pairs" else 1)
        memory = round(_MEMORY_PER_BYTE * _BYTES_PER_TOKEN * tokens)
    return DataFacts(tokens, rows, unit, tokens / max(1, pieces), odd, memory)


def is_same_shape(recipe: TrainingRecipe, base: ModelVersion, job: TrainingJob, job_base: ModelVersion | None) -> bool:
    """Return whether a job trained a model of this shape in the way that the recipe says, whatever its data.

    A job with adapters and a recipe without, or the other way round, agree when everything else does: that job speaks
    for the plans of its own kind.
    """
    if job_base is None or (job_base.architecture, job_base.parameters) != (base.architecture, base.parameters):
        return False
    both = recipe.HasField("lora") and job.recipe.HasField("lora")

    def way(of: TrainingRecipe) -> tuple[object, ...]:
        rank = of.lora.rank if both else 0
        return of.WhichOneof("method"), rank, of.sequence_length, of.tokens_per_step, of.dtype, of.threads

    return way(recipe) == way(job.recipe)


def measurement_of(
    job: TrainingJob, rates: Sequence[float], *, is_same: bool, is_named: bool = False
) -> Measurement | None:
    """Return what a job measured; None when it did too little. `rates` are its tokens per second, step by step."""
    usage = job.usage
    if usage.steps < _STEPS_MIN or not usage.seconds or not usage.tokens:
        return None
    settled = rates[_STEPS_TO_SETTLE:]
    rate = statistics.median(settled) if settled else usage.tokens / usage.seconds
    return Measurement(job.name, rate, usage.flops / usage.tokens, usage.peak_memory_bytes, is_same, is_named)
