"""The HTTP door: objects by signed URL, for object stores that have no door of their own."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import uuid
from pathlib import Path
from typing import BinaryIO

from bessemer.kernel.clock import Clock
from bessemer.kernel.errors import BessemerError, FailedPrecondition, InvalidRequest, LimitReached, Unavailable
from bessemer.svckit.objects_files import FileObjects
from bessemer.svckit.signed_url import Grant, verify_signature
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

__all__ = ["FileDoor"]

BLOCK_BYTES = 1 << 20
SILENCE_S = 60.0  # a client that sends nothing for so long has gone
STATUS = {
    "INVALID_ARGUMENT": 400,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "FAILED_PRECONDITION": 422,
    "RESOURCE_EXHAUSTED": 507,
    "UNAVAILABLE": 503,
}
# What users uploaded must never run in a browser as if it were ours.
HEADERS = {"X-Content-Type-Options": "nosniff", "Content-Disposition": "attachment", "Cache-Control": "private"}


class FileDoor:
    """PUT and GET of `/objects/<key>`; each request carries its own permission."""

    def __init__(self, objects: FileObjects, door_key: bytes, clock: Clock, *, scratch: Path) -> None:
        self._objects = objects
        self._door_key = door_key
        self._clock = clock
        self._scratch = scratch

    def app(self) -> Starlette:
        """Return the application."""
        routes = [
            Route("/objects/{key:path}", self._get, methods=["GET"]),  # HEAD comes with it
            Route("/objects/{key:path}", self._put, methods=["PUT"]),
        ]
        return Starlette(routes=routes, exception_handlers={BessemerError: _refuse})

    async def _get(self, request: Request) -> Response:
        grant = self._grant(request, "GET")
        await asyncio.to_thread(self._objects.stat, grant.key)
        return FileResponse(self._objects.path(grant.key), media_type="application/octet-stream", headers=HEADERS)

    async def _put(self, request: Request) -> Response:
        grant = self._grant(request, "PUT")
        announced = request.headers.get("content-length")
        if announced is not None and grant.size_bytes is not None and announced != str(grant.size_bytes):
            raise InvalidRequest(f"the body has {announced} bytes; {grant.size_bytes} were announced", field="body")
        self._scratch.mkdir(parents=True, exist_ok=True)
        path = self._scratch / uuid.uuid4().hex
        try:
            with path.open("xb") as file:
                size_bytes, sha256 = await _receive(request, file, grant.size_bytes)
            _check(grant, size_bytes, sha256)
            await asyncio.to_thread(self._objects.put_file, grant.key, path)
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
            raise LimitReached("the disk is full; free some space and retry", reason="STORAGE_FULL") from error
        finally:
            path.unlink(missing_ok=True)
        return Response(status_code=201)

    def _grant(self, request: Request, method: str) -> Grant:
        now = self._clock.now().timestamp()
        return verify_signature(self._door_key, method, request.path_params["key"], request.query_params, now=now)


async def _receive(request: Request, file: BinaryIO, size_bytes_max: int | None) -> tuple[int, str]:
    """Write the body as it comes and return its size and digest.

    Raises: InvalidRequest as soon as there is more than allowed; Unavailable if the client falls silent.
    """
    digest, size_bytes, block = hashlib.sha256(), 0, bytearray()

    def flush() -> None:
        digest.update(block)
        file.write(block)
        block.clear()

    chunks = aiter(request.stream())
    while True:
        try:
            async with asyncio.timeout(SILENCE_S):
                chunk = await anext(chunks, None)
        except (TimeoutError, ClientDisconnect) as error:
            raise Unavailable("the body did not arrive in full; send it again") from error
        if chunk is None:
            break
        size_bytes += len(chunk)
        if size_bytes_max is not None and size_bytes > size_bytes_max:
            raise InvalidRequest(f"the body is longer than the {size_bytes_max} bytes announced", field="body")
        block += chunk
        if len(block) >= BLOCK_BYTES:
            await asyncio.to_thread(flush)
    await asyncio.to_thread(flush)
    return size_bytes, digest.hexdigest()


def _check(grant: Grant, size_bytes: int, sha256: str) -> None:
    if grant.size_bytes is not None and size_bytes != grant.size_bytes:
        raise InvalidRequest(f"the body has {size_bytes} bytes; {grant.size_bytes} were announced", field="body")
    if grant.sha256 is not None and sha256 != grant.sha256:
        raise FailedPrecondition(
            f"the body has SHA-256 {sha256}; {grant.sha256} was announced", reason="CHECKSUM_MISMATCH"
        )


async def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, BessemerError)
    body = {"code": error.code, "reason": error.reason, "message": error.message, "fields": error.fields}
    return JSONResponse({"error": body}, status_code=STATUS.get(error.code, 500))
