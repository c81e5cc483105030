"""The tasks that answer batches: open what is new, answer part by part beside live traffic, close what is done."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bessemer.api.common.v1 import job_pb2
from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.serve.v1.batch_inference_pb2 import BatchInferenceJob
from bessemer.artifacts.attestation import Signer, Statement
from bessemer.artifacts.blobs import Blobs
from bessemer.kernel.errors import BessemerError, InvalidRequest, LimitReached, Unavailable
from bessemer.kernel.ids import new_uid, project_of
from bessemer.svckit import context, log
from bessemer.svckit.context import Principal
from bessemer.svckit.objects import ObjectStore
from bessemer.svckit.store import Store

from serve_svc.app import batches
from serve_svc.app.batches import Claim, PartResult
from serve_svc.config import ServeConfig
from serve_svc.domain.batches import REQUESTS_MAX, parts_of, room

__all__ = ["Answered", "BatchRunner"]

PREDICATE_TYPE = "https://bessemer.dev/batch-inference/v1"
_LOOK_EVERY_S = 2.0
_POLL_S = 0.05
_PARTS = 2  # at a time, so that the end of one part leaves no engine idle
_JSONL = "application/jsonl"
_RETRIED = (Unavailable, LimitReached)


@dataclass(frozen=True, slots=True)
class Answered:
    """A line of the output, or of the errors if it was refused, and what it took."""

    line: bytes
    refused: bool = False
    prompt_tokens: int = 0
    completion_tokens: int = 0
    model_version: str = ""


AnswerLine = Callable[[BatchInferenceJob, int, bytes], Awaitable[Answered]]


class BatchRunner:
    """All batches of a service; everything it knows is in the store, so that it may be killed at any time."""

    def __init__(
        self,
        store: Store,
        objects: ObjectStore,
        answer: AnswerLine,
        signer: Callable[[], Signer],
        *,
        in_flight: Callable[[], int],
        config: ServeConfig,
    ) -> None:
        self._store = store
        self._objects = objects
        self._answer = answer
        self._signer = signer
        self._in_flight = in_flight
        self._folder = config.batches_folder
        self._limit = config.batch_requests_max
        self._lease_s = config.batch_lease_s
        self._owner = new_uid()
        self._running = 0

    async def run(self) -> None:
        """Go on until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._lead())
            for _ in range(_PARTS):
                tasks.create_task(self._work())

    async def _lead(self) -> None:
        """Open jobs that are new and close those that are done."""
        seen = 0
        while True:
            try:
                for job in await self._store.read(batches.live_jobs):
                    await self._move(job)
            except BessemerError as error:
                log.warning("batches_wait", reason=error.reason, message=error.message)
            seen = await self._store.changed().wait_after(seen, _LOOK_EVERY_S)

    async def _move(self, job: BatchInferenceJob) -> None:
        if job.status.state == job_pb2.JOB_STATE_QUEUED:
            try:
                ends = _line_ends(await self._input(job))
            except InvalidRequest as error:
                problem = error
                await self._store.write(lambda tx: batches.fail(tx, job.name, problem))
            else:
                await self._store.write(lambda tx: batches.start(tx, job.name, parts_of(ends), len(ends)))
        elif job.status.state == job_pb2.JOB_STATE_CANCELLING or not await self._store.read(
            lambda tx: batches.open_parts(tx, job.name)
        ):
            await self._close(job)

    async def _work(self) -> None:
        seen = 0
        while True:
            try:
                if await self._store.read(batches.is_waiting):
                    claimed = await self._store.write(lambda tx: batches.claim(tx, self._owner, self._lease_s))
                    if claimed is not None:
                        await self._answer_part(claimed)
                    continue
            except BessemerError as error:
                log.warning("batch_part_waits", reason=error.reason, message=error.message)
            seen = await self._store.changed().wait_after(seen, _LOOK_EVERY_S)

    async def _answer_part(self, claimed: Claim) -> None:
        """Answer the lines of a part and record them; leave it to others once the lease is gone."""
        job, part = claimed.job, claimed.part
        answering = asyncio.create_task(self._answers(claimed))
        keeping = asyncio.create_task(self._keep(claimed))
        try:
            await asyncio.wait({answering, keeping}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                log.info("batch_part_left", job=job.name, part=part.number)
                return
            result = await asyncio.to_thread(self._store_part, job, answering.result())
        finally:
            for task in (answering, keeping):
                task.cancel()
            await asyncio.gather(answering, keeping, return_exceptions=True)
        await self._store.write(lambda tx: batches.record(tx, claimed, self._owner, result))

    async def _answers(self, claimed: Claim) -> Sequence[Answered]:
        job, part = claimed.job, claimed.part
        # Charged to whoever made the job, who may have been an API key.
        context.principal.set(Principal(job.creator, frozenset(), frozenset({project_of(job.name)})))
        data = await asyncio.to_thread(_read, await self._input(job), part.start, part.end)
        lines = [line for line in data.split(b"\n") if line.strip()]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._one(job, part.first + i, line)) for i, line in enumerate(lines)]
        return [task.result() for task in tasks]

    async def _one(self, job: BatchInferenceJob, number: int, line: bytes) -> Answered:
        """Answer a line, however long that takes: whoever is busy or away is asked again."""
        wait_s = 0.5
        while True:
            async with self._turn():
                try:
                    return await self._answer(job, number, line)
                except _RETRIED as error:
                    log.info("batch_request_waits", job=job.name, number=number, reason=error.reason)
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, 15.0)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Hold one of the places that live traffic leaves."""
        while self._running >= room(self._limit, self._in_flight() - self._running):  # noqa: ASYNC110 - counts, no events
            await asyncio.sleep(_POLL_S)
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    async def _keep(self, claimed: Claim) -> None:
        """Renew the lease until it is gone."""
        while True:
            await asyncio.sleep(self._lease_s / 4)
            with contextlib.suppress(*_RETRIED):
                if not await self._store.write(lambda tx: batches.keep(tx, claimed, self._owner, self._lease_s)):
                    return

    async def _input(self, job: BatchInferenceJob) -> Path:
        path = self._folder / job.input.sha256
        if not path.is_file():
            blobs = Blobs(self._objects, project_of(job.name))
            await asyncio.to_thread(blobs.get_file, job.input, path)
        return path

    def _store_part(self, job: BatchInferenceJob, answers: Sequence[Answered]) -> PartResult:
        blobs = Blobs(self._objects, project_of(job.name))
        good, bad = [a for a in answers if not a.refused], [a for a in answers if a.refused]
        return PartResult(
            output=blobs.put_bytes(b"".join(a.line for a in good), _JSONL),
            errors=blobs.put_bytes(b"".join(a.line for a in bad), _JSONL),
            succeeded=len(good),
            failed=len(bad),
            prompt_tokens=sum(a.prompt_tokens for a in good),
            completion_tokens=sum(a.completion_tokens for a in good),
            model_versions=sorted({a.model_version for a in good if a.model_version}),
        )

    async def _close(self, job: BatchInferenceJob) -> None:
        parts = await self._store.read(lambda tx: batches.recorded(tx, job.name))
        newest = await self._store.read(lambda tx: tx.get(job.name, BatchInferenceJob))
        blobs = Blobs(self._objects, project_of(job.name))
        output = await asyncio.to_thread(self._join, blobs, [pair[0] for pair in parts], f"{job.uid}.output")
        errors = await asyncio.to_thread(self._join, blobs, [pair[1] for pair in parts], f"{job.uid}.errors")
        kept = errors if errors.size_bytes else None
        receipt = self._signer().sign(_statement(newest, output, errors))
        await self._store.write(lambda tx: batches.close(tx, job.name, output, kept, receipt))
        (self._folder / job.input.sha256).unlink(missing_ok=True)

    def _join(self, blobs: Blobs, parts: Sequence[ArtifactRef], name: str) -> ArtifactRef:
        """Store the bytes of parts one after the other."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / name
        try:
            with path.open("wb") as file:
                for part in parts:
                    file.write(blobs.get_bytes(part))
            return blobs.put_file(path, _JSONL)
        finally:
            path.unlink(missing_ok=True)


