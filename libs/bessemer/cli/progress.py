"""A live line for a running job."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from bessemer.cli.curves import by_series, plot, sparkline
from bessemer.cli.output import job_state, time_text
from bessemer.cli.settings import Output, Settings
from bessemer.kernel.errors import Unavailable
from bessemer.sdk import Client
from bessemer.sdk.jobs import job_kind

__all__ = ["draw", "follow"]

_LOSS = "train/loss"
_SERIES = {_LOSS: "loss", "train/learning_rate": "learning rate", "train/tokens_per_second": "tokens/s"}
_WIDTH_MAX, _HEIGHT = 72, 4


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
    progress = Progress(*columns, console=console)
    task = progress.add_task(title, total=1.0, stage="")
    curves = _Curves(client, job, width=max(20, min(_WIDTH_MAX, console.width - 30)))
    with Live(progress, console=console) as live:

        def show(state: Any) -> None:
            progress.update(task, completed=state.status.progress, stage=_stage(state))
            live.update(Group(progress, *curves.read()))

        done = client.wait(job.name, on_change=show)
        progress.update(task, completed=1.0, stage="done")
        live.update(Group(progress, *curves.read()))
    return done


class _Curves:
    """The curves of a training job, read anew with its progress; other jobs have none."""

    def __init__(self, client: Client, job: Any, *, width: int) -> None:
        self._client, self._name, self._width = client, job.name, width
        self._has_some = job_kind(job.name).snake == "training_job"

    def read(self) -> list[Text]:
        """Return the lines to draw."""
        if not self._has_some:
            return []
        try:
            points = self._client.train.query_metrics(name=self._name, keys=list(_SERIES), points_max=500).points
        except Unavailable:  # the next change draws them again
            return []
        return draw(by_series(points), self._width)


def draw(series: Mapping[str, Sequence[tuple[int, float]]], width: int) -> list[Text]:
    """Return a training job's loss in dots, and learning rate and speed in blocks, each with its newest value."""
    lines = []
    for key, label in _SERIES.items():
        curve = series.get(key)
        if not curve:
            continue
        newest = f"{label} {curve[-1][1]:.4g}"
        if key == _LOSS:
            rows = ["".join(text for text, _ in row) for row in plot({key: curve}, width=width, height=_HEIGHT)]
            lines += [Text(f"{newest if i == 0 else '':<24}{row}", style="cyan") for i, row in enumerate(rows)]
        else:
            lines.append(Text(f"{newest:<24}{sparkline([value for _, value in curve], width)}", style="dim"))
    return lines


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
