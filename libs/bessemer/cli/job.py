"""`bessemer job`: everything that runs, whatever service runs it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from bessemer.cli.job_compare import compare as job_compare
from bessemer.cli.job_compare import print_comparison
from bessemer.cli.output import console, job_state, print_message, print_rows, short, time_text
from bessemer.cli.plan import forecast_facts
from bessemer.cli.progress import follow
from bessemer.cli.settings import Settings, settings_of
from bessemer.kernel.errors import FailedPrecondition, NotFound, Unavailable
from bessemer.sdk import Client
from bessemer.sdk.jobs import JOBS, job_kind

__all__ = ["app"]

app = typer.Typer(help="List, watch and stop jobs of all kinds.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Job id or full name.")]


@app.command("list")
def list_(context: typer.Context) -> None:
    """List all jobs of the project, newest last.

    Example: bessemer job list
    """
    settings = settings_of(context)
    with settings.client() as client:
        found = []
        for kind in JOBS.values():
            found += list(
                client.pages(getattr(getattr(client, kind.area), f"list_{kind.snake}s"), parent=settings.project)
            )
        found.sort(key=lambda job: job.create_time.ToNanoseconds())
        columns: dict[str, Callable[[Any], Any]] = {
            "job": lambda job: short(job.name),
            "kind": lambda job: job.name.split("/")[2],
            "state": job_state,
            "done": lambda job: f"{job.status.progress:.0%}",
            "stage": lambda job: job.status.stage,
        }
        print_rows(settings, found, columns)


@app.command()
def watch(context: typer.Context, name: Name) -> None:
    """Follow a job to its end; stopping the command does not stop the job.

    Example: bessemer job watch job-0199f3c2a1b2
    """
    settings = settings_of(context)
    with settings.client() as client:
        job = _find(client, settings, name)
        done = follow(client, settings, job, short(job.name))
        _print(settings, done)


@app.command()
def show(context: typer.Context, name: Name) -> None:
    """Show a job and its attempts.

    Example: bessemer job show job-0199f3c2a1b2 --output json
    """
    settings = settings_of(context)
    with settings.client() as client:
        _print(settings, _find(client, settings, name))


@app.command()
def compare(
    context: typer.Context,
    first: Name,
    second: Annotated[str, typer.Argument(help="The training job to hold beside it.")],
    price_per_hour: Annotated[float | None, typer.Option(help="What an hour of training costs.", min=0)] = None,
) -> None:
    """Compare two training jobs: settings that differ, loss curves, speed and cost.

    Example: bessemer job compare training-0199f3c2a1b2 training-0199f3d00c41 --price-per-hour 2.5
    """
    settings = settings_of(context)
    with settings.client() as client:
        jobs = (_find(client, settings, first), _find(client, settings, second))
        for job in jobs:
            if job_kind(job.name).snake != "training_job":
                raise typer.BadParameter(f"only training jobs can be compared; {job.name} is none")
        points = tuple(client.train.query_metrics(name=job.name).points for job in jobs)
        print_comparison(settings, job_compare(jobs, points, price_per_hour))


@app.command()
def logs(
    context: typer.Context,
    name: Name,
    attempt: Annotated[int, typer.Option(help="Attempt; 0 is the newest.", min=0)] = 0,
    follow_on: Annotated[bool, typer.Option("--follow", "-f", help="Stay until the attempt ends.")] = False,
) -> None:
    """Print the log of a job.

    Example: bessemer job logs job-0199f3c2a1b2 --follow
    """
    settings = settings_of(context)
    with settings.client() as client:
        job = _find(client, settings, name)
        kind = job_kind(job.name)
        if not kind.has_logs:
            raise FailedPrecondition(
                f"{short(job.name)} has no worker of its own that writes a log; see: bessemer job show"
            )
        tail = getattr(getattr(client, kind.area), f"tail_{kind.snake}_logs")
        for piece in tail(name=job.name, attempt=attempt, follow=follow_on):
            sys.stdout.write(piece.text)


@app.command()
def cancel(context: typer.Context, name: Name) -> None:
    """Stop a job for good.

    Example: bessemer job cancel job-0199f3c2a1b2
    """
    _verb(context, name, "cancel")


@app.command()
def pause(context: typer.Context, name: Name) -> None:
    """Save a training job's state and free its worker.

    Example: bessemer job pause job-0199f3c2a1b2
    """
    _verb(context, name, "pause")


@app.command()
def resume(context: typer.Context, name: Name) -> None:
    """Continue a paused training job.

    Example: bessemer job resume job-0199f3c2a1b2
    """
    _verb(context, name, "resume")


def _verb(context: typer.Context, name: str, verb: str) -> None:
    settings = settings_of(context)
    with settings.client() as client:
        job = _find(client, settings, name)
        kind = job_kind(job.name)
        if verb != "cancel" and kind.snake != "training_job":
            raise typer.BadParameter(f"only training jobs can {verb}; {job.name} is none")
        _print(settings, getattr(getattr(client, kind.area), f"{verb}_{kind.snake}")(name=job.name))


def _find(client: Client, settings: Settings, name: str) -> Any:
    if name.startswith("projects/"):
        kind = job_kind(name)
        return getattr(getattr(client, kind.area), f"get_{kind.snake}")(name=name)
    silent = []
    for collection, kind in JOBS.items():
        try:
            return getattr(getattr(client, kind.area), f"get_{kind.snake}")(name=settings.name(collection, name))
        except NotFound:
            continue
        except Unavailable:
            silent.append(kind.area)
    if silent:
        raise Unavailable(
            f"{', '.join(sorted(set(silent)))} did not answer, and no other service knows {name}; try: bessemer up"
        )
    raise NotFound(f"no job {name} in {settings.project}; see: bessemer job list", resource=name)


def _print(settings: Settings, job: Any) -> None:
    status = job.status
    facts = {"job": short(job.name), "state": job_state(job), "done": f"{status.progress:.0%} {status.stage}"}
    if status.remaining_seconds:
        facts["left"] = f"about {time_text(status.remaining_seconds)}"
    if status.error.message:
        facts["error"] = status.error.message
    if "forecast" in job.DESCRIPTOR.fields_by_name and job.HasField("forecast"):
        facts |= forecast_facts(job.forecast, job.usage)
    print_message(settings, job, facts)
    if settings.output.value == "table" and len(status.attempts) > 1:
        for attempt in status.attempts:
            console.print(f"  attempt {attempt.attempt}: {attempt.error.message or 'ok'}", markup=False)
