"""Jobs on data that are not curation: each task plans what its worker reads, and may change resources at its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.data.v1 import dataset_job_service_pb2 as pb
from bessemer.api.data.v1.dataset_job_pb2 import DatasetJob, DatasetJobResult, ExportDatasetTask, TrainTokenizerTask
from bessemer.api.data.v1.dataset_pb2 import DatasetKind, DatasetVersion
from bessemer.jobs.runtime import JobKind, JobRuntime
from bessemer.kernel.errors import InvalidRequest
from bessemer.kernel.ids import new_id, project_of
from bessemer.svckit.store import Store
from bessemer.svckit.tx import Tx

from data_svc.app.datasets import live_version
from data_svc.app.uploads import check_artifact
from data_svc.domain.tokenizer_training import SAMPLE_BYTES_MAX, SPECIAL_TOKENS

__all__ = ["TASKS", "DatasetJobs", "Planned", "dataset_job_kind", "pinned_version"]


@dataclass(frozen=True)
class Planned:
    """One task: `plan(tx, job, given)` fills in the job's task and inputs; `finish(tx, job)` acts on `job.result`.

    `prepare(job, given)` comes before `plan`, outside of any transaction, and may store objects for the worker.
    """

    plan: Callable[[Tx, DatasetJob, DatasetJob], None]
    finish: Callable[[Tx, DatasetJob], None] = lambda _tx, _job: None
    prepare: Callable[[DatasetJob, DatasetJob], Awaitable[None]] | None = None


class DatasetJobs:
    """Use cases of dataset jobs."""

    def __init__(self, store: Store, runtime: JobRuntime, tasks: Mapping[str, Planned]) -> None:
        self._store = store
        self._runtime = runtime
        self._tasks = tasks

    async def create(self, request: pb.CreateDatasetJobRequest) -> DatasetJob:
        """Pin what the worker will read and queue the job."""
        given = request.dataset_job
        task = given.WhichOneof("task")
        if task is None:
            raise InvalidRequest(
                f"dataset_job must hold one of: {', '.join(sorted(self._tasks))}", field="dataset_job.task"
            )
        prepared = DatasetJob(
            name=f"{request.parent}/datasetJobs/{request.dataset_job_id or new_id('dataset')}", labels=given.labels
        )
        prepared.inputs.SetInParent()
        if prepare := self._tasks[task].prepare:
            await prepare(prepared, given)

        def commit(tx: Tx) -> DatasetJob:
            job = DatasetJob()
            job.CopyFrom(prepared)
            self._tasks[task].plan(tx, job, given)
            return self._runtime.submit(tx, job)

        return await self._store.write(commit)


def pinned_version(tx: Tx, job: DatasetJob, name: str, field: str) -> DatasetVersion:
    """Return the version a task names, its manifest pinned into the job's inputs.

    Raises: InvalidRequest if it lies in another project; NotFound.
    """
    if project_of(name) != project_of(job.name):
        raise InvalidRequest(f"{field} must lie in projects/{project_of(job.name)}; got {name}", field=field)
    version = live_version(tx, name)
    job.inputs.manifest.CopyFrom(version.manifest)
    return version


def _plan_export(tx: Tx, job: DatasetJob, given: DatasetJob) -> None:
    version = pinned_version(tx, job, given.export.dataset_version, "dataset_job.export.dataset_version")
    job.export.CopyFrom(ExportDatasetTask(dataset_version=version.name, format=given.export.format or "parquet"))


def _plan_assess(tx: Tx, job: DatasetJob, given: DatasetJob) -> None:
    field = "dataset_job.assess.dataset_version"
    version = pinned_version(tx, job, given.assess.dataset_version, field)
    if version.kind != DatasetKind.DATASET_KIND_TEXT:
        raise InvalidRequest(f"{field} must hold text; {version.name} does not", field=field)
    job.assess.CopyFrom(given.assess)
    job.assess.dataset_version = version.name
    if given.assess.HasField("tokenizer"):
        check_artifact(given.assess.tokenizer, project_of(job.name), "dataset_job.assess.tokenizer")
        job.inputs.tokenizer.CopyFrom(given.assess.tokenizer)


def _plan_tokenizer(tx: Tx, job: DatasetJob, given: DatasetJob) -> None:
    task, field = given.train_tokenizer, "dataset_job.train_tokenizer"
    version = pinned_version(tx, job, task.dataset_version, f"{field}.dataset_version")
    if version.kind != DatasetKind.DATASET_KIND_TEXT:
        raise InvalidRequest(f"{version.name} does not hold text", field=f"{field}.dataset_version")
    for other in task.others:
        check_artifact(other.tokenizer, project_of(job.name), f"{field}.others.tokenizer")
    labels = ["new", "base", *(other.label for other in task.others)]
    if len(set(labels)) < len(labels):
        raise InvalidRequest("others must have labels of their own, not new or base", field=f"{field}.others.label")
    if task.HasField("base"):
        check_artifact(task.base, project_of(job.name), f"{field}.base")
        if not task.added_tokens or task.vocabulary_size or task.special_tokens:
            raise InvalidRequest(
                "to extend base give added_tokens, and neither vocabulary_size nor special_tokens",
                field=f"{field}.added_tokens",
            )
    planned = TrainTokenizerTask()
    planned.CopyFrom(task)
    planned.dataset_version = version.name
    planned.sample_bytes_max = task.sample_bytes_max or SAMPLE_BYTES_MAX
    if not task.HasField("base"):
        planned.special_tokens[:] = task.special_tokens or SPECIAL_TOKENS
        least = 256 + len(planned.special_tokens)
        if task.added_tokens or task.vocabulary_size < least:
            raise InvalidRequest(
                f"a new tokenizer needs a vocabulary_size of at least {least}, and no added_tokens",
                field=f"{field}.vocabulary_size",
            )
        if len(set(planned.special_tokens)) < len(planned.special_tokens) or "" in planned.special_tokens:
            raise InvalidRequest("special_tokens must differ and not be empty", field=f"{field}.special_tokens")
    job.train_tokenizer.CopyFrom(planned)


# Those that need nothing but the store; wiring adds the others.
TASKS: Mapping[str, Planned] = {
    "assess": Planned(_plan_assess),
    "export": Planned(_plan_export),
    "train_tokenizer": Planned(_plan_tokenizer),
}


def dataset_job_kind(tasks: Mapping[str, Planned]) -> JobKind[DatasetJob]:
    """Return how the runtime handles dataset jobs."""

    def finish(tx: Tx, job: DatasetJob, result: bytes, artifacts: Sequence[ArtifactRef]) -> DatasetJob:
        del artifacts  # named again by the result
        job.result.CopyFrom(DatasetJobResult.FromString(result))
        tasks[job.WhichOneof("task") or ""].finish(tx, job)
        return job

    return JobKind(
        collection="datasetJobs", message=DatasetJob, entry="data_svc.worker", on_success=finish, on_progress=None
    )
