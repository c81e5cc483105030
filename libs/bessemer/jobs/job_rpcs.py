"""The calls that every kind of job has, so that a service's `api.py` is one line per method."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from bessemer.api.common.v1.metric_pb2 import MetricPoint
from bessemer.jobs import logs, tasks
from bessemer.jobs.runtime import JobKind, JobRuntime
from bessemer.jobs.states import is_terminal
from bessemer.kernel.ids import check_name
from bessemer.svckit.watch import watch

__all__ = ["JobRpcs"]

M = TypeVar("M", bound=Message)
R = TypeVar("R", bound=Message)
_POINTS_PER_PAGE = 1000


class JobRpcs(Generic[M]):
    """Get, list, cancel, pause, resume, watch, tail and metrics of one kind of job, from requests to responses."""

    def __init__(self, runtime: JobRuntime, kind: JobKind[M]) -> None:
        self._runtime = runtime
        self._store = runtime.store
        self._message = kind.message
        self._pattern = f"projects/*/{kind.collection}/*"

    async def get(self, request: Any) -> M:
        """Return a job."""
        name = self._name(request)
        return await self._store.read(lambda tx: tx.get(name, self._message))

    async def list(self, request: Any, response: type[R]) -> R:
        """Return a page of a project's jobs in `response`, whose one repeated field takes them."""
        check_name(request.parent, "projects/*", "parent")
        jobs, token = await self._store.read(
            lambda tx: tx.list(
                self._message, request.parent, page_size=request.page_size, page_token=request.page_token
            )
        )
        return response(**{self._field(response): jobs, "next_page_token": token})

    async def cancel(self, request: Any) -> M:
        """Ask for a job's end."""
        return await self._store.write(lambda tx: self._runtime.cancel(tx, self._name(request), self._message))

    async def pause(self, request: Any) -> M:
        """Ask a job to pause."""
        return await self._store.write(lambda tx: self._runtime.pause(tx, self._name(request), self._message))

    async def resume(self, request: Any) -> M:
        """Continue a paused job."""
        return await self._store.write(lambda tx: self._runtime.resume(tx, self._name(request), self._message))

    async def watch(self, request: Any, response: type[R]) -> AsyncIterator[R]:
        """Follow a job to its end."""
        field = self._field(response)
        steps = watch(self._store, self._name(request), self._message, request.resume_token, terminal=self._has_ended)
        async for event, job, token in steps:
            yield response(**{"event": event, field: job, "resume_token": token})

    async def tail(self, request: Any, response: type[R]) -> AsyncIterator[R]:
        """Stream the log of an attempt."""
        name = self._name(request)
        async for text, next_offset in logs.tail(self._runtime, name, request.attempt, request.offset, request.follow):
            yield response(text=text, next_offset=next_offset)

    async def query_metrics(self, request: Any, response: type[R]) -> R:
        """Return a job's metrics, thinned."""
        await self.get(request)
        keys, points_max = list(request.keys), request.points_max
        points = await self._store.read(lambda tx: self._runtime.query(tx, request.name, keys, points_max))
        return response(points=points)

    async def stream_metrics(self, request: Any, response: type[R]) -> AsyncIterator[R]:
        """Stream a job's metrics, by step, until it ends."""
        after, signal = request.from_step - 1, self._store.changed()
        while True:
            sequence = signal.head
            ended = self._has_ended(await self.get(request))
            while points := await self._points(request, after):
                after = points[-1].step
                yield response(points=points)
            if ended:
                return
            logs.check_draining(self._runtime)
            await signal.wait_after(sequence, 1.0)

    async def _points(self, request: Any, after: int) -> Sequence[MetricPoint]:
        keys = list(request.keys)
        return await self._store.read(
            lambda tx: tasks.metrics_after(tx.connection, request.name, keys, after, limit=_POINTS_PER_PAGE)
        )

    def _name(self, request: Any) -> str:
        return check_name(request.name, self._pattern)

    def _field(self, response: type[Message]) -> str:
        """Return the field of a response that takes jobs."""
        wanted = self._message.DESCRIPTOR
        return next(field.name for field in response.DESCRIPTOR.fields if field.message_type is wanted)

    @staticmethod
    def _has_ended(job: Any) -> bool:
        return is_terminal(job.status.state)
