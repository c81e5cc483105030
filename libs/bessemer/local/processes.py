"""Processes of the stack, known by pid and start time so that a recycled pid is never touched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from bessemer.jobs.process_identity import process_start

__all__ = ["Running", "find", "pss_bytes", "record", "start", "stop", "tail"]


@dataclass(frozen=True)
class Running:
    """A live process that we started."""

    name: str
    pid: int
    start: str


def find(record_path: Path) -> Running | None:
    """Return the live process that a record describes, or None."""
    try:
        facts = json.loads(record_path.read_text())
        running = Running(facts.get("id", record_path.stem), facts["pid"], facts["start"])
    except (OSError, ValueError, KeyError):
        return None
    return running if _alive(running) else None


def start(name: str, argv: Sequence[str], environment: Mapping[str, str], home: Path) -> Running:
    """Start a process in its own session, logging to `home/logs`, and record it in `home/run`."""
    log = home / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("BESSEMER_")}
    with log.open("ab") as stream:
        process = subprocess.Popen(
            argv,
            env={**inherited, **environment},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
            cwd=home,
        )
    return record(name, process.pid, home)


def record(name: str, pid: int, home: Path) -> Running:
    """Write down that `pid` is ours."""
    running = Running(name, pid, process_start(pid) or "")
    path = home / "run" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps({"pid": running.pid, "start": running.start}))
    partial.replace(path)
    return running


def stop(processes: Iterable[Running], *, grace_s: float) -> None:
    """Ask every process to end, and end those that have not after `grace_s`; groups go with their leader."""
    live = [process for process in processes if _signal(process, signal.SIGTERM)]
    deadline = time.monotonic() + grace_s
    while live and time.monotonic() < deadline:
        live = [process for process in live if _alive(process)]
        time.sleep(0.05)
    for process in live:
        _signal(process, signal.SIGKILL)


def pss_bytes(pid: int) -> int:
    """Return the proportional set size of a process and its children; 0 if it is gone."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        return sum(member.memory_full_info().pss for member in family)
    except (psutil.Error, AttributeError):
        return 0


def tail(path: Path, num_lines: int) -> str:
    """Return the last lines of a log."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-num_lines:])
    except OSError:
        return ""


def _alive(process: Running) -> bool:
    with suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)  # ours if we started it just now
    return process_start(process.pid) == process.start


def _signal(process: Running, number: int) -> bool:
    if not _alive(process):
        return False
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return False
    return True
