"""Jobs that make dataset versions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import date
from functools import partial

from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.data.v1 import dataset_service_pb2 as pb
from bessemer.api.data.v1.artifact_service_pb2 import Upload
from bessemer.api.data.v1.dataset_pb2 import (
    CurationJob,
    CurationResult,
    Dataset,
    DatasetKind,
    DatasetVersion,
    DryRun,
)
from bessemer.jobs.runtime import JobKind, JobRuntime
from bessemer.kernel.clock import Clock
from bessemer.kernel.errors import FailedPrecondition, InvalidRequest, Unavailable
from bessemer.kernel.ids import id_of, new_id, parent_of, project_of
from bessemer.svckit.objects import ObjectStore
from bessemer.svckit.store import Store
from bessemer.svckit.tx import Tx

from data_svc import codec
from data_svc.app.datasets import live_version, seal
from data_svc.app.uploads import check_artifact
from data_svc.domain.terms import check_use, terms_of
from data_svc.ports import KnownSuites, LineageGraph

__all__ = ["Curation", "curation_kind"]

TOKENIZER_BYTES_MAX = 256 * 2**20
CATCH_UP_S = 2.0
_log = logging.getLogger(__name__)


class Curation:
    """Use cases of curation jobs."""

    def __init__(
        self,
        store: Store,
        runtime: JobRuntime,
        objects: ObjectStore,
        suites: KnownSuites,
        hear_of_suites: Callable[[], Awaitable[None]],
        *,
        clock: Clock,
    ) -> None:
        self._store = store
        self._runtime = runtime
        self._objects = objects
        self._suites = suites
        self._hear_of_suites = hear_of_suites
        self._clock = clock

    async def create(self, request: pb.CreateCurationJobRequest) -> CurationJob:
        """Check everything that can be checked now, pin what the worker will read, and queue the job."""
        given = request.curation_job
        if not (given.uploads or given.source_version):
            raise InvalidRequest("name uploads or a source_version to read", field="curation_job.uploads")
        if given.uploads and given.source_version:
            raise InvalidRequest("name uploads or a source_version, not both", field="curation_job.source_version")
        if given.HasField("tokenizer"):
            await asyncio.to_thread(self._check_tokenizer, given.tokenizer, id_of(request.parent))
        job = CurationJob(
            name=f"{request.parent}/curationJobs/{request.curation_job_id or new_id('curation')}",
            labels=given.labels,
            dataset=given.dataset,
            uploads=given.uploads,
            source_version=given.source_version,
            tokenizer=given.tokenizer if given.HasField("tokenizer") else None,
            quality_labels=given.quality_labels,
            dry_run=DryRun() if given.HasField("dry_run") else None,
        )

        await self._catch_up()

        def commit(tx: Tx) -> CurationJob:
            _resolve(tx, job, given, self._suites)
            _check_terms(tx, [*job.uploads, job.source_version], self._clock.now().date())
            return self._runtime.submit(tx, job)

        return await self._store.write(commit)

    async def _catch_up(self) -> None:
        """Hear of suites that were made a moment ago; whoever is to tell of them and is away holds nothing up."""
        try:
            async with asyncio.timeout(CATCH_UP_S):
                await self._hear_of_suites()
        except (TimeoutError, Unavailable) as error:
            _log.warning("a curation job is made with the suites known so far: %s", error)

    def _check_tokenizer(self, artifact: ArtifactRef, project: str) -> None:
        check_artifact(artifact, project, "curation_job.tokenizer")
        size_bytes = self._objects.stat(artifact.key)
        if size_bytes != artifact.size_bytes or size_bytes > TOKENIZER_BYTES_MAX:
            raise InvalidRequest(
                f"curation_job.tokenizer.size_bytes must be {size_bytes}, what is stored, and at most "
                f"{TOKENIZER_BYTES_MAX}; got {artifact.size_bytes}",
                field="curation_job.tokenizer.size_bytes",
            )


def curation_kind(graph: LineageGraph) -> JobKind[CurationJob]:
    """Return how the runtime handles curation jobs."""
    return JobKind(
        collection="curationJobs",
        message=CurationJob,
        entry="data_svc.worker",
        on_success=partial(_finish, graph),
        on_progress=None,
    )


def _finish(
    graph: LineageGraph, tx: Tx, job: CurationJob, result: bytes, artifacts: Sequence[ArtifactRef]
) -> CurationJob:
    del artifacts  # named again by the manifest
    outcome = CurationResult.FromString(result)
    job.partitions, job.partitions_reused = outcome.partitions, outcome.partitions_reused
    if job.HasField("dry_run"):
        job.dry_run.CopyFrom(DryRun(report=outcome.report, splits=outcome.splits))
    else:
        job.dataset_version = seal(tx, job, outcome, graph).name
    job.ClearField("reasons")
    job.reasons.extend(outcome.reasons)
    return job


def _resolve(tx: Tx, job: CurationJob, given: CurationJob, suites: KnownSuites) -> None:
    """Fill in the recipe's defaults and pin the inputs.

    Raises: InvalidRequest, NotFound, FailedPrecondition.
    """
    if parent_of(given.dataset) != parent_of(job.name):
        raise InvalidRequest(
            f"curation_job.dataset must lie in {parent_of(job.name)}; got {given.dataset}", field="curation_job.dataset"
        )
    dataset = tx.get(given.dataset, Dataset)
    job.recipe.CopyFrom(codec.curation_recipe(given.recipe, dataset.kind))
    if dataset.kind == DatasetKind.DATASET_KIND_TEXT and not given.HasField("tokenizer"):
        raise InvalidRequest(
            "text is tokenized when it is curated: give the tokenizer of the model that will learn from it",
            field="curation_job.tokenizer",
        )
    uploads = [_usable(tx.get(name, Upload)) for name in given.uploads]
    source = live_version(tx, given.source_version) if given.source_version else None
    job.source_version = source.name if source else ""
    if source is not None and source.kind != DatasetKind.DATASET_KIND_TEXT:
        raise InvalidRequest(
            f"curation_job.source_version must hold text; {source.name} does not", field="curation_job.source_version"
        )
    if source is not None and not source.manifest.sha256:
        raise FailedPrecondition(f"{source.name} is not sealed", reason="VERSION_NOT_SEALED", resource=source.name)
    labels = _labels(tx, job, dataset.kind)
    job.inputs.CopyFrom(codec.curation_inputs(uploads, source, suites.of_project(tx, project_of(job.name)), labels))


def _labels(tx: Tx, job: CurationJob, kind: DatasetKind) -> Upload | None:
    """Return the upload of labels if the job has one; they and the recipe's threshold need each other and text."""
    if not job.quality_labels:
        if job.recipe.classifier_threshold:
            raise InvalidRequest(
                "recipe.classifier_threshold needs documents that a person accepted and rejected; name their upload",
                field="curation_job.quality_labels",
            )
        return None
    if kind != DatasetKind.DATASET_KIND_TEXT:
        raise InvalidRequest(
            "quality_labels judge documents of text versions; leave them out for conversations and pairs",
            field="curation_job.quality_labels",
        )
    return _usable(tx.get(job.quality_labels, Upload))


def _check_terms(tx: Tx, names: Sequence[str], today: date) -> None:
    """Check the uploads among `names`, and those that versions were made of, however far back.

    Raises: FailedPrecondition RETENTION_EXPIRED, CONSENT_MISSING.
    """
    seen: set[str] = set()
    waiting = [*names]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if upload := tx.find(name, Upload):
            check_use(terms_of(upload), name, upload.file_name, today)
        elif version := tx.find(name, DatasetVersion):
            waiting += version.sources


def _usable(upload: Upload) -> Upload:
    if not upload.complete:
        raise FailedPrecondition(
            f"{upload.name} ({upload.file_name}) is not complete; PUT its bytes, then call CompleteUpload",
            reason="SOURCE_INVALID",
            resource=upload.name,
        )
    return upload
