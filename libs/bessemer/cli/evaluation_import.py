"""`bessemer eval import`: results that another tool recorded, as a run."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from bessemer.api.eval.v1 import evaluation_pb2
from bessemer.cli.output import print_message, short
from bessemer.cli.settings import Settings, settings_of
from bessemer.kernel.errors import NotFound
from bessemer.sdk.suites import RecordedRun, read_recorded

__all__ = ["import_results"]


def import_results(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="Model version the tool asked, such as assistant/v2.")],
    file: Annotated[
        Path, typer.Argument(help="samples_*.jsonl of lm-eval, log of inspect, or output items of an OpenAI eval run.")
    ],
    suite_id: Annotated[
        str, typer.Option("--suite", help="Suite with the file's cases; made from the file if there is none.")
    ],
    metric: Annotated[str, typer.Option(help="Score to take where the file has several, such as acc_norm.")] = "",
    scale: Annotated[
        tuple[float, float], typer.Option("--range", help="Lowest and highest score; they become 0 and 1.")
    ] = (0.0, 1.0),
    sealed: Annotated[bool, typer.Option(help="If the suite is made: keep the text of cases out of results.")] = False,
) -> None:
    """Take over results that another tool recorded; no gate counts them unless its policy says so.

    Example: bessemer eval import assistant/v2 samples_arc_easy_2026-11-28T10-00-00.jsonl --suite arc-easy
    """
    settings = settings_of(context)
    recorded = read_recorded(file, metric=metric, scale=scale)
    with settings.client() as client, tempfile.TemporaryDirectory(prefix="bessemer-") as folder:
        suite = _suite(settings, client, recorded, suite_id, sealed=sealed, folder=Path(folder))
        upload = client.upload(settings.project, recorded.write(Path(folder) / "results.jsonl"))
        run = evaluation_pb2.EvaluationRun(
            model_version=settings.version_name("models", model),
            suites=[suite],
            imported={
                "tool": recorded.tool,
                "file_sha256": recorded.file_sha256,
                "file_name": recorded.file_name[:256],
                "model": recorded.model,
                "metric": recorded.metric[:128],
                "upload": upload.name,
            },
        )
        made = client.eval.import_evaluation_run(parent=settings.project, evaluation_run=run)
    [result] = made.results
    shown = {
        "run": short(made.name),
        "recorded by": f"{recorded.tool}, {recorded.metric}",
        "score": f"{result.score:.4g}, 95 % interval {result.interval.low:.4g} to {result.interval.high:.4g}",
        "cases": result.num_cases,
        "without a score": result.num_unscored,
        "file": recorded.file_sha256,
    }
    print_message(settings, made, shown)


def _suite(settings: Settings, client: Any, recorded: RecordedRun, suite_id: str, *, sealed: bool, folder: Path) -> str:
    """Return the name of the suite, which is made from the file if there is none."""
    name = settings.name("evaluationSuites", suite_id)
    try:
        return str(client.eval.get_evaluation_suite(name=name).name)
    except NotFound:
        draft = recorded.suite
        made = client.eval.create_evaluation_suite(
            parent=settings.project,
            evaluation_suite_id=suite_id,
            evaluation_suite={
                "grader": f"GRADER_KIND_{draft.grader.upper()}",
                "max_tokens": draft.max_tokens,
                "options": dict(draft.options),
                "sealed": sealed,
            },
            upload=client.upload(settings.project, draft.write(folder / "cases.jsonl")).name,
        )
        return str(made.name)
