"""`bessemer dataset assess`: what documents are worth, and for what."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from bessemer.api.data.v1 import assessment_pb2, dataset_pb2
from bessemer.artifacts.report import format_number
from bessemer.cli.data import Kind, ensure_dataset, ensure_project, model_at_hand, upload_folder
from bessemer.cli.output import console, print_message, short
from bessemer.cli.progress import follow
from bessemer.cli.settings import Output, Settings, settings_of
from bessemer.sdk import Client
from bessemer.sdk.sources import S3Credentials, fetch_source

__all__ = ["assess"]

_VERSION = re.compile(r"[a-z][a-z0-9-]*/v\d+|projects/[^/]+/datasets/[^/]+/versions/[^/]+")
_COLOURS = {"GREEN": "green", "AMBER": "yellow", "RED": "red", "UNSPECIFIED": "dim"}
_RULES_SHOWN = 3


def assess(
    context: typer.Context,
    subject: Annotated[
        str, typer.Argument(metavar="SOURCE_OR_VERSION", help="What dataset import takes, or a text version.")
    ],
    report: Annotated[Path | None, typer.Option(help="Also save the HTML report here.")] = None,
    model: Annotated[str, typer.Option(help="Model version at hand, such as smollm2/v1; 'none' for none.")] = (
        "smollm2/v1"
    ),
    target_parameters: Annotated[int, typer.Option(help="Parameters of a model to pre-train.", min=0)] = 0,
    novelty: Annotated[
        float | None, typer.Option(help="Loss of the model here less that on general text, nats per token.")
    ] = None,
    pass_at_8: Annotated[
        float | None, typer.Option(help="Share of checkable tasks the model solves in eight tries.", min=0, max=1)
    ] = None,
    preference_pairs: Annotated[int, typer.Option(help="Pairs of a better and a worse answer at hand.", min=0)] = 0,
    query: Annotated[str | None, typer.Option(help="SELECT whose rows are the documents of a database.")] = None,
    access_key: Annotated[str, typer.Option(envvar="AWS_ACCESS_KEY_ID", help="For an S3 source.")] = "",
    secret_key: Annotated[str, typer.Option(envvar="AWS_SECRET_ACCESS_KEY", help="For an S3 source.")] = "",
) -> None:
    """Say what documents are worth, for what, and which number would change that.

    A source is curated first, into a dataset of its own, which can be trained on afterwards.
    Example: bessemer dataset assess ./handbook --report handbook.html
    """
    settings = settings_of(context)
    with settings.client() as client:
        found = None if model == "none" else model_at_hand(client, settings, model, otherwise="--model none")
        if _VERSION.fullmatch(subject):
            name = settings.version_name("datasets", subject)
        else:
            credentials = S3Credentials(access_key, secret_key)
            with tempfile.TemporaryDirectory() as scratch:
                source = fetch_source(subject, Path(scratch), query=query, credentials=credentials)
                name = _curate(client, settings, source, subject, found)
        task = assessment_pb2.AssessDatasetTask(
            dataset_version=name,
            target_parameters=target_parameters,
            novelty_nats=novelty,
            pass_at_8=pass_at_8,
            preference_pairs=preference_pairs,
        )
        if found is not None:
            task.base_parameters, task.context_length = found.parameters, found.context_length
            task.tokenizer.CopyFrom(found.tokenizer)
        job = client.data.create_dataset_job(parent=settings.project, dataset_job={"assess": task})
        done = follow(client, settings, job, f"assessing {short(name)}")
        if report is not None:
            client.download(done.result.assessment.report, report)
        _print(settings, done, report)


def _curate(client: Client, settings: Settings, source: Path, subject: str, model: Any) -> str:
    """Import a source into a dataset named after it, and return the version."""
    if model is None:
        raise typer.BadParameter("a source is tokenized when it is curated: name a --model")
    stem = re.sub(r"[^a-z0-9]+", "-", Path(subject.rstrip("/")).resolve().name.lower()).strip("-")[:40].strip("-")
    dataset = f"assess-{stem or 'documents'}"
    ensure_project(client, settings)
    ensure_dataset(client, settings, dataset, Kind.TEXT)
    job = dataset_pb2.CurationJob(
        dataset=settings.name("datasets", dataset),
        recipe=dataset_pb2.CurationRecipe(kind=dataset_pb2.DATASET_KIND_TEXT),
        uploads=[upload_folder(client, settings, source).name],
        tokenizer=model.tokenizer,
    )
    created = client.data.create_curation_job(parent=settings.project, curation_job=job)
    return str(follow(client, settings, created, f"curating {dataset}").dataset_version)


def _print(settings: Settings, job: Any, report: Path | None) -> None:
    found: assessment_pb2.Assessment = job.result.assessment
    share = f"{found.unique_tokens:,} unique of {found.tokens:,} ({found.unique_share:.0%} of what was delivered)"
    print_message(settings, job, {"version": short(job.assess.dataset_version), "tokens": share})
    if settings.output is Output.JSON:
        return
    _advise(found)
    console.print("", _sources(found), "", _axes(found))
    if report is not None:
        console.print(f"report: {report}")


def _advise(found: assessment_pb2.Assessment) -> None:
    for number, advice in enumerate(found.advice):
        lead = ("advice", "runner-up")[number] if number < 2 else "then"
        method = assessment_pb2.AdviceMethod.Name(advice.method).removeprefix("ADVICE_METHOD_")
        console.print(f"[bold]{lead}[/bold] {_light(advice.light, method)}", end=": ")
        console.print(f"{advice.why}. To change that: {advice.flip}.", markup=False)


def _axes(found: assessment_pb2.Assessment) -> Table:
    table = Table("axis", "measure", "value", "what it says", box=None, header_style="bold")
    rules = [m for m in found.measures if "/" in m.name]
    worst = {m.name for m in sorted(rules, key=lambda m: -m.value)[:_RULES_SHOWN]}
    for measure in found.measures:
        if "/" in measure.name and measure.name not in worst:
            continue
        share = measure.unit == "share" or "/" in measure.name
        value = f"{measure.value:.1%}" if share else format_number(measure.value)
        value = value if measure.HasField("value") else "-"
        table.add_row(measure.axis, measure.name, _light(measure.light, value), measure.interpretation)
    return table


def _sources(found: assessment_pb2.Assessment) -> Table:
    table = Table("source", "delivered", "kept", "tokens", "verdict", "because of", box=None, header_style="bold")
    for each in found.sources:
        verdict = assessment_pb2.SourceVerdict.Name(each.verdict).removeprefix("SOURCE_VERDICT_")
        because = f"{', '.join(each.reasons)}: {each.tokens_at_stake:,} tokens" if each.reasons else ""
        counts = (str(each.delivered_documents), str(each.kept_documents), f"{each.tokens:,}")
        table.add_row(each.source, *counts, verdict.lower().replace("_", " "), because)
    return table


def _light(light: int, text: str) -> str:
    colour = _COLOURS[assessment_pb2.Light.Name(light).removeprefix("LIGHT_")]
    return f"[{colour}]{text}[/{colour}]"
