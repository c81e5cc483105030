"""Curation of feedback: what its worker must know, and the version it makes."""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.data.v1.dataset_job_pb2 import DatasetJob
from bessemer.api.data.v1.dataset_pb2 import Dataset, DatasetKind
from bessemer.api.data.v1.feedback_curation_pb2 import CurateFeedbackTask
from bessemer.api.data.v1.feedback_service_pb2 import FeedbackRecord, Rating, Signal
from bessemer.artifacts.blobs import sha256_of
from bessemer.kernel.clock import Clock
from bessemer.kernel.errors import InvalidRequest
from bessemer.kernel.ids import id_of, parent_of, project_of
from bessemer.svckit.objects import ObjectStore
from bessemer.svckit.store import Store
from bessemer.svckit.tx import Tx

from data_svc import codec
from data_svc.app.dataset_jobs import Planned
from data_svc.app.datasets import seal_version
from data_svc.domain.feedback.records import DOWN, UP
from data_svc.domain.feedback.task import KINDS, resolve
from data_svc.domain.partitions import result_name, work_prefix
from data_svc.ports import KnownSuites, LineageGraph

__all__ = ["FeedbackCurator", "said_of"]

_PAGE = 1000
_FIELD = "dataset_job.curate_feedback"
_RATINGS = {Rating.RATING_UP: UP, Rating.RATING_DOWN: DOWN}


class FeedbackCurator:
    """Begins and ends jobs that curate feedback."""

    def __init__(
        self,
        store: Store,
        objects: ObjectStore,
        clock: Clock,
        *,
        graph: LineageGraph,
        suites: KnownSuites,
        scratch: Path,
    ) -> None:
        self._store = store
        self._objects = objects
        self._clock = clock
        self._graph = graph
        self._suites = suites
        self._scratch = scratch

    def task(self) -> Planned:
        """Return how these jobs begin and end."""
        return Planned(self._plan, self._finish, self._prepare)

    async def _prepare(self, job: DatasetJob, given: DatasetJob) -> None:
        """Store what was said about the wanted answers as it is now; it is complete before the job exists."""
        job.curate_feedback.CopyFrom(resolve(given.curate_feedback, self._clock.now()))
        self._scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            path = Path(folder) / "feedback.jsonl"
            await self._snapshot(parent_of(job.name), job.curate_feedback, path)
            sha256 = await asyncio.to_thread(sha256_of, path)
            prefix = f"{work_prefix(project_of(job.name))}feedback/{id_of(job.name)}/"
            key = prefix + result_name(self._clock.now().date(), sha256)
            await asyncio.to_thread(self._objects.put_file, key, path)
            size_bytes = path.stat().st_size
        job.inputs.feedback.CopyFrom(
            ArtifactRef(key=key, sha256=sha256, size_bytes=size_bytes, media_type="application/jsonl")
        )

    async def _snapshot(self, project: str, task: CurateFeedbackTask, path: Path) -> None:
        token, wanted = "", set(task.model_versions)
        with path.open("w", encoding="utf-8") as lines:
            while True:
                page, token = await self._store.read(partial(_page, parent=project, token=token))
                lines.writelines(
                    json.dumps(said_of(record), ensure_ascii=False) + "\n"
                    for record in page
                    if record.model_version in wanted
                )
                if not token:
                    return

    def _plan(self, tx: Tx, job: DatasetJob, given: DatasetJob) -> None:
        del given  # resolved already
        task = job.curate_feedback
        if parent_of(task.dataset) != parent_of(job.name):
            raise InvalidRequest(
                f"{_FIELD}.dataset must lie in {parent_of(job.name)}; got {task.dataset}", field=f"{_FIELD}.dataset"
            )
        kind = tx.get(task.dataset, Dataset).kind
        if kind != KINDS[task.form]:
            wanted, found = (DatasetKind.Name(k).removeprefix("DATASET_KIND_") for k in (KINDS[task.form], kind))
            raise InvalidRequest(f"such rows are {wanted}; {task.dataset} holds {found}", field=f"{_FIELD}.dataset")
        job.inputs.contamination_sets.extend(self._suites.of_project(tx, project_of(job.name)))

    def _finish(self, tx: Tx, job: DatasetJob) -> None:
        task = job.curate_feedback
        version = codec.feedback_version(task, KINDS[task.form], job.result.sealed)
        made = seal_version(tx, task.dataset, version, codec.lineage_of_feedback_version, self._graph)
        job.result.dataset_version = made.name
        job.result.ClearField("sealed")


def said_of(record: FeedbackRecord) -> dict[str, Any]:
    """Return a record as a line of a snapshot; who said it is told by a digest, which only tells people apart."""
    who = record.user or record.creator
    return {
        "name": record.name,
        "user": hashlib.sha256(who.encode()).hexdigest()[:32] if who else "",
        "model_version": record.model_version,
        "time_s": record.create_time.ToNanoseconds() / 1e9,
        "rating": _RATINGS.get(record.rating, 0),
        "messages": json.loads(record.prompt_json) if record.prompt_json else [],
        "answer": record.answer,
        "edited": record.edited_answer,
        "response_id": record.response_id,
        "consent": record.consent,
        "categories": sorted(record.categories),
        "signals": sorted({Signal.Name(signal).removeprefix("SIGNAL_").lower() for signal in record.signals}),
        "logprobs": list(record.behaviour_logprobs),
        "erased": record.HasField("erase_time"),
    }


def _page(tx: Tx, parent: str, token: str) -> tuple[list[FeedbackRecord], str]:
    return tx.list(FeedbackRecord, parent, page_size=_PAGE, page_token=token)
