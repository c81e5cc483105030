"""`bessemer dataset synthesize`: training rows from documents through a served model."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from bessemer.api.data.v1 import dataset_pb2
from bessemer.cli.data import Kind, ensure_dataset
from bessemer.cli.output import console, print_message, short
from bessemer.cli.progress import follow
from bessemer.cli.settings import Output, Settings, settings_of
from bessemer.kernel.errors import FailedPrecondition
from bessemer.sdk import Client
from bessemer.sdk.dataset_files import read_texts
from bessemer.sdk.grounding import EXPLANATIONS
from bessemer.sdk.synthesis import FORMS, Generate, Outcome, openai_generator, passages, synthesize

__all__ = ["synthesize_rows"]


class FormName(StrEnum):
    """What to make of a passage."""

    QUESTION = "question"
    INSTRUCTION = "instruction"


def synthesize_rows(
    context: typer.Context,
    version: Annotated[str, typer.Argument(help="Text version to make rows of, such as handbook/v1.")],
    model: Annotated[str, typer.Option("--with", help="Endpoint that writes the rows, or a model of --openai.")],
    into: Annotated[str, typer.Option(help="Dataset that gets the rows as a version; made when missing.")],
    form: Annotated[FormName, typer.Option(help="What to make of a passage.")] = FormName.QUESTION,
    rows: Annotated[int, typer.Option(help="Passages to ask about.", min=1)] = 500,
    characters: Annotated[int, typer.Option(help="Length of a passage.", min=200, max=20_000)] = 1200,
    seed: Annotated[int, typer.Option(help="Seed of the choice of passages.", min=0)] = 0,
    workers: Annotated[int, typer.Option(help="Requests at a time.", min=1, max=64)] = 8,
    openai: Annotated[str, typer.Option(help="Ask this OpenAI-compatible URL, ending with /v1, instead.")] = "",
    api_key: Annotated[str, typer.Option(envvar="OPENAI_API_KEY", help="Key for --openai.")] = "",
) -> None:
    """Make questions with answers, or instructions with responses, of the training documents of a version.

    Every row must be grounded in its passage; the rest is counted by reason. Stopped, it goes on where it was.

    Example: bessemer dataset synthesize handbook/v1 --with assistant --into handbook-questions
    """
    settings = settings_of(context)
    with settings.client() as client:
        source = client.data.get_dataset_version(name=settings.version_name("datasets", version))
        chosen = passages(read_texts(client, source, "train"), characters=characters, most=rows, seed=seed)
        if not chosen:
            raise FailedPrecondition(f"{version} has no training text of 200 characters; import documents first")
        generate = openai_generator(openai, model, api_key) if openai else _endpoint(client, settings, model)
        facts = [source.manifest.sha256, form.value, model, openai, characters, seed]
        key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
        journal = settings.home / "synthesis" / f"{key}.jsonl"
        with _bar() as bar:
            task = bar.add_task(f"asking {model}", total=len(chosen), kept="")

            def report(done: int, reasons: Counter[str]) -> None:
                bar.update(task, completed=done, kept=f"{reasons['KEPT']} kept")

            outcomes = synthesize(chosen, FORMS[form.value], generate, journal, workers=workers, report=report)
        _print_reasons(settings, outcomes)
        kept = [outcome for outcome in outcomes if outcome.reason == "KEPT"]
        if not kept:
            raise FailedPrecondition(
                "no row was grounded in its passage; see the reasons above, or ask a stronger model"
            )
        ensure_dataset(client, settings, into, Kind.CHAT)
        made = _curate(client, settings, kept, into)
        print_message(settings, made, {"version": short(made.name), "digest": made.manifest.sha256})


def _endpoint(client: Client, settings: Settings, endpoint: str) -> Generate:
    target = settings.name("endpoints", endpoint)

    def generate(messages: list[dict[str, str]], tokens_max: int) -> str:
        sampling = {"temperature": 0.0, "max_tokens": tokens_max}
        return str(client.chat(target, messages, **sampling).text)

    return generate


def _curate(client: Client, settings: Settings, kept: list[Outcome], into: str) -> Any:
    """Upload the rows and return the version that was made of them."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "synthetic.jsonl"
        file.write_text("".join(json.dumps(outcome.row(), ensure_ascii=False) + "\n" for outcome in kept))
        upload = client.upload(settings.project, file, media_type="application/jsonl")
    job = dataset_pb2.CurationJob(dataset=settings.name("datasets", into), uploads=[upload.name])
    job.recipe.kind = dataset_pb2.DATASET_KIND_CHAT
    created = client.data.create_curation_job(parent=settings.project, curation_job=job)
    done = follow(client, settings, created, f"curating {into}")
    return client.data.get_dataset_version(name=done.dataset_version)


def _print_reasons(settings: Settings, outcomes: list[Outcome]) -> None:
    counts = Counter(outcome.reason for outcome in outcomes)
    if settings.output is Output.JSON:
        return
    table = Table("what became of the passages", "passages", "", box=None, header_style="bold")
    for reason, count in counts.most_common():
        table.add_row(reason, str(count), EXPLANATIONS[reason])
    console.print(table)


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[kept]}"))
    return Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
