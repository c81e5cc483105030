"""A live line for a running job."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from bessemer.cli.output import job_state, time_text
from bessemer.cli.settings import Output, Settings
from bessemer.sdk import Client

__all__ = ["follow"]


def follow(client: Client, settings: Settings, job: Any, title: str) -> Any:
    """Show a job's progress until it ends and return it.

    Raises: JobNotSuccessful if it did not succeed.
    """
    if settings.output is Output.JSON:
        return client.wait(job.name)
    console = Console(stderr=True)
    if not console.is_terminal:
        return client.wait(job.name, on_change=_Lines(title))
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[stage]}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(title, total=1.0, stage="")

        def show(state: Any) -> None:
            progress.update(task, completed=state.status.progress, stage=_stage(state))

        done = client.wait(job.name, on_change=show)
        progress.update(task, completed=1.0, stage="done")
    return done


class _Lines:
    """Prints a line when the state changes or a tenth more is done; for logs and pipes."""

    def __init__(self, title: str) -> None:
        self._title, self._last = title, ("", -1)

    def __call__(self, job: Any) -> None:
        mark = (job_state(job), int(job.status.progress * 10))
        if mark != self._last:
            self._last = mark
            print(f"{self._title}: {job.status.progress:4.0%}  {_stage(job)}", file=sys.stderr, flush=True)


def _stage(job: Any) -> str:
    parts = [job_state(job)]
    if job.status.stage:
        parts.append(job.status.stage)
    if job.status.remaining_seconds > 1:
        parts.append(f"about {time_text(job.status.remaining_seconds)} left")
    if job.status.attempt > 1:
        parts.append(f"attempt {job.status.attempt}")
    return ", ".join(parts)