def _statement(job: BatchInferenceJob, output: ArtifactRef, errors: ArtifactRef) -> Statement:
    predicate = {
        "batchInferenceJob": job.name,
        "endpoint": job.endpoint,
        "adapter": job.adapter,
        "modelVersions": list(job.model_versions),
        "inputSha256": job.input.sha256,
        "requests": job.requests,
        "succeeded": job.succeeded,
        "failed": job.failed,
        "promptTokens": job.prompt_tokens,
        "completionTokens": job.completion_tokens,
    }
    return Statement({"output.jsonl": output.sha256, "errors.jsonl": errors.sha256}, PREDICATE_TYPE, predicate)


def _line_ends(path: Path) -> list[int]:
    """Return where the lines of a file end, blank ones left out.

    Raises: InvalidRequest if it has none, or too many.
    """
    ends, end = list[int](), 0
    with path.open("rb") as file:
        for line in file:
            end += len(line)
            ends += [end] if line.strip() else []
            if len(ends) > REQUESTS_MAX:
                raise InvalidRequest(f"a batch may have at most {REQUESTS_MAX} lines; cut the file", field="upload")
    if not ends:
        raise InvalidRequest("the upload is empty; write one request a line", field="upload")
    return ends


def _read(path: Path, start: int, end: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(end - start)
