"""`bessemer eval contamination`: which cases of a run's suites stand in the datasets its model was trained on."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf import json_format
from rich.table import Table

from bessemer.api.eval.v1 import evaluation_pb2 as pb
from bessemer.artifacts.report import Report
from bessemer.cli.output import console, short
from bessemer.cli.settings import Output, settings_of
from bessemer.kernel.errors import FailedPrecondition

__all__ = ["contamination", "contamination_html"]

_NAMED = 10
_COLUMNS = ("suite", "dataset version", "cases found", "of", "largest share", "documents", "such as")


class Format(StrEnum):
    """Forms of the report for other programs and for people without this one."""

    JSON = "json"
    HTML = "html"


def contamination(
    context: typer.Context,
    run_id: Annotated[str, typer.Argument(help="Run that was made with --contamination.")],
    form: Annotated[Format | None, typer.Option("--format", help="json or html, instead of a table.")] = None,
    save: Annotated[Path | None, typer.Option("--save", help="Write it to this file.")] = None,
) -> None:
    """Say which cases stand in which dataset version of the model's training, and the score without them.

    Example: bessemer eval contamination run-0199aa --format html --save contamination.html
    """
    settings = settings_of(context)
    with settings.client() as client:
        run = client.eval.get_evaluation_run(name=settings.name("evaluationRuns", run_id))
    if not run.check_contamination:
        raise FailedPrecondition(
            f"{run.name} did not look for its cases in training data; run it again with --contamination",
            reason="FIELD_INVALID",
            resource=run.name,
        )
    if form is None and settings.output is Output.TABLE:
        _print(run)
        return
    text = contamination_html(run) if form is Format.HTML else _json(run)
    if save is None:
        sys.stdout.write(text)
    else:
        save.write_text(text, encoding="utf-8")
        console.print(f"saved: {save}")


def contamination_html(run: pb.EvaluationRun) -> str:
    """Return a self-contained page."""
    report = Report("Contamination", f"{short(run.model_version)}, {short(run.name)}")
    report.paragraph(
        "A case is found when a document of a dataset version holds half of its words in runs of eight, or a fifth "
        "with thirteen in a row. Paraphrases and translations are not found."
    )
    report.heading("Cases in training data")
    report.table(_COLUMNS, _rows(run))
    report.heading("Scores with and without them")
    report.table(("suite", "score", "score without", "cases left out", "cases too short to look for"), _scores(run))
    report.heading("What could not be looked at")
    for line in run.inputs.unknown_training or ["Nothing: all that the model and its parents were trained on is here."]:
        report.paragraph(line)
    return report.html()


def _rows(run: pb.EvaluationRun) -> list[tuple[Any, ...]]:
    return [
        (
            short(result.suite),
            short(found.dataset_version),
            found.num_cases,
            result.num_cases + result.num_unscored,
            f"{found.largest_share:.0%}",
            found.num_documents,
            ", ".join(found.cases[:_NAMED]) or "-",
        )
        for result in run.results
        for found in result.contamination
    ]


def _scores(run: pb.EvaluationRun) -> list[tuple[Any, ...]]:
    def told(score: float, interval: Any) -> str:
        return f"{score:.4g} ({interval.low:.4g} to {interval.high:.4g})"

    return [
        (
            short(result.suite),
            told(result.score, result.interval),
            told(result.clean_score, result.clean_interval) if result.HasField("clean_interval") else "-",
            result.num_contaminated,
            result.num_untraceable,
        )
        for result in run.results
    ]


def _print(run: pb.EvaluationRun) -> None:
    for columns, rows in (
        (_COLUMNS, _rows(run)),
        (("suite", "score", "score without", "left out", "too short to look for"), _scores(run)),
    ):
        table = Table(*columns, box=None, header_style="bold")
        for row in rows:
            table.add_row(*map(str, row))
        console.print(table)
    for line in run.inputs.unknown_training:
        console.print(f"not looked at: {line}", markup=False)


def _json(run: pb.EvaluationRun) -> str:
    kept = pb.EvaluationRun(name=run.name, model_version=run.model_version, results=run.results)
    kept.inputs.unknown_training.extend(run.inputs.unknown_training)
    kept.inputs.training_data.extend(run.inputs.training_data)
    return json_format.MessageToJson(kept, preserving_proto_field_name=True) + "\n"
