"""Jobs that look for the shares of a mixture."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.train.v1 import mixture_job_service_pb2 as pb
from bessemer.api.train.v1.mixture_job_pb2 import (
    MixtureJob,
    MixtureJobInputs,
    MixtureJobResult,
    MixtureJobState,
    MixtureRun,
    MixtureTarget,
)
from bessemer.jobs.runtime import JobKind, JobRuntime
from bessemer.kernel.errors import FailedPrecondition, InvalidRequest
from bessemer.kernel.ids import new_id, parent_of
from bessemer.svckit.store import Store
from bessemer.svckit.tx import Tx

from train_svc.app.registry import find_version
from train_svc.domain import mixture_search
from train_svc.ports import DatasetCatalog

__all__ = ["MIXTURE_JOBS", "MixtureJobs"]

# What is read of a job that is asked for.
_GIVEN = ("labels", "recipe", "tokens", "num_proxies", "num_pairs", "kl_weight", "share_min")


class MixtureJobs:
    """Use cases of mixture jobs."""

    def __init__(self, store: Store, runtime: JobRuntime, catalog: DatasetCatalog, *, threads: int) -> None:
        self._store = store
        self._runtime = runtime
        self._catalog = catalog
        self._threads = threads

    async def create(self, request: pb.CreateMixtureJobRequest) -> MixtureJob:
        """Resolve and pin mixture, targets and base, write all defaults down, and queue the job."""
        given = request.mixture_job
        if parent_of(given.mixture) != request.parent:
            raise InvalidRequest(
                f"mixture_job.mixture must lie in {request.parent}; got {given.mixture}", field="mixture_job.mixture"
            )
        base = await self._store.read(lambda tx: find_version(tx, given.base_model_version))
        mixture = await self._catalog.mixture(given.mixture)
        mixture_search.check_mixture(mixture)
        if mixture.tokenizer_sha256 != base.tokenizer.sha256:
            raise FailedPrecondition(
                f"{mixture.name} was made with tokenizer {mixture.tokenizer_sha256[:12]}, {base.name} has "
                f"{base.tokenizer.sha256[:12]}; curate the data again with the model's tokenizer",
                reason="TOKENIZER_MISMATCH",
                resource=mixture.name,
            )
        targets = list(given.targets) or [
            MixtureTarget(dataset_version=component.dataset_version) for component in mixture.components
        ]
        versions = await asyncio.gather(*(self._catalog.version(target.dataset_version) for target in targets))
        mixture_search.check_targets(versions, base.tokenizer.sha256)
        job = MixtureJob(
            name=f"{request.parent}/mixtureJobs/{request.mixture_job_id or new_id('mixture')}",
            mixture=mixture.name,
            base_model_version=base.name,
            inputs=MixtureJobInputs(
                model_manifest=base.manifest,
                mixture=mixture.content,
                target_manifests=[version.manifest for version in versions],
            ),
        )
        for target, version in zip(targets, versions, strict=True):
            weight = target.weight if target.HasField("weight") else None
            job.targets.append(MixtureTarget(dataset_version=version.name, weight=weight))
        asked = MixtureJob(**{field.name: value for field, value in given.ListFields() if field.name in _GIVEN})
        job.MergeFrom(asked)
        full = mixture_search.resolve_search(job, mixture, threads=self._threads)
        return await self._store.write(lambda tx: self._runtime.submit(tx, full))


def _finish(_tx: Tx, job: MixtureJob, result: bytes, artifacts: Sequence[ArtifactRef]) -> MixtureJob:
    del artifacts  # named again by the proposal
    outcome = MixtureJobResult.FromString(result)
    job.proposal.CopyFrom(outcome.proposal)
    _keep_runs(job, outcome.runs)
    return job


def _note_runs(_tx: Tx, job: MixtureJob, saved_state: bytes) -> MixtureJob:
    _keep_runs(job, MixtureJobState.FromString(saved_state).runs)
    return job


def _keep_runs(job: MixtureJob, runs: Sequence[MixtureRun]) -> None:
    del job.runs[:]
    job.runs.extend(runs)


MIXTURE_JOBS = JobKind(
    collection="mixtureJobs",
    message=MixtureJob,
    entry="train_svc.worker",
    on_success=_finish,
    on_progress=_note_runs,
)
