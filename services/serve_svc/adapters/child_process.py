"""Engines as child processes that are spoken to over a socket pair."""

from __future__ import annotations

import asyncio
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

__all__ = ["end_child", "start_child"]


async def start_child(
    module: str, log_file: Path, environment: Mapping[str, str], *, limit: int
) -> tuple[Process, asyncio.StreamReader, asyncio.StreamWriter]:
    """Start a module, which is given the number of its end of the pair; lines it sends have at most `limit` bytes."""
    log_file.parent.mkdir(parents=True, exist_ok=True)
    ours, theirs = socket.socketpair()
    with theirs, log_file.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            str(theirs.fileno()),
            pass_fds=(theirs.fileno(),),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,  # an interrupt at the terminal is for the server, which drains first
        )
    return process, *await asyncio.open_connection(sock=ours, limit=limit)


async def end_child(process: Process, writer: asyncio.StreamWriter, listener: asyncio.Task[None] | None) -> None:
    """End a process by force: engines have nothing to save. Whoever listens to it has ended afterwards."""
    writer.close()
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
    await process.wait()
    if listener is not None:
        await listener
