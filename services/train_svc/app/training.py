"""Jobs that train a model version into another one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.train.v1 import training_service_pb2 as pb
from bessemer.api.train.v1.model_pb2 import ModelSource, ModelVersion
from bessemer.api.train.v1.training_job_pb2 import Checkpoint, TrainingJob, TrainingResult, TrainingState
from bessemer.jobs.runtime import JobKind, JobRuntime
from bessemer.kernel.errors import InvalidRequest
from bessemer.kernel.ids import new_id, parent_of
from bessemer.svckit.store import Store
from bessemer.svckit.tx import Tx

from train_svc.app.planning import Planning
from train_svc.app.registry import find_version, register
from train_svc.domain import inputs, recipe
from train_svc.ports import DatasetCatalog

__all__ = ["TRAINING_JOBS", "Training"]


class Training:
    """Use cases of training jobs."""

    def __init__(
        self, store: Store, runtime: JobRuntime, catalog: DatasetCatalog, planning: Planning, *, threads: int
    ) -> None:
        self._store = store
        self._runtime = runtime
        self._catalog = catalog
        self._planning = planning
        self._threads = threads

    async def create(self, request: pb.CreateTrainingJobRequest) -> TrainingJob:
        """Resolve and pin model and data, write all defaults into the recipe, and queue the job."""
        given = request.training_job
        if parent_of(given.model) != request.parent:
            raise InvalidRequest(
                f"training_job.model must lie in {request.parent}; got {given.model}", field="training_job.model"
            )
        inputs.check_names(given)
        full = recipe.resolve(given.recipe, threads=self._threads)
        base = await self._store.read(lambda tx: find_version(tx, given.base_model_version))
        teacher, judges = None, []
        if full.HasField("distill"):
            teacher = await self._beside(base, full.distill.teacher)
            full.distill.teacher = teacher.name
        sampled = recipe.rollout_method(full)
        if sampled is not None and sampled.reward_models:
            judges = [await self._beside(base, name) for name in sampled.reward_models]
            sampled.reward_models[:] = [version.name for version in judges]
        mixture = await self._catalog.mixture(given.mixture) if given.mixture else None
        wanted = [part.dataset_version for part in mixture.components] if mixture else list(given.dataset_versions)
        versions = await asyncio.gather(*(self._catalog.version(name) for name in wanted))
        names = [version.name for version in versions]  # what an alias points at now
        if len(set(names)) != len(names):
            raise InvalidRequest(
                "training_job.dataset_versions names a version twice", field="training_job.dataset_versions"
            )
        inputs.check_fit(full, base, versions, is_mixed=mixture is not None)
        full.sequence_length = inputs.sequence_length(full, base, versions)
        if mixture:
            inputs.check_mixture(full, mixture)
        job = TrainingJob(
            name=f"{request.parent}/trainingJobs/{request.training_job_id or new_id('training')}",
            labels=given.labels,
            base_model_version=base.name,
            dataset_versions=names,
            mixture=given.mixture,
            recipe=full,
            model=given.model,
            inputs=inputs.pin(base, versions, mixture, teacher, judges),
            forecast=await self._planning.forecast_of(full, base, versions, mixture),
        )
        return await self._store.write(lambda tx: self._runtime.submit(tx, job))

    async def _beside(self, base: ModelVersion, name: str) -> ModelVersion:
        """Return a version that a job reads beside its base version."""
        version = await self._store.read(lambda tx: find_version(tx, name))
        inputs.check_tokenizer(base, version)
        return version

    async def list_checkpoints(self, request: pb.ListCheckpointsRequest) -> pb.ListCheckpointsResponse:
        """Return a page of a job's committed checkpoints, newest last."""

        def load(tx: Tx) -> tuple[list[Checkpoint], str]:
            tx.get(request.parent, TrainingJob)
            return tx.list(Checkpoint, request.parent, page_size=request.page_size, page_token=request.page_token)

        found, token = await self._store.read(load)
        return pb.ListCheckpointsResponse(checkpoints=found, next_page_token=token)


def _finish(tx: Tx, job: TrainingJob, result: bytes, artifacts: Sequence[ArtifactRef]) -> TrainingJob:
    del artifacts  # named again by the manifest
    outcome = TrainingResult.FromString(result)
    version = ModelVersion(
        source=ModelSource.MODEL_SOURCE_TRAINED,
        manifest=outcome.manifest,
        tokenizer=outcome.tokenizer,
        architecture=outcome.architecture,
        parameters=outcome.parameters,
        context_length=outcome.context_length,
        adapter_rank=outcome.adapter_rank,
        parent=job.base_model_version,
        training_job=job.name,
        dataset_versions=job.dataset_versions,
        mixture=job.mixture,
        license=tx.get(job.base_model_version, ModelVersion).license,
    )
    if outcome.HasField("parity"):
        version.parity.append(outcome.parity)
    job.model_version = register(tx, job.model, version).name
    job.usage.CopyFrom(outcome.usage)
    job.early_stop = outcome.early_stop
    return job


def _note_checkpoint(tx: Tx, job: TrainingJob, saved_state: bytes) -> TrainingJob:
    """List the newest committed checkpoint; the worker names its files, the service its resource."""
    state = TrainingState.FromString(saved_state)
    job.usage.CopyFrom(state.usage)
    checkpoint = Checkpoint(
        name=f"{job.name}/checkpoints/step-{state.checkpoint.step:06d}",
        step=state.checkpoint.step,
        manifest=state.checkpoint.manifest,
    )
    known = tx.find(checkpoint.name, Checkpoint)
    if known != checkpoint:
        tx.put(checkpoint, verb="updated" if known else "created")
    return job


TRAINING_JOBS = JobKind(
    collection="trainingJobs",
    message=TrainingJob,
    entry="train_svc.worker",
    on_success=_finish,
    on_progress=_note_checkpoint,
    num_ranks=lambda job: max(1, job.recipe.num_ranks),
)
