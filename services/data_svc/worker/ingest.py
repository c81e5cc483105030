"""Uploads to the documents that the gates keep: partitions are read, or found finished, and then selected from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_svc.domain.gates import Measures, gate
from data_svc.domain.quality_rules import QualityMeasures, first_failure
from data_svc.domain.reasons import Reason
from data_svc.domain.recipes import Recipe
from data_svc.domain.sampling import drawn_records
from data_svc.domain.terms import TERMS
from data_svc.worker.batches import places, read_columns, read_matrix
from data_svc.worker.documents import Documents
from data_svc.worker.executor import Executor, Task
from data_svc.worker.partitions import Upload, partitions
from data_svc.worker.rejections import Rejections
from data_svc.worker.slices import Numbers
from data_svc.worker.sources import check_sources

__all__ = ["Ingested", "ingest"]

_GIVEN = {"CHAT", "PREFERENCE"}
_GATED = ("characters", "replaced", "words", "repeated_line_share", "repeated_ngram_share", "letter_share")


@dataclass(frozen=True)
class Ingested:
    """Documents that pass the gates, and rows of conversations and pairs, whose texts are JSON; with their terms."""

    documents: Documents
    given: Documents


def ingest(
    uploads: Sequence[Upload],
    recipe: Recipe,
    executor: Executor,
    rejections: Rejections,
    *,
    scratch: Path,
    tick: Callable[[str, float], None],
) -> Ingested:
    """Return what the uploads hold, in their order, and add the rest to `rejections`.

    Conversations become documents for a text version and stay rows for the others.
    Raises: FailedPrecondition SOURCE_INVALID if too much of a source cannot be parsed.
    """
    paths: list[Path] = []
    sources: list[Sequence[tuple[int, int]]] = []
    of_records: list[Sequence[bool]] = []
    fractions = [0.0]

    def tasks() -> Iterator[Task]:
        for partition in partitions(uploads, scratch, recipe):
            sources.append(partition.sources)
            of_records.append(partition.of_records)
            fractions.append(partition.done)
            yield partition.task(recipe)

    def say(at: str) -> None:
        tick(f"reading {at}", fractions[len(paths)])

    for task in executor.map(tasks(), say):
        paths.append(task.out)  # noqa: PERF401 - `say` reads its length
    names = [upload.source or upload.name for upload in uploads]
    check_sources(paths, sources, names, recipe.parse_failures_max)
    selected = [
        _select(path, record_files, recipe, rejections) for path, record_files in zip(paths, of_records, strict=True)
    ]
    documents, given = ([rows[kind] for rows in selected] for kind in range(2))
    of_files = {path: np.repeat(*np.array(runs).T) for path, runs in zip(paths, sources, strict=True)}
    return Ingested(*(_with_terms(Documents.of(paths, rows), of_files, uploads) for rows in (documents, given)))


def _with_terms(documents: Documents, of_files: Mapping[Path, Numbers], uploads: Sequence[Upload]) -> Documents:
    """Return the documents with the terms of their uploads; `of_files` says which upload each file came from."""
    numbers = np.zeros(len(documents), np.int64)
    for here, path, rows in documents.by_partition():
        numbers[here] = of_files[path][read_matrix(path, "file")[rows]]
    for name in TERMS:
        stated = pa.array([getattr(upload.terms, name) for upload in uploads], pa.string())
        documents = documents.with_column(name, stated.take(pa.array(numbers)))
    return documents


def _select(
    path: Path, record_files: Sequence[bool], recipe: Recipe, rejections: Rejections
) -> tuple[Numbers, Numbers]:
    """Return the rows of a partition that are documents to keep, and those that are given rows."""
    table = read_columns(path, ("source", "format", "reason", "detail", "size_bytes", *_GATED))
    details, sizes = table["detail"].to_pylist(), table["size_bytes"].to_numpy().copy()
    reasons, forms = table["reason"].to_pylist(), table["format"].to_pylist()
    text_sizes = places(path, "text")[1]
    quality = read_matrix(path, "quality") if recipe.quality == "WEB" else None
    measured = zip(*(table[name].to_pylist() for name in _GATED), strict=True)
    for row, values in enumerate(measured):
        if reasons[row] or forms[row] in _GIVEN:
            continue
        sizes[row] = text_sizes[row]
        verdict = gate(Measures(*values), recipe.min_characters)
        failure = first_failure(QualityMeasures._make(quality[row].tolist())) if quality is not None else None
        if verdict:
            reasons[row], details[row] = verdict
        elif failure:
            reasons[row], details[row] = Reason.LOW_QUALITY, str(failure)
    drawn = _drawn(path, record_files, recipe)
    rejected = np.array([bool(reason) for reason in reasons])
    is_given = np.array([form in _GIVEN for form in forms])
    out = np.flatnonzero(rejected & drawn)
    rejections.add_columns(
        source=table["source"].take(out),
        reason=[str(reasons[row]) for row in out],
        detail=[details[row] for row in out],
        size_bytes=sizes[out],
    )
    kept = ~rejected & drawn
    return np.flatnonzero(kept & ~is_given), np.flatnonzero(kept & is_given)


def _drawn(path: Path, record_files: Sequence[bool], recipe: Recipe) -> npt.NDArray[np.bool_]:
    """Return which rows of a partition the recipe's sample holds; what gave no text is drawn by its place."""
    table = read_columns(path, ("file", "source", "sha256", "reason"))
    columns = (table[name].to_pylist() for name in ("source", "sha256", "reason"))
    keys = [source if reason else sha256.hex() for source, sha256, reason in zip(*columns, strict=True)]
    return drawn_records(recipe, keys, np.array(record_files, np.bool_)[table["file"].to_numpy()])
