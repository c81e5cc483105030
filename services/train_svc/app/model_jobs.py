"""Jobs that bring models in, make new ones, take them out, and give them more tokens."""

from __future__ import annotations

from collections.abc import Sequence

from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.train.v1 import model_service_pb2 as pb
from bessemer.api.train.v1.model_pb2 import (
    ExportTask,
    ExtendVocabularyTask,
    ImportTask,
    InitTask,
    LineageStep,
    ModelJob,
    ModelJobInputs,
    ModelJobResult,
    ModelSource,
    ModelVersion,
)
from bessemer.api.train.v1.training_job_pb2 import TrainingJob
from bessemer.artifacts.attestation import Signer, Statement
from bessemer.artifacts.bundle import ARCHIVE, PREDICATE_TYPE
from bessemer.jobs.runtime import JobKind, JobRuntime
from bessemer.kernel.errors import FailedPrecondition, Internal, InvalidRequest
from bessemer.kernel.ids import new_id, parent_of
from bessemer.svckit.store import Store
from bessemer.svckit.tx import Tx
from google.protobuf.json_format import MessageToDict

from train_svc.app.registry import find_version, register
from train_svc.domain.exports import precision_of
from train_svc.ports import DatasetCatalog

__all__ = ["ModelJobs", "import_task", "model_jobs"]

_ANCESTORS_MAX = 50


class ModelJobs:
    """Use cases of model jobs."""

    def __init__(self, store: Store, runtime: JobRuntime, catalog: DatasetCatalog) -> None:
        self._store = store
        self._runtime = runtime
        self._catalog = catalog

    async def create(self, request: pb.CreateModelJobRequest) -> ModelJob:
        """Pin what the worker will read and queue the job."""
        job = ModelJob(name=f"{request.parent}/modelJobs/{request.model_job_id or new_id('model')}")
        match request.model_job.WhichOneof("task"):
            case "import":
                await self._plan_import(job, import_task(request.model_job))
            case "export":
                await self._plan_export(job, request.model_job.export)
            case "extend_vocabulary":
                await self._plan_extend(job, request.model_job.extend_vocabulary)
            case "init":
                _plan_init(job, request.model_job.init)
            case _:
                raise InvalidRequest(
                    "model_job must hold import, init, export or extend_vocabulary", field="model_job.task"
                )
        return await self._store.write(lambda tx: self._runtime.submit(tx, job))

    async def _plan_import(self, job: ModelJob, task: ImportTask) -> None:
        _check_model(job, task.model, "import")
        match task.WhichOneof("source"):
            case "upload":
                upload = await self._catalog.upload(task.upload)
                if not upload.complete:
                    raise FailedPrecondition(
                        f"{upload.name} ({upload.file_name}) is not complete; PUT its bytes, then call CompleteUpload",
                        reason="SOURCE_INVALID",
                        resource=upload.name,
                    )
                job.inputs.CopyFrom(ModelJobInputs(upload=upload.artifact, file_name=upload.file_name))
            case "catalogue":
                job.inputs.SetInParent()
                if task.base:
                    raise InvalidRequest("base belongs to adapters in an upload", field="model_job.import.base")
            case _:
                raise InvalidRequest(
                    "model_job.import must name a catalogue entry or an upload", field="model_job.import.source"
                )
        import_task(job).CopyFrom(task)
        if task.base:
            base = await self._store.read(lambda tx: find_version(tx, task.base))
            import_task(job).base = base.name
            job.inputs.model_manifest.CopyFrom(base.manifest)

    async def _plan_export(self, job: ModelJob, task: ExportTask) -> None:
        form = task.format or "safetensors"
        precision = precision_of(form, task.precision)
        version, lineage = await self._store.read(lambda tx: _lineage(tx, find_version(tx, task.model_version)))
        job.export.CopyFrom(task)
        job.export.MergeFrom(ExportTask(model_version=version.name, format=form, precision=precision))
        job.inputs.CopyFrom(ModelJobInputs(model_manifest=version.manifest, lineage=lineage))

    async def _plan_extend(self, job: ModelJob, task: ExtendVocabularyTask) -> None:
        _check_blob(job, task.tokenizer, "extend_vocabulary.tokenizer")
        _check_blob(job, task.initialisation, "extend_vocabulary.initialisation")
        version = await self._store.read(lambda tx: find_version(tx, task.model_version))
        job.extend_vocabulary.CopyFrom(task)
        job.extend_vocabulary.model_version = version.name
        job.inputs.CopyFrom(ModelJobInputs(model_manifest=version.manifest))


