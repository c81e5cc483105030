"""The HTTP door: OpenAI's API for completions and models, feedback, health.

A model is named by its endpoint: `projects/p/endpoints/e`, or `e` alone for the token's only project, or for project
`default` when the token is good for several.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from bessemer.kernel.errors import BessemerError, Internal, InvalidRequest, NotFound
from bessemer.kernel.ids import new_uid
from bessemer.svckit import context, log
from bessemer.svckit.auth import Authenticator
from bessemer.svckit.authorization import Authorizer
from bessemer.svckit.context import Principal
from bessemer.svckit.methods import method_table
from bessemer.svckit.validation import validate
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from serve_svc.api.feedback_json import read_feedback
from serve_svc.api.openai_json import Ask, Shape, error_body, http_status, read_ask
from serve_svc.app.answers import Answers
from serve_svc.app.inference import Inference, Part
from serve_svc.codec import to_prompt, to_sampling

__all__ = ["HttpDoor"]

T = TypeVar("T")

BODY_BYTES_MAX = 4 << 20  # as over gRPC
DEFAULT_PROJECT = "default"
_GENERATE = "/bessemer.api.serve.v1.InferenceService/StreamGenerate"


class HttpDoor:
    """Answers over HTTP."""

    def __init__(
        self, inference: Inference, answers: Answers, authenticator: Authenticator, authorizer: Authorizer
    ) -> None:
        self._inference = inference
        self._answers = answers
        self._authenticator = authenticator
        self._authorizer = authorizer

    def app(self) -> Starlette:
        """Return the ASGI application."""
        return Starlette(
            routes=[
                Route("/healthz", _health),
                Route("/v1/models", self._guarded(self._models)),
                Route("/v1/models/{model:path}", self._guarded(self._model)),
                Route("/v1/chat/completions", self._guarded(self._chat), methods=["POST"]),
                Route("/v1/completions", self._guarded(self._complete), methods=["POST"]),
                Route("/v1/feedback", self._guarded(self._feedback), methods=["POST"]),
            ]
        )

    def _guarded(self, handle: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def serve(request: Request) -> Response:
            started_s, request_id = time.monotonic(), new_uid()
            context.request_id.set(request_id)
            try:
                context.principal.set(self._authenticator.authenticate(request.headers.get("authorization", "")))
                response = await handle(request)
            except ClientDisconnect:
                response = Response(status_code=499)
            except Exception as error:  # noqa: BLE001 - the door's last frame: say what the client may know
                response = _refusal(error)
            response.headers["x-request-id"] = request_id
            log.info(
                "http",
                path=request.url.path,
                status=response.status_code,
                duration_ms=round((time.monotonic() - started_s) * 1e3, 3),
                subject=context.current_principal().subject,
            )
            return response

        return serve

    async def _models(self, _request: Request) -> Response:
        return JSONResponse({"object": "list", "data": await self._listed()})

    async def _model(self, request: Request) -> Response:
        target = _target(request.path_params["model"], context.current_principal())
        for model in await self._listed():
            if _target(model["id"], context.current_principal()) == target:
                return JSONResponse(model)
        raise NotFound(f"no model {request.path_params['model'][:200]!r} is deployed; GET /v1/models lists them")

    async def _listed(self) -> list[dict[str, Any]]:
        principal = context.current_principal()
        self._authorize(principal, {DEFAULT_PROJECT} if "*" in principal.projects else principal.projects)
        near = f"projects/{_project(principal)}/endpoints/"
        return [
            {
                "id": endpoint.name.removeprefix(near),
                "object": "model",
                "created": endpoint.create_time.seconds,
                "owned_by": endpoint.creator or "bessemer",
            }
            for endpoint in await self._inference.endpoints(principal)
        ]

    async def _chat(self, request: Request) -> Response:
        return await self._answer(request, chat=True)

    async def _complete(self, request: Request) -> Response:
        return await self._answer(request, chat=False)

    async def _answer(self, request: Request, *, chat: bool) -> Response:
        ask = read_ask(await _json(request), chat=chat)
        parts = self._parts(ask)
        shape = Shape(chat, ask.model, int(time.time()))
        if not ask.stream:
            return JSONResponse(await _unless_disconnected(request, _whole(parts, shape)))
        # Errors before the first piece still get a status of their own.
        first = await _unless_disconnected(request, anext(parts))
        return _EventStream(_events(first, parts, shape, include_usage=ask.include_usage), parts)

    def _parts(self, ask: Ask) -> AsyncGenerator[Part, None]:
        principal = context.current_principal()
        ask.request.target = _target(ask.model, principal)
        validate(ask.request, strict=True)
        self._authorize(principal, {ask.request.target.split("/")[1]})
        prompt, sampling = to_prompt(ask.request.prompt), to_sampling(ask.request.sampling)
        return self._inference.generate(ask.request.target, prompt, sampling, ask.request.user)

    async def _feedback(self, request: Request) -> Response:
        record = read_feedback(await _json(request))
        project = await self._answers.project_of(record.response_id)
        self._authorize(context.current_principal(), {project})
        stored = await self._answers.submit_feedback(record)
        return JSONResponse({"object": "feedback", "name": stored.name, "response_id": stored.response_id})

    def _authorize(self, principal: Principal, projects: set[str] | frozenset[str]) -> None:
        method = method_table()[_GENERATE]
        self._authorizer.check(principal, action=method.action, permission=method.permission, projects=projects)


class _EventStream(StreamingResponse):
    """Server-sent events whose source is closed however the response ends, so that the slot is free."""

    def __init__(self, events: AsyncIterator[bytes], parts: AsyncGenerator[Part, None]) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"cache-control": "no-cache"})
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._parts):
            await super().__call__(scope, receive, send)


async def _events(
    first: Part, parts: AsyncGenerator[Part, None], shape: Shape, *, include_usage: bool
) -> AsyncIterator[bytes]:
    part = first
    chunks = shape.opening(first) + shape.pieces(first)
    yield b"".join(map(_event, chunks))
    try:
        async for part in parts:
            yield b"".join(map(_event, shape.pieces(part)))
        if include_usage:
            yield _event(shape.usage(part))
    except Exception as error:  # noqa: BLE001 - the status is sent already; the stream carries the error
        yield _event(error_body(_known(error)))
    yield b"data: [DONE]\n\n"


async def _whole(parts: AsyncGenerator[Part, None], shape: Shape) -> dict[str, Any]:
    texts: list[str] = []
    async with aclosing(parts):
        async for part in parts:
            texts.append(part.piece.text)
    return shape.whole("".join(texts), part)


async def _unless_disconnected(request: Request, work: Coroutine[Any, Any, T] | Awaitable[T]) -> T:
    """Await work, and cancel it when the client goes away.

    Raises: ClientDisconnect; what the work raises.
    """
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait([task, gone], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        for future in (task, gone):
            future.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _json(request: Request) -> object:
    body = b""
    async for block in request.stream():
        body += block
        if len(body) > BODY_BYTES_MAX:
            raise _TooLarge(f"the body may have at most {BODY_BYTES_MAX} bytes")
    try:
        value: object = json.loads(body)
        json.dumps(value, ensure_ascii=False).encode()  # escapes may spell halves of characters, which are no text
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"the body is not valid JSON: {error}") from None
    return value


class _TooLarge(InvalidRequest):
    """Refused before it was read whole."""


async def _health(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


def _target(model: str, principal: Principal) -> str:
    """Return the full name of an endpoint."""
    return model if "/" in model else f"projects/{_project(principal)}/endpoints/{model}"


def _project(principal: Principal) -> str:
    """Return the project that short names lie in."""
    (*others, last) = sorted(principal.projects) or [DEFAULT_PROJECT]
    return DEFAULT_PROJECT if others or last == "*" else last


def _refusal(error: Exception) -> Response:
    known = _known(error)
    headers = {"retry-after": known.fields["retry_after_s"]} if "retry_after_s" in known.fields else {}
    code = 413 if isinstance(error, _TooLarge) else http_status(known)
    return JSONResponse(error_body(known), status_code=code, headers=headers)


def _known(error: Exception) -> BessemerError:
    if isinstance(error, BessemerError) and not isinstance(error, Internal):
        return error
    incident = new_uid()
    log.error("http_defect", exc=error, incident=incident)
    return Internal(f"the server has a defect; tell its operator incident {incident}", incident=incident)


def _event(chunk: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(chunk, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
