"""Engines that run elsewhere: any server with OpenAI's API, such as vLLM, SGLang or llama.cpp's.

What such a server has no way to say is Unimplemented, a server that is away Unavailable. An answer is aborted by
closing its connection, which every one of them takes as the end of the request.
"""

from __future__ import annotations

import array
import asyncio
import base64
import itertools
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import httpx
from bessemer.api.serve.v1.deployment_pb2 import Deployment
from bessemer.kernel.errors import (
    BessemerError,
    FailedPrecondition,
    InvalidRequest,
    LimitReached,
    Unavailable,
    Unimplemented,
)
from bessemer.svckit import log
from bessemer.svckit.config import InferenceServer

from serve_svc.adapters.lacking import Lacking
from serve_svc.adapters.openai_body import TOOL_FORMAT, Reading, request_of
from serve_svc.engine.protocol import Embedded, Piece, Prompt, Sampling

__all__ = ["OpenAIEngine", "OpenAIServers"]

_TIMEOUT = httpx.Timeout(connect=10.0, write=60.0, read=600.0, pool=None)  # the first token of a long queue may be late
_EVENT_CHARS_MAX = 8 << 20


class OpenAIServers:
    """The inference servers that the settings name."""

    def __init__(self, servers: Mapping[str, InferenceServer]) -> None:
        self._servers = servers

    @property
    def names(self) -> Sequence[str]:
        """What deployments may name."""
        return sorted(self._servers)

    async def connect(self, deployment: Deployment) -> OpenAIEngine:
        """Return an engine once its server says that it has the model.

        Raises: Unavailable while the server is away; FailedPrecondition if it is not in the settings any more, does not
        have the model, or refuses our key.
        """
        server = self._servers.get(deployment.server)
        if server is None:
            raise FailedPrecondition(f"the settings name no inference server {deployment.server!r} any more")
        headers = {"authorization": f"Bearer {server.api_key}"} if server.api_key else {}
        verify = str(server.ca_file) if server.ca_file else True
        client = httpx.AsyncClient(
            base_url=server.url.rstrip("/") + "/", headers=headers, timeout=_TIMEOUT, verify=verify, trust_env=False
        )
        engine = OpenAIEngine(deployment.name, client)
        try:
            await engine.open(deployment.served_model, deployment.context_length)
        except BaseException:
            await engine.close()
            raise
        return engine


