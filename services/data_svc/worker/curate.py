"""The curation job: from a job's pinned inputs, or from local files, to a sealed version."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from bessemer.api.data.v1.dataset_pb2 import CurationJob, CurationResult
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.contamination import read_contamination_set
from bessemer.artifacts.manifest import fetch, read_manifest
from bessemer.artifacts.texts import is_text_part
from bessemer.jobs.array import ArrayLauncher
from bessemer.jobs.worker import Done, TaskContext
from bessemer.kernel.errors import InvalidRequest
from bessemer.kernel.ids import project_of

from data_svc.domain.recipes import Recipe, recipe_of
from data_svc.domain.terms import UNSTATED, Terms, terms_of
from data_svc.worker.conversations import make_row_version
from data_svc.worker.decontamination import ContaminationIndex
from data_svc.worker.executor import Executor
from data_svc.worker.partitions import Upload
from data_svc.worker.texts import make_text_version
from data_svc.worker.work import Work, WorkObjects

__all__ = ["curate", "run"]

Tick = Callable[[str, float], None]


@dataclass(frozen=True)
class _Inputs:
    """What a job reads, as files."""

    uploads: Sequence[Upload]
    tokenizer: Path | None
    texts: Path | None
    index: ContaminationIndex
    labels: Path | None = None


def run(context: TaskContext) -> Done:
    """Carry out a curation job; started over after a crash it goes on, and makes the same version."""
    job = CurationJob.FromString(context.job)
    recipe = recipe_of(job.recipe)
    blobs = Blobs(context.objects, project_of(job.name))
    inputs = context.workdir / "inputs"
    shutil.rmtree(inputs, ignore_errors=True)

    def tick(stage: str, fraction: float) -> None:
        context.check()
        context.report(stage=stage, fraction=fraction)

    tick("fetching", 0.0)
    uploads = []
    for number, source in enumerate(job.inputs.uploads):
        name = source.file_name or f"upload-{number}"
        file = blobs.get_file(source.artifact, inputs / str(number))
        uploads.append(Upload(name, file, terms=terms_of(source)))
    texts = None
    if job.inputs.HasField("source_manifest"):
        manifest = read_manifest(blobs, job.inputs.source_manifest)
        wanted = [e.path for e in manifest.files if e.path == "documents.jsonl" or is_text_part(e.path)]
        texts = fetch(blobs, manifest, inputs / "source", wanted)
    tokenizer = blobs.get_file(job.tokenizer, inputs / "tokenizer.json") if job.HasField("tokenizer") else None
    sets = {
        found.suite: read_contamination_set(blobs.get_bytes(found.hashes)) for found in job.inputs.contamination_sets
    }
    labels = None
    if job.inputs.HasField("quality_labels"):
        labels = blobs.get_file(job.inputs.quality_labels, inputs / "labels.jsonl")
    given = _Inputs(uploads, tokenizer, texts, ContaminationIndex(sets), labels)
    work = Work(context.objects, blobs.project)
    with _scratch(context.workdir) as scratch, Executor(work, scratch) as executor:
        result = _make(given, recipe, blobs, executor, scratch=scratch, tick=tick, dry_run=job.HasField("dry_run"))
    return Done(result, [result.report] if job.HasField("dry_run") else [result.manifest, result.report])


def curate(
    source_paths: Sequence[Path],
    recipe: Recipe,
    tokenizer_path: Path | None,
    blobs: Blobs,
    report: Callable[[str, float], None] = lambda _stage, _fraction: None,
    *,
    index: ContaminationIndex | None = None,
    texts: Path | None = None,
    terms: Terms = UNSTATED,
    workers: int | None = None,
    arrays: ArrayLauncher | None = None,
    labels: Path | None = None,
    dry_run: bool = False,
) -> CurationResult:
    """Make a version of local files and folders, without any server, in as many processes as there are cores.

    `arrays` has the elements carried out elsewhere.
    `index` holds the evaluation suites to keep clear of, `texts` is a folder with the documents and the texts of
    a text version, `labels` a file that a classifier of quality learns from; `terms` hold for
    all files.
    Raises: FailedPrecondition DATASET_EMPTY; InvalidRequest.
    """
    uploads = [replace(upload, terms=terms) for path in source_paths for upload in _local(path)]
    work = Work(cast("WorkObjects", blobs.objects), blobs.project)
    with (
        tempfile.TemporaryDirectory(prefix="bessemer-curation-") as folder,
        _scratch(Path(folder)) as scratch,
        Executor(work, scratch, workers, arrays) as executor,
    ):
        given = _Inputs(uploads, tokenizer_path, texts, index or ContaminationIndex({}), labels)
        return _make(given, recipe, blobs, executor, scratch=scratch, tick=report, dry_run=dry_run)


@contextmanager
def _scratch(workdir: Path) -> Iterator[Path]:
    """Give a folder that is empty, and is gone afterwards."""
    scratch = workdir / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _make(
    inputs: _Inputs, recipe: Recipe, blobs: Blobs, executor: Executor, *, scratch: Path, tick: Tick, dry_run: bool
) -> CurationResult:
    given = inputs.uploads
    surroundings: dict[str, Any] = {"blobs": blobs, "executor": executor, "scratch": scratch, "tick": tick}
    surroundings |= {"index": inputs.index, "dry_run": dry_run}
    if recipe.kind != "TEXT":
        result = make_row_version(given, inputs.texts, recipe, **surroundings)
    elif inputs.texts is not None:
        raise InvalidRequest(
            "a text version is made of uploads; leave source_version empty", field="curation_job.source_version"
        )
    else:
        result = make_text_version(given, recipe, inputs.tokenizer, labels=inputs.labels, **surroundings)
    made, reused = executor.made["read"], executor.reused["read"]
    result.partitions, result.partitions_reused = made + reused, reused
    return result


def _local(path: Path) -> Iterator[Upload]:
    """Yield a file, or the files below a folder by their relative names; links are not followed."""
    if not path.is_dir():
        yield Upload(path.name, path)
        return
    for file in sorted(path.rglob("*")):
        if file.is_file() and not file.is_symlink():
            yield Upload(file.relative_to(path).as_posix(), file, source=path.name)
