"""What happens around every handler; one chain is built per method when the server starts.

From the outside in: request context, span, error mapping, admission, authentication, authorization, validation,
idempotency.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import time
from collections import namedtuple
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import grpc
import grpc.aio
from google.protobuf.message import Message
from google.rpc import status_pb2
from opentelemetry.trace import Span

from bessemer.kernel.errors import (
    AlreadyExists,
    BessemerError,
    Conflict,
    DeadlineExceeded,
    Internal,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from bessemer.kernel.ids import new_uid
from bessemer.svckit import context, log, status, telemetry
from bessemer.svckit.auth import ANONYMOUS, Authenticator
from bessemer.svckit.authorization import Authorizer
from bessemer.svckit.context import IdempotencyKey
from bessemer.svckit.methods import Method, method_table
from bessemer.svckit.validation import projects_in, validate

__all__ = ["Admission", "Chain", "Replay"]

# Returns the digest of the request that used the key before, and the resource it made: None if deleted since.
Replay: TypeAlias = Callable[[IdempotencyKey, type[Message]], Awaitable[tuple[str, Message | None] | None]]

_DEADLINE_LEAST_S = 0.005
_UNARY_CAP_S = 60.0
_RETRY_S = 0.2
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")


class Admission:
    """Counts what is in flight; refuses what is too much, and changes while the server drains."""

    def __init__(self, *, calls_max: int = 512, streams_max: int = 256) -> None:
        self.draining = False
        self.num_calls = 0
        self._calls_max = calls_max
        self._streams_max = streams_max
        self._followers: set[_Call] = set()
        self._num_streams = 0

    def drain(self) -> None:
        """Refuse every call from now on that changes something."""
        self.draining = True

    def end_followers(self) -> None:
        """End all streams that only follow something; their clients resume elsewhere."""
        for call in list(self._followers):
            call.evicted = True
            if call.task is not None:
                call.task.cancel()

    @contextlib.contextmanager
    def admit(self, call: _Call) -> Any:
        """Hold a place while the call runs.

        Raises: Unavailable with a time to retry after.
        """
        method = call.method
        if self.draining and (method.streams or not method.reads_only):
            raise Unavailable("the server is shutting down; retry", reason="DRAINING", retry_after_s=_RETRY_S)
        if method.streams:
            with self._admit_stream(call):
                yield
            return
        if self.num_calls >= self._calls_max:
            raise _too_many(f"{self._calls_max} calls")
        self.num_calls += 1
        try:
            yield
        finally:
            self.num_calls -= 1

    @contextlib.contextmanager
    def _admit_stream(self, call: _Call) -> Any:
        if self._num_streams >= self._streams_max:
            raise _too_many(f"{self._streams_max} streams")
        self._num_streams += 1
        if call.method.reads_only:
            self._followers.add(call)
        try:
            yield
        finally:
            self._num_streams -= 1
            self._followers.discard(call)


def _too_many(what: str) -> Unavailable:
    return Unavailable(f"the server is busy with {what}; retry", reason="RATE_LIMITED", retry_after_s=_RETRY_S)


@dataclass(eq=False, slots=True)
class _Call:
    """One call while it is served."""

    method: Method
    rpc: grpc.aio.ServicerContext[Any, Any]
    metadata: dict[str, str | bytes]
    span: Span
    started: float
    peer: str
    code: str = "OK"
    subject: str = ""
    evicted: bool = False
    replayed: bool = False
    task: asyncio.Task[Any] | None = field(default=None)


class Chain:
    """Wraps handlers; one per server."""

    def __init__(
        self,
        authenticator: Authenticator,
        authorizer: Authorizer,
        admission: Admission,
        *,
        replay: Replay | None = None,
    ) -> None:
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._admission = admission
        self._replay = replay

    def wrap(self, path: str, handler: Any) -> Any:
        """Return the handler with everything around it.

        Raises: Internal if the method has no access rule, or streams from the client.
        """
        method = method_table().get(path)
        if method is None or not method.permission or not method.action:
            raise Internal(f"{path} has no access rule; add option (bessemer.api.common.v1.rule) to its definition")
        if handler.request_streaming:
            raise Internal(f"{path} streams from the client; only unary and server-streaming methods are served")
        make = grpc.unary_stream_rpc_method_handler if method.streams else grpc.unary_unary_rpc_method_handler
        behaviour = (
            self._stream(method, handler.unary_stream) if method.streams else self._unary(method, handler.unary_unary)
        )
        return make(
            behaviour,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _unary(self, method: Method, handler: Callable[..., Awaitable[Message]]) -> Callable[..., Awaitable[Message]]:
        async def serve(request: Message, rpc: grpc.aio.ServicerContext[Any, Any]) -> Message:
            call = _begin(method, rpc)
            try:
                with self._admission.admit(call):
                    cap_s = _set_deadline(call, _UNARY_CAP_S)
                    self._check(call, request)
                    async with asyncio.timeout(cap_s) as timer:
                        return await self._answer(call, handler, request)
            except (Exception, asyncio.CancelledError) as error:
                failure = error
                if isinstance(error, TimeoutError) and timer.expired():
                    failure = DeadlineExceeded(f"no answer within {_UNARY_CAP_S:g} s; send a longer deadline")
                await _fail(call, failure)
                raise
            finally:
                _end(call)

        return serve

    def _stream(
        self, method: Method, handler: Callable[..., AsyncIterator[Message]]
    ) -> Callable[..., AsyncIterator[Message]]:
        async def serve(request: Message, rpc: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Message]:
            call = _begin(method, rpc)
            call.task = asyncio.current_task()
            try:
                with self._admission.admit(call):
                    _set_deadline(call, None)
                    self._check(call, request)
                    messages: Any = handler(request, rpc)
                    async with contextlib.aclosing(messages):
                        async for message in messages:
                            yield message
            except (Exception, asyncio.CancelledError) as error:
                await _fail(call, error)
                raise
            finally:
                _end(call)

        return serve

    def _check(self, call: _Call, request: Message) -> None:
        """Authenticate, authorize, validate, and note the key of a repeatable call."""
        method = call.method
        authorization = call.metadata.get("authorization", "")
        if method.action == "public" and not authorization:
            principal = ANONYMOUS
        else:
            principal = self._authenticator.authenticate(str(authorization))
        call.subject = principal.subject
        context.principal.set(principal)
        self._authorizer.check(
            principal, action=method.action, permission=method.permission, projects=projects_in(request)
        )
        validate(request, strict=not method.reads_only)
        if method.has_request_id and (request_id := getattr(request, "request_id", "")):
            digest = hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest()
            context.idempotency.set(IdempotencyKey(principal.subject, method.path, request_id, digest))

    async def _answer(self, call: _Call, handler: Callable[..., Awaitable[Message]], request: Message) -> Message:
        key = context.idempotency.get()
        if key is None or self._replay is None:
            return await handler(request, call.rpc)
        if (earlier := await self._earlier(call, key, self._replay)) is not None:
            return earlier
        try:
            return await handler(request, call.rpc)
        except (AlreadyExists, Conflict, Unavailable):
            # The same call may have been served twice at once; the loser answers like the winner.
            if (earlier := await self._earlier(call, key, self._replay)) is not None:
                return earlier
            raise

    async def _earlier(self, call: _Call, key: IdempotencyKey, replay: Replay) -> Message | None:
        found = await replay(key, call.method.response)
        if found is None:
            return None
        digest, resource = found
        if digest != key.request_sha256:
            raise Conflict(
                f"request_id {key.request_id!r} was used before with another request; send a fresh one",
                reason="REQUEST_ID_REUSED",
            )
        if resource is None:
            raise NotFound(f"request_id {key.request_id!r} was served before; what it made was deleted since")
        call.replayed = True
        return resource


def _begin(method: Method, rpc: grpc.aio.ServicerContext[Any, Any]) -> _Call:
    metadata: dict[str, str | bytes] = dict(rpc.invocation_metadata() or ())
    given = metadata.get("x-request-id", "")
    context.request_id.set(given if isinstance(given, str) and _REQUEST_ID.fullmatch(given) else new_uid())
    span = telemetry.begin_server_span(method.path, str(metadata.get(telemetry.HEADER, "")))
    # Asked now: a stream that its client left is ended after the call is gone, and asking a call that is gone crashes.
    return _Call(method, rpc, metadata, span, time.monotonic(), rpc.peer())


def _set_deadline(call: _Call, cap_s: float | None) -> float | None:
    """Note the caller's deadline; return the cap for a call without one.

    Raises: InvalidRequest for a deadline that cannot be met.
    """
    remaining_s = call.rpc.time_remaining()
    if remaining_s is not None and remaining_s < _DEADLINE_LEAST_S:
        raise InvalidRequest(
            f"only {max(0.0, remaining_s) * 1e3:.1f} ms were left on arrival; give the call more time",
            reason="DEADLINE_INVALID",
        )
    end_s = cap_s if remaining_s is None else remaining_s
    context.deadline.set(None if end_s is None else time.monotonic() + end_s)
    return cap_s if remaining_s is None else None


async def _fail(call: _Call, error: BaseException) -> None:
    """End the call with what the client may know; returns only for errors that must travel on."""
    if isinstance(error, asyncio.CancelledError):
        if not call.evicted:
            call.code = "CANCELLED"
            return
        if call.task is not None:
            call.task.uncancel()
        error = Unavailable("the server is shutting down; resume", reason="DRAINING", retry_after_s=_RETRY_S)
    if isinstance(error, grpc.aio.AbortError):
        code = call.rpc.code()
        call.code = code.name if isinstance(code, grpc.StatusCode) else "UNKNOWN"
        return
    if isinstance(error, NotImplementedError):
        call.code = "UNIMPLEMENTED"
        await call.rpc.abort(grpc.StatusCode.UNIMPLEMENTED, f"{call.method.path} is not served here")
    known = _translate(call, error)
    call.code = known.code
    await call.rpc.abort_with_status(_on_wire(known))


def _translate(call: _Call, error: BaseException) -> BessemerError:
    if isinstance(error, BessemerError) and type(error) is not Internal:
        return error
    if isinstance(error, grpc.RpcError):
        peer_error = status.from_rpc_error(error)
        if not isinstance(peer_error, (Internal, Unauthenticated, PermissionDenied)):
            return peer_error
    incident = new_uid()
    log.error("rpc_defect", exc=error, method=call.method.path, incident=incident)
    return Internal("the server has a defect; tell its operator the incident id", incident=incident)


class _Status(namedtuple("_Status", "code details trailing_metadata"), grpc.Status):  # noqa: PYI024 (grpc wants both)
    __slots__ = ()


def _on_wire(error: BessemerError) -> _Status:
    rich: status_pb2.Status = status.to_status(error)
    metadata: list[tuple[str, str | bytes]] = [(status.DETAILS_KEY, rich.SerializeToString())]
    if (pushback_ms := status.retry_after_ms(error)) is not None:
        metadata.append(("grpc-retry-pushback-ms", str(pushback_ms)))
    return _Status(grpc.StatusCode[error.code], rich.message, tuple(metadata))


def _end(call: _Call) -> None:
    seconds = time.monotonic() - call.started
    telemetry.end_server_span(call.span, call.method.path, call.code, seconds)
    log.info(
        "rpc",
        method=call.method.path,
        code=call.code,
        duration_ms=round(seconds * 1e3, 3),
        subject=call.subject,
        peer=call.peer,
        **({"replayed": True} if call.replayed else {}),
    )