class OpenAIEngine(Lacking):
    """One model of one server."""

    what = "this endpoint's inference server"
    kind = "openai_http"
    capacity = 0  # nobody tells
    precision = ""  # nobody tells
    tool_format = TOOL_FORMAT

    def __init__(self, deployment: str, client: httpx.AsyncClient) -> None:
        self.context_length = 0
        self.model = self.owner = ""
        self._deployment = deployment
        self._client = client
        self._closed = asyncio.Event()
        self._aborted: dict[str, asyncio.Future[None]] = {}
        self._numbers = itertools.count(1)

    async def open(self, wanted: str, context_length: int) -> None:
        """Find the model.

        Raises: Unavailable; FailedPrecondition if the server does not have it, or several when none is named.
        """
        models = (await self._get("models")).get("data") or []
        found = [model for model in models if model.get("id") == wanted or not wanted]
        if len(found) != 1:
            names = ", ".join(str(model.get("id")) for model in models[:20]) or "none"
            wish = f"no model {wanted!r}" if wanted else "not exactly one model"
            raise FailedPrecondition(f"the inference server has {wish}; it has {names}", field="served_model")
        self.model, self.owner = found[0]["id"], str(found[0].get("owned_by", ""))
        self.context_length = int(found[0].get("max_model_len") or context_length)
        log.info("inference_server", deployment=self._deployment, model=self.model, owner=self.owner)

    async def generate(
        self, prompt: Prompt, sampling: Sampling, request_id: str = "", adapter: str = ""
    ) -> AsyncGenerator[Piece, None]:
        """Yield pieces of the answer; closing the generator early closes the connection."""
        if adapter:
            raise self._lack("takes no adapters")
        path, body = request_of(self.model, self.owner, prompt, sampling)
        request_id = request_id or f"h{next(self._numbers)}"
        reading = Reading(request_id)
        stopped = self._aborted[request_id] = asyncio.get_running_loop().create_future()
        try:
            async with self._stream(path, body) as events, aclosing(events):
                while (event := await _next(events, stopped)) is not None:
                    if event.get("error"):
                        raise self._failure(500, event)
                    piece = reading.take(event)
                    if piece is not None:
                        yield piece
        finally:
            del self._aborted[request_id]
        if not stopped.done() and not reading.finish:
            raise self._away("ended its answer in the middle")
        yield reading.last("abort" if stopped.done() else "")

    async def abort(self, request_id: str) -> None:
        """End an answer, whose last piece then finishes with `abort`; an unknown one is ignored."""
        stopped = self._aborted.get(request_id)
        if stopped is not None and not stopped.done():
            stopped.set_result(None)

    async def count_tokens(self, prompt: Prompt) -> int:
        """Return the number of tokens of a rendered prompt, which the server reads to tell."""
        async with aclosing(self.generate(prompt, Sampling(max_tokens=1, temperature=0.0))) as pieces:
            last = [piece async for piece in pieces][-1]
        if not last.prompt_tokens:
            raise self._lack("does not tell how many tokens a prompt has")
        return last.prompt_tokens

    async def embed(self, texts: Sequence[str]) -> Embedded:
        """Return one vector per text, as the server scales it.

        Raises: Unimplemented where the server makes none.
        """
        body = {"model": self.model, "input": list(texts), "encoding_format": "float"}
        try:
            reply = await self._answered(await self._send(self._client.build_request("POST", "embeddings", json=body)))
        except (FailedPrecondition, Unimplemented) as error:
            raise Unimplemented(f"this endpoint's inference server makes no vectors: {error.message}") from None
        rows = sorted(reply["data"], key=lambda row: row["index"])
        vectors = tuple(base64.b64encode(array.array("f", row["embedding"]).tobytes()).decode() for row in rows)
        return Embedded("", vectors, int(reply.get("usage", {}).get("prompt_tokens", 0)))

    async def responds(self, timeout_s: float) -> bool:
        """Say whether the server lists its models in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._get("models")
                return True
        except (TimeoutError, BessemerError):
            return False

    async def ended(self, timeout_s: float) -> bool:
        """Wait until the engine was closed, at most so long, and say whether it was."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._closed.wait()
        return self._closed.is_set()

    async def close(self) -> None:
        """Close all connections; answers in flight end with Unavailable."""
        self._closed.set()
        await self._client.aclose()

    @asynccontextmanager
    async def _stream(self, path: str, body: Mapping[str, Any]) -> AsyncIterator[AsyncGenerator[dict[str, Any], None]]:
        response = await self._send(self._client.build_request("POST", path, json=body))
        try:
            if response.status_code != httpx.codes.OK:
                await self._answered(response)
            yield self._events(response)
        finally:
            await response.aclose()

    async def _events(self, response: httpx.Response) -> AsyncGenerator[dict[str, Any], None]:
        """Yield what the server sends until it says that it is done."""
        try:
            async for line in response.aiter_lines():
                name, _, data = line.partition(":")
                if name != "data":
                    continue  # comments that keep the connection open, names of events
                if data.strip() == "[DONE]":
                    return
                if len(data) > _EVENT_CHARS_MAX:
                    raise self._away("sent an event without end")
                event = json.loads(data)
                if not isinstance(event, dict):
                    raise self._away("sent an event that is no object")
                yield event
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise self._away(f"broke its answer off ({type(error).__name__})") from None
        except ValueError:
            raise self._away("sent an event that is no JSON") from None

    async def _send(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self._client.send(request, stream=True)
        except (httpx.HTTPError, RuntimeError) as error:  # the latter after close
            raise self._away(f"cannot be reached ({type(error).__name__})") from None

    async def _get(self, path: str) -> dict[str, Any]:
        return await self._answered(await self._send(self._client.build_request("GET", path)))

    async def _answered(self, response: httpx.Response) -> dict[str, Any]:
        """Return the whole body of a response.

        Raises: what its status means.
        """
        try:
            body = await response.aread()
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise self._away(f"broke its answer off ({type(error).__name__})") from None
        finally:
            await response.aclose()
        try:
            content = json.loads(body)
        except ValueError:
            content = None
        if response.status_code != httpx.codes.OK or not isinstance(content, dict):
            raise self._failure(response.status_code, content, response.headers.get("retry-after", ""))
        return content

    def _failure(self, status: int, content: Any, retry_after: str = "") -> BessemerError:
        """Return the error that a refusal of the server means for whoever asked us."""
        error = content.get("error") if isinstance(content, dict) else None
        said = error if isinstance(error, dict) else content if isinstance(content, dict) else {}
        text = str(said.get("message") or said.get("detail") or f"status {status}")[:1000]
        if status in {401, 403}:
            return FailedPrecondition(f"the inference server of {self._deployment} refuses our key; set it anew")
        if status == httpx.codes.NOT_FOUND:
            return FailedPrecondition(f"the inference server of {self._deployment} does not know this: {text}")
        if status in {405, 501}:
            return Unimplemented(f"the inference server of {self._deployment} cannot do this: {text}")
        if status in {408, 429}:
            wait_s = retry_after if retry_after.isdigit() else "2"
            return LimitReached(f"the inference server is busy: {text}", retry_after_s=wait_s)
        if 400 <= status < 500:
            too_long = "context_length" in str(said.get("code")) or said.get("type") == "exceed_context_size_error"
            return InvalidRequest(text, reason="CONTEXT_TOO_LONG" if too_long else None, field="prompt")
        return self._away(f"failed: {text}")

    def _away(self, what: str) -> Unavailable:
        text = f"the inference server of {self._deployment} {what}; repeat the request in some seconds"
        return Unavailable(text, resource=self._deployment, retry_after_s=2)


async def _next(events: AsyncGenerator[dict[str, Any], None], stopped: asyncio.Future[None]) -> dict[str, Any] | None:
    """Return the next event; None at the end, or as soon as somebody stops the answer."""
    coming = asyncio.ensure_future(anext(events, None))
    try:
        either: set[asyncio.Future[Any]] = {coming, stopped}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        return coming.result() if coming.done() else None
    finally:
        if not coming.done():
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
