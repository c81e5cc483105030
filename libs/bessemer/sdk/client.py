"""The synchronous client."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import httpx

from bessemer.kernel.errors import (
    BessemerError,
    InvalidRequest,
    LimitReached,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from bessemer.kernel.ids import project_of
from bessemer.sdk.calls import build, calls
from bessemer.sdk.connection import Connection
from bessemer.sdk.files import FilePart, download_target, raise_for_transfer
from bessemer.sdk.jobs import ended, job_kind, raise_unless_succeeded
from bessemer.svckit.client import sync_channel
from bessemer.svckit.methods import Method
from bessemer.svckit.status import from_rpc_error

__all__ = ["Area", "Client"]

Progress = Callable[[int, int], None]
RECONNECT_LIMIT_S = 60.0


class Area:
    """The RPCs of one service as methods: `client.data.create_dataset(parent=..., dataset_id=...)`.

    Each takes the request's fields by keyword and `timeout_s`; streams are iterated. Raises the kernel's errors.
    """

    def __init__(self, area: str, connection: Connection) -> None:
        self._calls = calls(area)
        self._channel = sync_channel(connection.address(area), token=connection.token)
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

        def method(*, timeout_s: float | None = None, **fields: Any) -> Any:
            with _typed_errors():
                return send(build(call, fields), timeout=timeout_s)

        return method

    def _stream(self, call: Method) -> Callable[..., Iterator[Any]]:
        send = self._channel.unary_stream(
            call.path, request_serializer=call.request.SerializeToString, response_deserializer=call.response.FromString
        )

        def method(*, timeout_s: float | None = None, **fields: Any) -> Iterator[Any]:
            with _typed_errors():
                stream = send(build(call, fields), timeout=timeout_s)
                try:
                    yield from stream
                finally:
                    stream.cancel()

        return method

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()


class Client:
    """Talks to a Bessemer installation; one `Area` per service.

    >>> with Client.connect(".bessemer") as client:
    ...     for project in client.pages(client.data.list_projects):
    ...         print(project.name)
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.data = Area("data", connection)
        self.train = Area("train", connection)
        self.eval = Area("eval", connection)
        self.serve = Area("serve", connection)

    @staticmethod
    def connect(home: str | Path = ".bessemer") -> Client:
        """Connect to the stack that `bessemer up` started in `home`."""
        return Client(Connection.from_home(Path(home)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all channels."""
        for area in (self.data, self.train, self.eval, self.serve):
            area.close()

    def pages(self, method: Callable[..., Any], **fields: Any) -> Iterator[Any]:
        """Yield every resource of a list method, fetching pages as needed."""
        token = ""
        while True:
            page = method(page_token=token, **fields)
            repeated = next(field for field in page.DESCRIPTOR.fields if field.is_repeated)
            yield from getattr(page, repeated.name)
            token = page.next_page_token
            if not token:
                return

    def watch(self, name: str) -> Iterator[Any]:
        """Yield a job whenever it changes, to its end; survives restarts of the server.

        Raises: Unavailable when the server stays away for a minute.
        """
        kind = job_kind(name)
        method = getattr(getattr(self, kind.area), f"watch_{kind.snake}")
        token, last_heard = "", time.monotonic()
        while True:
            try:
                for message in method(name=name, resume_token=token):
                    token, last_heard = message.resume_token, time.monotonic()
                    if message.HasField(kind.snake):
                        yield getattr(message, kind.snake)
                        if ended(getattr(message, kind.snake)):
                            return
            except Unavailable:
                if time.monotonic() - last_heard > RECONNECT_LIMIT_S:
                    raise
                time.sleep(0.5)

    def wait(self, name: str, *, on_change: Callable[[Any], None] | None = None) -> Any:
        """Return the job called `name` once it succeeded; calls `on_change` with every state on the way.

        Raises: JobNotSuccessful if it failed or was cancelled.
        """
        job = None
        for job in self.watch(name):
            if on_change:
                on_change(job)
        return raise_unless_succeeded(job)

    def upload(
        self,
        project: str,
        path: str | Path,
        *,
        media_type: str = "",
        progress: Progress | None = None,
        terms: Mapping[str, str] | None = None,
    ) -> Any:
        """Upload a file by signed URL and return the completed `Upload`.

        `terms` are its owner's: `license`, `consent` and `retain_until`, a day.
        """
        path = Path(path)
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        upload = self.data.create_upload(
            parent=project,
            file_name=path.name,
            sha256=digest,
            size_bytes=path.stat().st_size,
            media_type=media_type,
            **(terms or {}),
        )
        if not upload.complete:
            with FilePart(path, progress) as body:
                headers = {**upload.headers, "content-length": str(body.size_bytes)}
                raise_for_transfer(
                    httpx.put(upload.url, content=iter(body), headers=headers, timeout=600, trust_env=False)
                )
        return self.data.complete_upload(name=upload.name, timeout_s=600)

    def download(self, artifact: Any, path: str | Path, *, progress: Progress | None = None) -> Path:
        """Download an artifact by signed URL, verified against its digest, into `path`.

        Raises: DataLoss if the bytes do not have the recorded digest; `path` is then left untouched.
        """
        parent = f"projects/{project_of(artifact.key)}"
        url = self.data.create_download(parent=parent, artifact=artifact).url
        with (
            download_target(Path(path), artifact) as write,
            httpx.stream("GET", url, timeout=600, trust_env=False) as response,
        ):
            raise_for_transfer(response)
            done = 0
            for chunk in response.iter_bytes(1 << 20):
                write(chunk)
                done += len(chunk)
                if progress:
                    progress(done, artifact.size_bytes)
        return Path(path)

    def chat(self, endpoint: str, messages: list[dict[str, str]], **sampling: Any) -> Any:
        """Return the answer of an endpoint to a conversation of `{"role", "content"}`."""
        return self.serve.generate(target=endpoint, prompt={"messages": messages}, sampling=sampling)

    def give_feedback(self, response_id: str, **said: Any) -> dict[str, Any]:
        """Say something of a recent answer, which is recorded with its conversation; return the record's name.

        `said` holds `rating` (up or down), `comment`, `edited_answer`, `user`, `consent`, `categories`, `signals`.

        Raises: InvalidRequest; NotFound for an answer that is not kept any more; Unavailable.
        """
        url = f"{self.connection.http['serve']}/v1/feedback"
        headers = {"authorization": f"Bearer {self.connection.token}"}
        try:
            reply = httpx.post(url, json={"response_id": response_id} | said, headers=headers, timeout=30)
        except httpx.HTTPError as error:
            raise Unavailable(f"the door of serve_svc at {url} cannot be reached: {error}") from None
        content = reply.json()
        if reply.status_code != httpx.codes.OK:
            refusal = content["error"]
            raise _DOOR_ERRORS.get(reply.status_code, Unavailable)(refusal["message"], field=refusal["param"] or "")
        return dict(content)


_DOOR_ERRORS: Mapping[int, type[BessemerError]] = {
    400: InvalidRequest,
    401: Unauthenticated,
    403: PermissionDenied,
    404: NotFound,
    429: LimitReached,
}


@contextmanager
def _typed_errors() -> Iterator[None]:
    try:
        yield
    except grpc.RpcError as error:
        raise from_rpc_error(error) from None
