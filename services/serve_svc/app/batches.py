"""Batch inference jobs: what callers may do with them, and what is written down of each part.

A part is answered by whoever holds its lease, in this process or another replica, and its answers count when they are
recorded, once. So a crash at any point costs the answers of open parts and nothing else, and no request stands twice in
the output or is missing from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bessemer.api.common.v1 import job_pb2
from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.serve.v1 import batch_inference_service_pb2 as pb
from bessemer.api.serve.v1.batch_inference_pb2 import BatchInferenceJob
from bessemer.api.serve.v1.deployment_pb2 import Endpoint
from bessemer.kernel.errors import BessemerError, FailedPrecondition, InvalidRequest
from bessemer.kernel.ids import new_id, project_of
from bessemer.svckit.status import to_status
from bessemer.svckit.store import Store, Tx
from google.protobuf.json_format import MessageToJson, Parse
from sqlalchemy import ColumnElement, Select, and_, delete, insert, select, update

from serve_svc.app.tables import BATCH_PARTS, BATCHES
from serve_svc.domain.batches import Part
from serve_svc.ports import Uploads

__all__ = [
    "Batches",
    "Claim",
    "PartResult",
    "claim",
    "close",
    "fail",
    "is_over",
    "is_waiting",
    "keep",
    "live_jobs",
    "open_parts",
    "record",
    "recorded",
    "start",
]

_OVER = frozenset({job_pb2.JOB_STATE_SUCCEEDED, job_pb2.JOB_STATE_FAILED, job_pb2.JOB_STATE_CANCELLED})


@dataclass(frozen=True, slots=True)
class Claim:
    """A part that this process is to answer."""

    job: BatchInferenceJob
    part: Part


@dataclass(frozen=True, slots=True)
class PartResult:
    """Where the answers of a part lie, and what they took."""

    output: ArtifactRef
    errors: ArtifactRef
    succeeded: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    model_versions: Sequence[str]


class Batches:
    """What callers may do."""

    def __init__(self, store: Store, uploads: Uploads) -> None:
        self._store = store
        self._uploads = uploads

    async def create(self, request: pb.CreateBatchInferenceJobRequest) -> BatchInferenceJob:
        """Queue a job.

        Raises: InvalidRequest for what lies in another project; NotFound; FailedPrecondition for an upload whose bytes
        are not there.
        """
        wanted, project = request.batch_inference_job, project_of(request.parent)
        for field, name in (("endpoint", wanted.endpoint), ("upload", wanted.upload)):
            if project_of(name) != project:
                text = f"{field} must lie in projects/{project} like the job; got {name}"
                raise InvalidRequest(text, field=f"batch_inference_job.{field}")
        upload = await self._uploads.get(wanted.upload)
        if not upload.complete:
            text = f"{upload.name} is not complete; PUT its bytes, then call CompleteUpload"
            raise FailedPrecondition(text, reason="SOURCE_INVALID", resource=upload.name)
        job = BatchInferenceJob(
            name=f"{request.parent}/batchInferenceJobs/{request.batch_inference_job_id or new_id('batch')}",
            display_name=wanted.display_name,
            endpoint=wanted.endpoint,
            adapter=wanted.adapter,
            upload=wanted.upload,
            input=upload.artifact,
            status=job_pb2.JobStatus(state=job_pb2.JOB_STATE_QUEUED, stage="waits to be read"),
        )

        def write(tx: Tx) -> BatchInferenceJob:
            tx.get(job.endpoint, Endpoint)
            job.status.queue_time.FromDatetime(tx.clock.now())
            stored = tx.put(job, verb="created")
            tx.connection.execute(insert(BATCHES).values(job=job.name, uid=stored.uid, runs=False))
            return stored

        return await self._store.write(write)

    async def cancel(self, name: str) -> BatchInferenceJob:
        """Ask for the end of a job; asking again changes nothing.

        Raises: FailedPrecondition JOB_TERMINAL.
        """

        def write(tx: Tx) -> BatchInferenceJob:
            job = tx.get(name, BatchInferenceJob)
            if job.status.state == job_pb2.JOB_STATE_CANCELLING:
                return job
            if is_over(job):
                raise FailedPrecondition(f"{name} has ended", reason="JOB_TERMINAL", resource=name)
            job.status.state = job_pb2.JOB_STATE_CANCELLING
            tx.connection.execute(update(BATCHES).where(BATCHES.c.job == name).values(runs=False))
            return tx.put(job, verb="cancelling")

        return await self._store.write(write)


def is_over(job: BatchInferenceJob) -> bool:
    """Say whether a job has ended."""
    return job.status.state in _OVER


def live_jobs(tx: Tx) -> list[BatchInferenceJob]:
    """Return the jobs that have not ended, oldest first."""
    names = tx.connection.execute(select(BATCHES.c.job).order_by(BATCHES.c.uid)).scalars().all()
    return [tx.get(name, BatchInferenceJob) for name in names]


def start(tx: Tx, name: str, parts: Sequence[Part], requests: int) -> None:
    """Write down the parts of a job that nobody has opened yet."""
    job = tx.get(name, BatchInferenceJob)
    if job.status.state != job_pb2.JOB_STATE_QUEUED:
        return
    job.status.state, job.status.stage, job.requests = job_pb2.JOB_STATE_RUNNING, "answers", requests
    job.status.start_time.FromDatetime(tx.clock.now())
    tx.put(job, verb="running", previous_state="QUEUED")
    tx.connection.execute(update(BATCHES).where(BATCHES.c.job == name).values(runs=True))
    rows = [
        {"job": name, "number": p.number, "first": p.first, "start_byte": p.start, "end_byte": p.end} for p in parts
    ]
    tx.connection.execute(insert(BATCH_PARTS), rows)


def claim(tx: Tx, owner: str, lease_s: float) -> Claim | None:
    """Take the lease of the first part of the oldest job that nobody answers, if there is one."""
    now_s, table = tx.clock.now().timestamp(), BATCH_PARTS.c
    row = tx.connection.execute(_free(now_s).with_for_update(skip_locked=True, of=BATCH_PARTS)).first()
    if row is None:
        return None
    mine = and_(table.job == row.job, table.number == row.number)
    tx.connection.execute(update(BATCH_PARTS).where(mine).values(owner=owner, lease_until_s=now_s + lease_s))
    part = Part(row.number, row.first, row.start_byte, row.end_byte)
    return Claim(tx.get(row.job, BatchInferenceJob), part)


def is_waiting(tx: Tx) -> bool:
    """Say whether there is a part that nobody answers."""
    return tx.connection.execute(_free(tx.clock.now().timestamp())).first() is not None


def keep(tx: Tx, claimed: Claim, owner: str, lease_s: float) -> bool:
    """Renew a lease, and say whether there was one to renew and the job still runs."""
    runs = select(BATCHES.c.runs).where(BATCHES.c.job == claimed.job.name)
    if not tx.connection.execute(runs).scalar():
        return False
    until_s = tx.clock.now().timestamp() + lease_s
    renewed = update(BATCH_PARTS).where(_mine(claimed, owner)).values(lease_until_s=until_s)
    return bool(tx.connection.execute(renewed).rowcount)


def record(tx: Tx, claimed: Claim, owner: str, result: PartResult) -> bool:
    """Count the answers of a part, unless somebody else has it or has recorded it; say whether they count."""
    job = tx.get(claimed.job.name, BatchInferenceJob)
    refs = f"{_json(result.output)}\n{_json(result.errors)}"
    taken = update(BATCH_PARTS).where(_mine(claimed, owner)).values(result=refs)
    if is_over(job) or not tx.connection.execute(taken).rowcount:
        return False
    job.succeeded += result.succeeded
    job.failed += result.failed
    job.prompt_tokens += result.prompt_tokens
    job.completion_tokens += result.completion_tokens
    job.model_versions[:] = sorted({*job.model_versions, *result.model_versions})
    done = job.succeeded + job.failed
    job.status.progress = done / job.requests
    job.status.stage = f"{done} of {job.requests} requests"
    tx.put(job, verb="progressed")
    return True


def open_parts(tx: Tx, name: str) -> bool:
    """Say whether parts of a job have no answers yet."""
    left = select(BATCH_PARTS.c.number).where(BATCH_PARTS.c.job == name, BATCH_PARTS.c.result == "").limit(1)
    return tx.connection.execute(left).first() is not None


def recorded(tx: Tx, name: str) -> list[tuple[ArtifactRef, ArtifactRef]]:
    """Return where the answers and refusals of all recorded parts lie, in their order."""
    done = select(BATCH_PARTS.c.result).where(BATCH_PARTS.c.job == name, BATCH_PARTS.c.result != "")
    rows = tx.connection.execute(done.order_by(BATCH_PARTS.c.number)).scalars().all()
    pairs = [row.split("\n") for row in rows]
    return [(Parse(output, ArtifactRef()), Parse(errors, ArtifactRef())) for output, errors in pairs]


def close(tx: Tx, name: str, output: ArtifactRef, errors: ArtifactRef | None, receipt: bytes) -> None:
    """End a job with what was recorded of it."""
    job = tx.get(name, BatchInferenceJob)
    if is_over(job):
        return
    cancelled = job.status.state == job_pb2.JOB_STATE_CANCELLING
    job.output.CopyFrom(output)
    if errors is not None:
        job.errors.CopyFrom(errors)
    job.receipt = receipt
    _end(tx, job, job_pb2.JOB_STATE_CANCELLED if cancelled else job_pb2.JOB_STATE_SUCCEEDED)


def fail(tx: Tx, name: str, error: BessemerError) -> None:
    """End a job whose file cannot be read."""
    job = tx.get(name, BatchInferenceJob)
    if not is_over(job):
        job.status.error.CopyFrom(to_status(error))
        job.status.failure_kind = job_pb2.FAILURE_KIND_USER
        _end(tx, job, job_pb2.JOB_STATE_FAILED)


def _end(tx: Tx, job: BatchInferenceJob, state: job_pb2.JobState) -> None:
    before = job_pb2.JobState.Name(job.status.state).removeprefix("JOB_STATE_")
    job.status.state = state
    job.status.end_time.FromDatetime(tx.clock.now())
    verb = job_pb2.JobState.Name(state).removeprefix("JOB_STATE_").lower()
    tx.put(job, verb=verb, previous_state=before)
    tx.connection.execute(delete(BATCHES).where(BATCHES.c.job == job.name))
    tx.connection.execute(delete(BATCH_PARTS).where(BATCH_PARTS.c.job == job.name))


def _free(now_s: float) -> Select[Any]:
    table = BATCH_PARTS.c
    return (
        select(BATCH_PARTS)
        .join(BATCHES, BATCHES.c.job == table.job)
        .where(BATCHES.c.runs, table.result == "", table.lease_until_s <= now_s)
        .order_by(BATCHES.c.uid, table.number)
        .limit(1)
    )


def _mine(claimed: Claim, owner: str) -> ColumnElement[bool]:
    table = BATCH_PARTS.c
    part = and_(table.job == claimed.job.name, table.number == claimed.part.number)
    return and_(part, table.owner == owner, table.result == "")


def _json(ref: ArtifactRef) -> str:
    return MessageToJson(ref, indent=None)
