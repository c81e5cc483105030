"""Following the log of an attempt."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

from bessemer.jobs.launcher import WorkerState
from bessemer.jobs.runtime import JobRuntime
from bessemer.kernel.errors import InvalidRequest, NotFound, Unavailable

__all__ = ["check_draining", "split_utf8", "tail"]

# A byte that is no UTF-8 becomes a character of three, and a piece may have 64 KiB.
_READ_BYTES = 64 * 1024 // 3
_POLL_S = 0.25
_LAST_WORDS_S = 5.0  # for a worker to end after its report


async def tail(
    runtime: JobRuntime,
    name: str,
    attempt: int,
    offset: int,
    follow: bool,  # noqa: FBT001
) -> AsyncIterator[tuple[str, int]]:
    """Yield (text, offset behind it) of an attempt's log from `offset` on; `attempt` 0 is the newest.

    With `follow` it ends when the attempt has ended, otherwise at the present end of the log.
    Raises: NotFound for an unknown job or attempt; Unavailable DRAINING when the service stops.
    """
    if offset < 0:
        raise InvalidRequest(f"offset must not be negative; got {offset}", field="offset")
    newest = await runtime.newest_attempt(name)
    while follow and newest == 0 and attempt in {0, 1} and not await runtime.has_finished(name):
        await _pause(runtime)
        newest = await runtime.newest_attempt(name)
    if not 0 <= attempt <= newest:
        raise NotFound(f"{name} has no attempt {attempt}; its newest is {newest}", resource=name)
    attempt = attempt or newest
    if attempt == 0:
        return
    path, ended_at = runtime.log_path(name, attempt), 0.0
    while True:
        ended = not follow or await runtime.has_ended(name, attempt)
        ended_at = ended_at or (time.monotonic() if ended else 0.0)
        speechless = (await runtime.worker_status(name, attempt)).state != WorkerState.RUNNING
        last = ended and (not follow or speechless or time.monotonic() - ended_at > _LAST_WORDS_S)
        while True:
            data = await asyncio.to_thread(_read, path, offset)
            piece = data if last and len(data) < _READ_BYTES else split_utf8(data)
            if not piece:
                break
            offset += len(piece)
            yield piece.decode("utf-8", errors="replace"), offset
        if last:
            return
        await _pause(runtime)


def split_utf8(data: bytes) -> bytes:
    """Return `data` without an unfinished character at its end."""
    for back in range(1, min(4, len(data) + 1)):
        byte = data[-back]
        if byte & 0xC0 == 0x80:
            continue  # inside of a character: look for its beginning
        length = 2 if byte & 0xE0 == 0xC0 else 3 if byte & 0xF0 == 0xE0 else 4 if byte & 0xF8 == 0xF0 else 1
        return data[:-back] if length > back else data
    return data


def check_draining(runtime: JobRuntime) -> None:
    """Raise Unavailable DRAINING when the service stops."""
    if runtime.store.draining:
        raise Unavailable("the service is stopping; ask again from where you are", reason="DRAINING")


async def _pause(runtime: JobRuntime) -> None:
    check_draining(runtime)
    await asyncio.sleep(_POLL_S)


def _read(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(_READ_BYTES)
    except FileNotFoundError:
        return b""