def _plan_init(job: ModelJob, task: InitTask) -> None:
    _check_model(job, task.model, "init")
    _check_blob(job, task.tokenizer, "init.tokenizer")
    job.init.CopyFrom(task)
    job.inputs.SetInParent()


def _check_model(job: ModelJob, model: str, field: str) -> None:
    if parent_of(model) != parent_of(job.name):
        raise InvalidRequest(
            f"model_job.{field}.model must lie in {parent_of(job.name)}; got {model}", field=f"model_job.{field}.model"
        )


def _check_blob(job: ModelJob, artifact: ArtifactRef, field: str) -> None:
    if artifact.key != f"{parent_of(job.name)}/blobs/sha256/{artifact.sha256}":
        raise InvalidRequest(
            f"{field} must be a blob of {parent_of(job.name)}, as an upload or a tokenizer job makes it",
            field=f"model_job.{field}",
        )


def import_task(job: ModelJob) -> ImportTask:
    """Return the field `import`, a word that Python keeps for itself."""
    task: ImportTask = getattr(job, "import")
    return task


def _lineage(tx: Tx, version: ModelVersion) -> tuple[ModelVersion, list[LineageStep]]:
    """Return a version with how it and its ancestors were made."""
    steps: list[LineageStep] = []
    at: ModelVersion | None = version
    while at is not None and len(steps) < _ANCESTORS_MAX:
        step = LineageStep(
            model_version=at.name,
            manifest_sha256=at.manifest.sha256,
            source=at.source,
            license=at.license,
            create_time=at.create_time,
            dataset_versions=at.dataset_versions,
            mixture=at.mixture,
            training_job=at.training_job,
        )
        trained = tx.find(at.training_job, TrainingJob) if at.training_job else None
        if trained is not None:
            step.method = trained.recipe.WhichOneof("method") or ""
            step.adapter_rank = trained.recipe.lora.rank
            usage = trained.usage
            step.steps, step.tokens, step.seconds, step.flops = usage.steps, usage.tokens, usage.seconds, usage.flops
        steps.append(step)
        at = tx.find(at.parent, ModelVersion) if at.parent else None
    return version, steps


def model_jobs(signer: Signer) -> JobKind[ModelJob]:
    """Return the kind of model jobs; what they export is signed here, since workers hold no key."""

    def finish(tx: Tx, job: ModelJob, result: bytes, artifacts: Sequence[ArtifactRef]) -> ModelJob:
        del artifacts  # named again by the manifest
        outcome = ModelJobResult.FromString(result)
        return _exported(job, outcome, signer) if job.HasField("export") else _registered(tx, job, outcome)

    return JobKind(
        collection="modelJobs", message=ModelJob, entry="train_svc.worker", on_success=finish, on_progress=None
    )


def _exported(job: ModelJob, outcome: ModelJobResult, signer: Signer) -> ModelJob:
    task = job.export
    if not outcome.parity or not all(report.passed for report in outcome.parity):
        raise Internal(f"the worker of {job.name} handed over an export whose comparison did not pass")
    predicate = {
        "modelVersion": task.model_version,
        "manifestSha256": job.inputs.model_manifest.sha256,
        "format": task.format,
        "precision": task.precision,
        "modelJob": job.name,
        "parity": [MessageToDict(report) for report in outcome.parity],
    }
    subjects = {**outcome.files, ARCHIVE: outcome.archive.sha256}
    job.archive.CopyFrom(outcome.archive)
    job.parity.extend(outcome.parity)
    job.attestation = signer.sign(Statement(subjects, PREDICATE_TYPE, predicate))
    return job


def _registered(tx: Tx, job: ModelJob, outcome: ModelJobResult) -> ModelJob:
    version = ModelVersion(
        manifest=outcome.manifest,
        tokenizer=outcome.tokenizer,
        architecture=outcome.architecture,
        parameters=outcome.parameters,
        context_length=outcome.context_length,
        adapter_rank=outcome.adapter_rank,
        parity=outcome.parity,
    )
    if job.HasField("extend_vocabulary"):
        base = tx.get(job.extend_vocabulary.model_version, ModelVersion)
        version.source, version.parent, version.license = ModelSource.MODEL_SOURCE_EXTENDED, base.name, base.license
        model = parent_of(base.name)
    elif job.HasField("init"):
        version.source, model = ModelSource.MODEL_SOURCE_INITIALISED, job.init.model
    else:
        task = import_task(job)
        version.source, version.license = ModelSource.MODEL_SOURCE_IMPORTED, task.license or outcome.license
        if task.base:
            base = tx.get(task.base, ModelVersion)
            version.parent, version.license = base.name, version.license or base.license
        model = task.model
    job.model_version = register(tx, model, version).name
    return job
