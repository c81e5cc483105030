"""What the runtime asks of whatever starts workers: this host here, a cluster elsewhere."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

__all__ = ["GO", "Capabilities", "LaunchSpec", "Launcher", "WorkerState", "WorkerStatus", "file_name"]

GO = b"go\n"  # a worker waits for this line on its standard input: then its launcher has noted that it exists


class WorkerState(StrEnum):
    """Whether a worker process exists."""

    UNKNOWN = "UNKNOWN"
    RUNNING = "RUNNING"
    EXITED = "EXITED"


@dataclass(frozen=True)
class LaunchSpec:
    """One worker to start; the same task and attempt are the same worker."""

    task: str
    attempt: int
    entry: str  # Python module, run as `python -m`
    env: Mapping[str, str] = field(default_factory=dict)
    num_ranks: int = 1  # processes that live and die together

    @property
    def id(self) -> str:
        """Return the id of the worker."""
        return f"{self.task}@{self.attempt}"


@dataclass(frozen=True)
class WorkerStatus:
    """A worker process as its launcher sees it."""

    state: WorkerState
    exit_code: int | None = None  # negative: killed by that signal; None: unknown

    def ending(self) -> str:
        """Return how it ended, for a sentence that begins with `the worker process`."""
        if self.exit_code is None:
            return "ended"
        if self.exit_code < 0:
            return f"was killed by {signal.Signals(-self.exit_code).name}"
        return f"ended with code {self.exit_code}"


@dataclass(frozen=True)
class Capabilities:
    """What a launcher can do."""

    name: str
    survives_restart: bool  # workers outlive the service that started them


class Launcher(Protocol):
    """Starts and stops workers; synchronous, called from one thread at a time."""

    def submit(self, spec: LaunchSpec) -> None:
        """Start a worker unless the same one was started before.

        Raises: Unavailable if it cannot be started.
        """

    def list(self) -> Mapping[str, WorkerStatus]:
        """Return the status of every worker that was submitted and not forgotten, by id."""

    def get(self, worker: str) -> WorkerStatus:
        """Return the status of one worker by its id."""

    def cancel(self, worker: str, *, grace_s: float) -> None:
        """Ask a worker to end and kill it after `grace_s`; returns at once, may be repeated."""

    def forget(self, worker: str) -> None:
        """Remove what is kept about a worker that has exited, its scratch files included; its log stays."""

    def log_path(self, task: str, attempt: int) -> Path:
        """Return the file that has the output of an attempt; it may not exist yet."""

    def capabilities(self) -> Capabilities:
        """Return what this launcher can do."""


def file_name(name: str) -> str:
    """Return a resource name as one file name, such as `p.trainingJobs.j`; ids have no dots, so it is unique."""
    return name.removeprefix("projects/").replace("/", ".")
