"""The HTTP door: OpenAI's API for completions, embeddings and models, the Open Inference Protocol, feedback, health.

A model is named by its endpoint: `projects/p/endpoints/e`, or `e` alone for the token's only project, or for project
`default` when the token is good for several. `e:a` are the adapters `a` over it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

from bessemer.api.inference.v1.open_inference_pb2 import ModelReadyRequest
from bessemer.api.serve.v1.inference_service_pb2 import EmbedRequest
from bessemer.kernel.errors import InvalidRequest, NotFound, Unimplemented
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
from serve_svc.api.open_inference import read_tensors
from serve_svc.api.open_inference_json import metadata_json, read_infer, response_json
from serve_svc.api.openai_answer import Collected, Shape, error_body, http_status, known_error, quota_headers
from serve_svc.api.openai_request import Ask, read_chat, read_completion, read_embeddings, reseed
from serve_svc.app.answers import Answers
from serve_svc.app.inference import Inference, Part
from serve_svc.app.meter import Meter
from serve_svc.codec import floats, to_prompt, to_sampling
from serve_svc.engine.protocol import Prompt

__all__ = ["HttpDoor"]

T = TypeVar("T")

BODY_BYTES_MAX = 4 << 20  # as over gRPC
DEFAULT_PROJECT = "default"
_GENERATE = "/bessemer.api.serve.v1.InferenceService/StreamGenerate"


class HttpDoor:
    """Answers over HTTP."""

    def __init__(
        self,
        inference: Inference,
        answers: Answers,
        authenticator: Authenticator,
        authorizer: Authorizer,
        *,
        meter: Meter,
    ) -> None:
        self._inference = inference
        self._answers = answers
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._meter = meter

    def app(self) -> Starlette:
        """Return the ASGI application."""
        return Starlette(
            routes=[
                Route("/healthz", _health),
                Route("/v1/models", self._guarded(self._models)),
                Route("/v1/models/{model:path}", self._guarded(self._model)),
                Route("/v1/chat/completions", self._guarded(self._chat), methods=["POST"]),
                Route("/v1/completions", self._guarded(self._complete), methods=["POST"]),
                Route("/v1/embeddings", self._guarded(self._embeddings), methods=["POST"]),
                Route("/v1/feedback", self._guarded(self._feedback), methods=["POST"]),
                Route("/v2/health/live", _alive),
                Route("/v2/health/ready", _alive),
                Route("/v2/models/{model:path}/ready", self._guarded(self._tensors_ready)),
                Route("/v2/models/{model:path}/infer", self._guarded(self._tensors_infer), methods=["POST"]),
                Route("/v2/models/{model:path}", self._guarded(self._tensors)),
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
            quota = self._meter.quota(context.current_principal().subject)
            response.headers.update(quota_headers(quota) if quota else {})
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
        target = _named(request.path_params["model"], context.current_principal())
        for model in await self._listed():
            if _named(model["id"], context.current_principal()) == target:
                return JSONResponse(model)
        raise NotFound(f"no model {request.path_params['model'][:200]!r} is deployed; GET /v1/models lists them")

    async def _listed(self) -> list[dict[str, Any]]:
        principal = context.current_principal()
        self._authorize(principal, {DEFAULT_PROJECT} if "*" in principal.projects else principal.projects)
        near = f"projects/{_project(principal)}/endpoints/"
        listed = []
        for endpoint, adapters in await self._inference.endpoints(principal):
            name = endpoint.name.removeprefix(near)
            facts = {"object": "model", "created": endpoint.create_time.seconds}
            facts["owned_by"] = endpoint.creator or "bessemer"
            listed.append({"id": name, **facts})
            listed += [{"id": f"{name}:{adapter}", **facts, "parent": name} for adapter in adapters]
        return listed

    async def _chat(self, request: Request) -> Response:
        return await self._answer(request, read_chat(await _json(request)), chat=True)

    async def _complete(self, request: Request) -> Response:
        return await self._answer(request, read_completion(await _json(request)), chat=False)

    async def _answer(self, request: Request, ask: Ask, *, chat: bool) -> Response:
        logprobs = ask.requests[0].sampling.HasField("top_logprobs")
        shape = Shape(chat, ask.model, int(time.time()), ask.num_choices, logprobs)
        sources = self._sources(ask) if ask.generates else []
        parts = merged(sources)
        if not ask.stream:
            return JSONResponse(await _unless_disconnected(request, self._whole(ask, parts, shape)))
        # Errors before the first piece still get a status of their own.
        first = await _unless_disconnected(request, anext(parts))
        return _EventStream(_events(first, parts, shape, len(sources), include_usage=ask.include_usage), parts)

    def _sources(self, ask: Ask) -> list[AsyncGenerator[Part, None]]:
        """Return one generator per answer: the choices of the first prompt, then those of the next."""
        principal, sources = context.current_principal(), list[AsyncGenerator[Part, None]]()
        for request in ask.requests:
            request.target, request.adapter = _named(ask.model, principal)
            validate(request, strict=True)
            self._authorize(principal, {request.target.split("/")[1]})
            seed = request.sampling.seed if request.sampling.HasField("seed") else None
            for number in range(ask.num_choices):
                reseed(request.sampling, seed, number)
                prompt, sampling = to_prompt(request.prompt), to_sampling(request.sampling, request.prompt)
                source = self._inference.generate(
                    request.target,
                    prompt,
                    sampling,
                    user=request.user,
                    adapter=request.adapter,
                    single_tool_call=request.prompt.single_tool_call,
                )
                sources.append(source)
        return sources

    async def _whole(self, ask: Ask, parts: AsyncGenerator[tuple[int, Part], None], shape: Shape) -> dict[str, Any]:
        answers = [Collected() for _ in ask.requests for _ in range(ask.num_choices)]
        if ask.echo:
            await self._echo(ask, answers)
        async with aclosing(parts):
            async for index, part in parts:
                answers[index].add(part)
        shape.id = answers[0].response_id or f"cmpl-{context.current_request_id()}"
        return shape.whole(answers)

    async def _echo(self, ask: Ask, answers: Sequence[Collected]) -> None:
        """Put prompts before their answers, with the log-probabilities of their tokens if asked for."""
        principal = context.current_principal()
        for number, request in enumerate(ask.requests):
            request.target = _bare(ask.model, principal)
            validate(request, strict=True)
            self._authorize(principal, {request.target.split("/")[1]})
            text, sampling = request.prompt.text, request.sampling
            scored, _ = await self._inference.score(request.target, Prompt(), [text], sampling.top_logprobs)
            for answer in answers[number * ask.num_choices : (number + 1) * ask.num_choices]:
                answer.text, answer.prompt_tokens = text, len(scored.continuations[0])
                answer.logprobs += scored.continuations[0]

    async def _embeddings(self, request: Request) -> Response:
        ask = read_embeddings(await _json(request))
        target = _bare(ask.model, context.current_principal())
        asked = EmbedRequest(target=target, texts=ask.texts)
        validate(asked, strict=True)
        self._authorize(context.current_principal(), {target.split("/")[1]})
        embedded, _ = await _unless_disconnected(request, self._inference.embed(target, ask.texts))
        vectors = embedded.vectors if ask.base64 else [list(floats(vector)) for vector in embedded.vectors]
        data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
        usage = {"prompt_tokens": embedded.tokens, "total_tokens": embedded.tokens}
        return JSONResponse({"object": "list", "data": data, "model": ask.model, "usage": usage})

    async def _tensors_ready(self, request: Request) -> Response:
        ready = await self._inference.is_ready(self._tensor_target(request))
        return JSONResponse({"ready": ready}, status_code=200 if ready else 503)

    async def _tensors(self, request: Request) -> Response:
        inputs, outputs, version = await self._inference.tensors(self._tensor_target(request))
        return JSONResponse(metadata_json(request.path_params["model"], version, inputs, outputs))

    async def _tensors_infer(self, request: Request) -> Response:
        target, ask = self._tensor_target(request), read_infer(await _json(request))
        wanted = [output.name for output in ask.outputs]
        found, version = await self._inference.infer(target, read_tensors(ask), wanted)
        return JSONResponse(response_json(request.path_params["model"], version, ask.id, found))

    def _tensor_target(self, request: Request) -> str:
        principal = context.current_principal()
        target = _bare(request.path_params["model"], principal)
        validate(ModelReadyRequest(name=target), strict=True)
        self._authorize(principal, {target.split("/")[1]})
        return target

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

    def __init__(self, events: AsyncIterator[bytes], parts: AsyncGenerator[tuple[int, Part], None]) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"cache-control": "no-cache"})
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._parts):
            await super().__call__(scope, receive, send)


async def merged(sources: Sequence[AsyncGenerator[Part, None]]) -> AsyncGenerator[tuple[int, Part], None]:
    """Yield parts of several answers as they come, each with the number of its answer; closing it ends them all.

    Raises: what one of them raises.
    """
    if len(sources) == 1:
        async with aclosing(sources[0]) as parts:
            async for part in parts:
                yield 0, part
        return
    ready: asyncio.Queue[tuple[int, Part] | BaseException | None] = asyncio.Queue()

    async def pump(index: int) -> None:
        try:
            async with aclosing(sources[index]) as parts:
                async for part in parts:
                    ready.put_nowait((index, part))
            ready.put_nowait(None)
        except Exception as error:  # noqa: BLE001 - raised again where the parts are read
            ready.put_nowait(error)

    tasks = [asyncio.create_task(pump(index)) for index in range(len(sources))]
    try:
        left = len(tasks)
        while left:
            item = await ready.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                left -= 1
            else:
                yield item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _events(
    first: tuple[int, Part],
    parts: AsyncGenerator[tuple[int, Part], None],
    shape: Shape,
    num_answers: int,
    *,
    include_usage: bool,
) -> AsyncIterator[bytes]:
    shape.id, answers = first[1].response_id, [Collected() for _ in range(num_answers)]
    openings = [chunk for index in range(num_answers) for chunk in shape.opening(index)]
    yield b"".join(map(_event, openings + shape.pieces(*first)))
    answers[first[0]].add(first[1])
    try:
        async for index, part in parts:
            answers[index].add(part)
            yield b"".join(map(_event, shape.pieces(index, part)))
        if include_usage:
            yield _event(shape.usage(answers))
    except Exception as error:  # noqa: BLE001 - the status is sent already; the stream carries the error
        yield _event(error_body(known_error(error)))
    yield b"data: [DONE]\n\n"


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


async def _alive(_request: Request) -> Response:
    return Response()


async def _health(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


def _named(model: str, principal: Principal) -> tuple[str, str]:
    """Return the full name of an endpoint and the id of adapters, or empty."""
    endpoint, _, adapter = model.partition(":")
    return endpoint if "/" in endpoint else f"projects/{_project(principal)}/endpoints/{endpoint}", adapter


def _bare(model: str, principal: Principal) -> str:
    """Return the full name of an endpoint.

    Raises: Unimplemented if adapters are named.
    """
    target, adapter = _named(model, principal)
    if adapter:
        raise Unimplemented(f"adapters answer prompts only; ask {model.partition(':')[0]!r} for this", field="model")
    return target


def _project(principal: Principal) -> str:
    """Return the project that short names lie in."""
    (*others, last) = sorted(principal.projects) or [DEFAULT_PROJECT]
    return DEFAULT_PROJECT if others or last == "*" else last


def _refusal(error: Exception) -> Response:
    known = known_error(error)
    headers = {"retry-after": known.fields["retry_after_s"]} if "retry_after_s" in known.fields else {}
    code = 413 if isinstance(error, _TooLarge) else http_status(known)
    return JSONResponse(error_body(known), status_code=code, headers=headers)


def _event(chunk: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(chunk, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
