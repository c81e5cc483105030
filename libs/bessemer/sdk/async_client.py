"""The asynchronous client: the same surface as `Client`, awaited."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import httpx

from bessemer.kernel.errors import Unavailable
from bessemer.kernel.ids import project_of
from bessemer.sdk.calls import build, calls
from bessemer.sdk.client import RECONNECT_LIMIT_S
from bessemer.sdk.connection import Connection
from bessemer.sdk.files import FilePart, download_target, raise_for_transfer
from bessemer.sdk.jobs import ended, job_kind, raise_unless_succeeded
from bessemer.svckit.client import channel
from bessemer.svckit.methods import Method
from bessemer.svckit.status import from_rpc_error

__all__ = ["AsyncArea", "AsyncClient"]


class AsyncArea:
    """The RPCs of one service as coroutines and asynchronous iterators."""

    def __init__(self, area: str, connection: Connection) -> None:
        self._calls = calls(area)
        self._channel = channel(connection.address(area), token=connection.token)
        self._area = area

    def __dir__(self) -> list[str]:
        return sorted(self._calls)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        try:
            call = self._calls[name]
        except KeyError:
            raise AttributeError(f"{self._area} has no RPC {name!r}; it has {', '.join(sorted(self._calls))}") from None
        return self._stream(call) if call.streams else self._unary(call)

    def _unary(self, call: Method) -> Callable[..., Any]:
        send = self._channel.unary_unary(
            call.path, request_serializer=call.request.SerializeToString, response_deserializer=call.response.FromString
        )

        async def method(*, timeout_s: float | None = None, **fields: Any) -> Any:
            try:
                return await send(build(call, fields), timeout=timeout_s)
            except grpc.RpcError as error:
                raise from_rpc_error(error) from None

        return method

    def _stream(self, call: Method) -> Callable[..., AsyncIterator[Any]]:
        send = self._channel.unary_stream(
            call.path, request_serializer=call.request.SerializeToString, response_deserializer=call.response.FromString
        )

        async def method(*, timeout_s: float | None = None, **fields: Any) -> AsyncIterator[Any]:
            stream = send(build(call, fields), timeout=timeout_s)
            try:
                async for message in stream:
                    yield message
            except grpc.RpcError as error:
                raise from_rpc_error(error) from None
            finally:
                stream.cancel()  # grpcio does not cancel an abandoned stream by itself

        return method

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()


class AsyncClient:
    """Talks to a Bessemer installation from asyncio code.

    Wrap streams in `contextlib.aclosing` when you may leave them early.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.data = AsyncArea("data", connection)
        self.train = AsyncArea("train", connection)
        self.eval = AsyncArea("eval", connection)
        self.serve = AsyncArea("serve", connection)

    @staticmethod
    def connect(home: str | Path = ".bessemer") -> AsyncClient:
        """Connect to the stack that `bessemer up` started in `home`; call inside a running loop."""
        return AsyncClient(Connection.from_home(Path(home)))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all channels."""
        for area in (self.data, self.train, self.eval, self.serve):
            await area.close()

    async def pages(self, method: Callable[..., Any], **fields: Any) -> AsyncIterator[Any]:
        """Yield every resource of a list method, fetching pages as needed."""
        token = ""
        while True:
            page = await method(page_token=token, **fields)
            repeated = next(field for field in page.DESCRIPTOR.fields if field.is_repeated)
            for resource in getattr(page, repeated.name):
                yield resource
            token = page.next_page_token
            if not token:
                return

    async def watch(self, name: str) -> AsyncGenerator[Any, None]:
        """Yield a job whenever it changes, to its end; survives restarts of the server.

        Raises: Unavailable when the server stays away for a minute.
        """
        kind = job_kind(name)
        method = getattr(getattr(self, kind.area), f"watch_{kind.snake}")
        token, last_heard = "", time.monotonic()
        while True:
            try:
                async with aclosing(method(name=name, resume_token=token)) as messages:
                    async for message in messages:
                        token, last_heard = message.resume_token, time.monotonic()
                        if message.HasField(kind.snake):
                            yield getattr(message, kind.snake)
                            if ended(getattr(message, kind.snake)):
                                return
            except Unavailable:
                if time.monotonic() - last_heard > RECONNECT_LIMIT_S:
                    raise
                await asyncio.sleep(0.5)

    async def wait(self, name: str, *, on_change: Callable[[Any], None] | None = None) -> Any:
        """Return the job called `name` once it succeeded.

        Raises: JobNotSuccessful if it failed or was cancelled.
        """
        job = None
        async with aclosing(self.watch(name)) as states:
            async for job in states:
                if on_change:
                    on_change(job)
        return raise_unless_succeeded(job)

    async def upload(
        self, project: str, path: str | Path, *, media_type: str = "", terms: Mapping[str, str] | None = None
    ) -> Any:
        """Upload a file by signed URL and return the completed `Upload`.

        `terms` are its owner's: `license`, `consent` and `retain_until`, a day.
        """
        path = Path(path)
        digest = await asyncio.to_thread(_digest, path)
        upload = await self.data.create_upload(
            parent=project,
            file_name=path.name,
            sha256=digest,
            size_bytes=path.stat().st_size,
            media_type=media_type,
            **(terms or {}),
        )
        if not upload.complete:
            with FilePart(path, None) as body:

                async def chunks() -> AsyncIterator[bytes]:
                    for chunk in body:
                        yield chunk

                headers = {**upload.headers, "content-length": str(body.size_bytes)}
                async with httpx.AsyncClient(timeout=600, trust_env=False) as http:
                    raise_for_transfer(await http.put(upload.url, content=chunks(), headers=headers))
        return await self.data.complete_upload(name=upload.name, timeout_s=600)

    async def download(self, artifact: Any, path: str | Path) -> Path:
        """Download an artifact by signed URL, verified against its digest, into `path`.

        Raises: DataLoss if the bytes do not have the recorded digest.
        """
        parent = f"projects/{project_of(artifact.key)}"
        url = (await self.data.create_download(parent=parent, artifact=artifact)).url
        with download_target(Path(path), artifact) as write:
            async with httpx.AsyncClient(timeout=600, trust_env=False) as http, http.stream("GET", url) as response:
                if response.status_code >= 400:
                    await response.aread()
                raise_for_transfer(response)
                async for chunk in response.aiter_bytes(1 << 20):
                    write(chunk)
        return Path(path)

    async def chat(self, endpoint: str, messages: list[dict[str, str]], **sampling: Any) -> Any:
        """Return the answer of an endpoint to a conversation of `{"role", "content"}`."""
        return await self.serve.generate(target=endpoint, prompt={"messages": messages}, sampling=sampling)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
