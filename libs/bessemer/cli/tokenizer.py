"""`bessemer tokenizer`: train one on a dataset version, extend a model's, and see how well they fit."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from bessemer.cli.output import bytes_text, print_message, print_rows, short
from bessemer.cli.progress import follow
from bessemer.cli.settings import Output, Settings, settings_of
from bessemer.kernel.errors import InvalidRequest
from bessemer.sdk import Client

__all__ = ["app", "find_tokenizer_job"]

app = typer.Typer(help="Train a tokenizer on your documents, or extend a model's.", no_args_is_help=True)
Version = Annotated[str, typer.Argument(help="Text version to learn from, such as handbook/v1.")]
Others = Annotated[
    list[str] | None, typer.Option("--compare", help="Model version whose tokenizer to measure too; may be repeated.")
]
Report = Annotated[Path | None, typer.Option(help="Also save the HTML report here.")]


@app.command()
def train(
    context: typer.Context,
    version: Version,
    vocabulary: Annotated[int, typer.Option(help="Tokens in all, special ones included.", min=256)] = 32768,
    special: Annotated[
        list[str] | None, typer.Option(help="Special token; may be repeated, the first ends a text.")
    ] = None,
    compare: Others = None,
    to: Annotated[Path, typer.Option(help="File to write.")] = Path("tokenizer.json"),
    report: Report = None,
) -> None:
    """Train a new byte-level BPE tokenizer.

    Example: bessemer tokenizer train handbook/v1 --vocabulary 8192 --to tok.json
    """
    settings = settings_of(context)
    with settings.client() as client:
        task = {"vocabulary_size": vocabulary, "special_tokens": special or []}
        _run(client, settings, version, task, compare, to=to, report=report)


@app.command()
def extend(
    context: typer.Context,
    version: Version,
    model: Annotated[str, typer.Option(help="Model version whose tokenizer to extend.")] = "smollm2/v1",
    add: Annotated[int, typer.Option(help="Tokens to add at most.", min=1)] = 2000,
    compare: Others = None,
    to: Annotated[Path, typer.Option(help="File to write.")] = Path("tokenizer.json"),
    report: Report = None,
) -> None:
    """Continue the merges of a model's tokenizer; old tokens keep their ids.

    Give the model the new tokens with: bessemer model extend-vocabulary VERSION JOB

    Example: bessemer tokenizer extend handbook/v1 --model smollm2/v1 --add 2000
    """
    settings = settings_of(context)
    with settings.client() as client:
        base = client.train.get_model_version(name=settings.version_name("models", model))
        _run(client, settings, version, {"base": base.tokenizer, "added_tokens": add}, compare, to=to, report=report)


@app.command("report")
def show_report(
    context: typer.Context,
    job: Annotated[str, typer.Argument(help="Dataset job that trained a tokenizer.")],
    to: Annotated[Path | None, typer.Option(help="Also save the HTML report here.")] = None,
) -> None:
    """Show how finely a trained tokenizer and those beside it cut the held-out text.

    Example: bessemer tokenizer report dataset-x2f9 --to tokenizer.html
    """
    settings = settings_of(context)
    with settings.client() as client:
        found = find_tokenizer_job(client, settings, job)
        if to is not None:
            client.download(found.result.trained_tokenizer.report, to)
        _print(settings, found)


def find_tokenizer_job(client: Client, settings: Settings, job: str) -> Any:
    """Return a dataset job that trained a tokenizer.

    Raises: NotFound; InvalidRequest if it did not, or not yet.
    """
    found = client.data.get_dataset_job(name=settings.name("datasetJobs", job))
    if not found.result.HasField("trained_tokenizer"):
        raise InvalidRequest(f"{job} has trained no tokenizer; see: bessemer job list", field="job")
    return found


def _run(
    client: Client,
    settings: Settings,
    version: str,
    task: dict[str, Any],
    compare: list[str] | None,
    *,
    to: Path,
    report: Path | None,
) -> None:
    models = {
        label: client.train.get_model_version(name=settings.version_name("models", label)) for label in compare or []
    }
    task["dataset_version"] = settings.version_name("datasets", version)
    task["others"] = [{"label": label, "tokenizer": found.tokenizer} for label, found in models.items()]
    created = client.data.create_dataset_job(parent=settings.project, dataset_job={"train_tokenizer": task})
    done = follow(client, settings, created, f"training a tokenizer on {version}")
    made = done.result.trained_tokenizer
    client.download(made.tokenizer, to)
    if report is not None:
        client.download(made.report, report)
    _print(settings, done)


def _print(settings: Settings, job: Any) -> None:
    made = job.result.trained_tokenizer
    fields = {
        "job": short(job.name),
        "tokens": f"{made.vocabulary_size:,}" + (f", {made.added_tokens:,} of them new" if made.added_tokens else ""),
        "learned from": bytes_text(made.sample_bytes),
        "sha256": made.tokenizer.sha256,
    }
    if made.HasField("verdict"):
        fields["worth it"] = f"{'yes' if made.verdict.worth_it else 'no'}: {made.verdict.reason}"
    print_message(settings, job, fields)
    if settings.output is Output.JSON:
        return
    columns: dict[str, Any] = {
        f"{made.measured_split}: bytes per token (tokens per word)": _group,
        "size": lambda row: bytes_text(row.bytes),
    }
    for at, one in enumerate(made.rows[0].tokenizers if made.rows else ()):
        columns[one.label] = partial(_fertility, at)
    print_rows(settings, made.rows, columns)


def _group(row: Any) -> str:
    return "all" if row.group == "all" else f"{row.group} {row.value or 'unknown'}"


def _fertility(at: int, row: Any) -> str:
    one = row.tokenizers[at]
    return f"{one.bytes_per_token:.2f} ({one.tokens_per_word:.2f})"
