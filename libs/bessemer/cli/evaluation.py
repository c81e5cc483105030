"""`bessemer eval`: suites, plans, runs, comparisons, gates."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf import json_format
from rich.table import Table

from bessemer.api.eval.v1 import evaluation_pb2
from bessemer.cli.evaluation_contamination import contamination
from bessemer.cli.evaluation_import import import_results
from bessemer.cli.evaluation_report import (
    comparison_html,
    comparison_junit,
    decision_html,
    decision_junit,
    verdict_of,
)
from bessemer.cli.gate_policy import policy_app, waiver_app
from bessemer.cli.output import console, job_state, print_message, print_rows, short
from bessemer.cli.progress import follow
from bessemer.cli.settings import Output, Settings, settings_of
from bessemer.sdk.suites import generate_suite, read_suite

__all__ = ["app", "comparison_table"]

Columns = dict[str, Callable[[Any], Any]]
app = typer.Typer(help="Measure models and decide what may be released.", no_args_is_help=True)
app.add_typer(policy_app, name="policy")
app.add_typer(waiver_app, name="waiver")
app.command("import")(import_results)
app.command()(contamination)


class Format(StrEnum):
    """Forms of a comparison or decision for other programs and for people without this one."""

    JSON = "json"
    JUNIT = "junit"
    HTML = "html"


FormatOption = Annotated[Format | None, typer.Option("--format", help="json, junit or html, instead of a table.")]
SaveOption = Annotated[Path | None, typer.Option("--save", help="Write it to this file.")]


@app.command()
def suite(
    context: typer.Context,
    suite_id: Annotated[str, typer.Argument(help="Id of the new suite.")],
    grader: Annotated[str, typer.Option(help="Such as perplexity, choice, exact, numeric; --from may imply it.")] = "",
    cases: Annotated[
        Path | None, typer.Option(help="JSON Lines file of cases, or the items of a --from grader.")
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--from", help="Task or log of lm-eval, log of inspect, OpenAI grader, CSV.")
    ] = None,
    generate: Annotated[
        str | None, typer.Option(help="reasoning-gym:TASK:CASES:SEED; the same always gives the same.")
    ] = None,
    builtin: Annotated[
        str | None, typer.Option(help="A suite that ships with Bessemer, such as general-knowledge.")
    ] = None,
    heldout_text: Annotated[str | None, typer.Option(help="Text version whose held-out documents to use.")] = None,
    heldout_questions: Annotated[str | None, typer.Option(help="Chat version whose held-out questions to use.")] = None,
    options: Annotated[str, typer.Option(help="Settings of the grader, as JSON of GraderOptions.")] = "{}",
    max_tokens: Annotated[int, typer.Option(help="Most tokens per case; 0 takes the file's, or 32.", min=0)] = 0,
    sealed: Annotated[bool, typer.Option(help="Keep the text of cases out of results and comparisons.")] = False,
) -> None:
    """Seal a suite of cases.

    Example: bessemer eval suite handbook-text --grader perplexity --heldout-text handbook/v1
    """
    settings = settings_of(context)
    items = cases if source is not None else None
    given = (None if items else cases, source, generate, builtin, heldout_text, heldout_questions)
    if sum(each is not None for each in given) != 1:
        raise typer.BadParameter(
            "give exactly one of --cases, --from, --generate, --builtin, --heldout-text, --heldout-questions"
        )
    draft = None
    if source is not None:
        draft = read_suite(source, items=items, grader=grader)
    elif generate is not None:
        draft = generate_suite(generate)
    asked: dict[str, Any] = {
        "grader": _kind(grader or (draft.grader if draft else "")),
        "max_tokens": max_tokens or (draft.max_tokens if draft else 0) or 32,
        "options": {**(draft.options if draft else {}), **_options(options)},
        "sealed": sealed,
    }
    fields: dict[str, Any] = {"evaluation_suite": asked}
    with settings.client() as client, tempfile.TemporaryDirectory(prefix="bessemer-") as folder:
        if draft is not None:
            cases = draft.write(Path(folder) / "cases.jsonl")
        if cases is not None:
            fields["upload"] = client.upload(settings.project, cases).name
        elif builtin is not None:
            fields["builtin"] = builtin
        else:
            asked["dataset_version"] = settings.version_name("datasets", heldout_text or heldout_questions or "")
            fields["heldout_text" if heldout_text else "heldout_questions"] = True
        made = client.eval.create_evaluation_suite(parent=settings.project, evaluation_suite_id=suite_id, **fields)
        shown = {"suite": short(made.name), "cases": made.num_cases, "digest": made.cases.sha256}
        print_message(settings, made, shown | ({"notes": "; ".join(draft.notes)} if draft and draft.notes else {}))


@app.command("suites")
def suites(context: typer.Context) -> None:
    """List suites.

    Example: bessemer eval suites
    """
    settings = settings_of(context)
    with settings.client() as client:
        found = list(client.pages(client.eval.list_evaluation_suites, parent=settings.project))
        columns: Columns = {
            "suite": lambda s: short(s.name),
            "grader": lambda s: _grader(s.grader),
            "cases": lambda s: s.num_cases,
            "digest": lambda s: s.cases.sha256[:12],
        }
        print_rows(settings, found, columns)


@app.command()
def runs(context: typer.Context) -> None:
    """List runs, own and imported ones, with their scores.

    Example: bessemer eval runs
    """
    settings = settings_of(context)
    with settings.client() as client:
        found = list(client.pages(client.eval.list_evaluation_runs, parent=settings.project))
        columns: Columns = {
            "run": lambda r: short(r.name),
            "model": lambda r: short(r.model_version),
            "state": job_state,
            "scores": lambda r: ", ".join(f"{short(one.suite)} {one.score:.4g}" for one in r.results),
            "from": lambda r: r.imported.tool or short(r.endpoint),
        }
        print_rows(settings, found, columns)


@app.command()
def run(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="Model version, such as assistant/v2.")],
    suite_ids: Annotated[list[str], typer.Option("--suite", help="Suite to run; may be repeated.")],
    endpoint: Annotated[
        str, typer.Option(help="Endpoint that serves it: its answers are scored and held against the model's files.")
    ] = "",
    check: Annotated[
        bool, typer.Option("--contamination", help="Look for the cases in the datasets it was trained on.")
    ] = False,
) -> None:
    """Run suites against a model version.

    Example: bessemer eval run assistant/v2 --suite handbook-text --suite general
    """
    settings = settings_of(context)
    with settings.client() as client:
        run_fields = {
            "model_version": settings.version_name("models", model),
            "suites": [settings.name("evaluationSuites", suite_id) for suite_id in suite_ids],
            "endpoint": settings.name("endpoints", endpoint) if endpoint else "",
            "check_contamination": check,
        }
        job = client.eval.create_evaluation_run(parent=settings.project, evaluation_run=run_fields)
        done = follow(client, settings, job, f"evaluating {model}")
        columns: Columns = {
            "suite": lambda r: short(r.suite),
            "score": lambda r: f"{r.score:.4g}",
            "95 % interval": lambda r: f"{r.interval.low:.4g} to {r.interval.high:.4g}",
            "cases": lambda r: r.num_cases,
        }
        if check:
            columns["in training data"] = lambda r: r.num_contaminated
        print_rows(settings, list(done.results) if settings.output is Output.TABLE else [done], columns)
        if settings.output is Output.TABLE:
            console.print(f"run: {short(done.name)}")
            for line in _parity(done) if endpoint else ():
                console.print(line, markup=False)


@app.command()
def plan(
    context: typer.Context,
    suite_id: Annotated[str, typer.Option("--suite", help="Suite to plan for.")],
    difference: Annotated[float, typer.Option(help="Difference to see, such as 0.02 for two points.")],
    pilot: Annotated[
        tuple[str, str] | None, typer.Option(help="Two earlier runs, from which variance and correlation are taken.")
    ] = None,
) -> None:
    """Say before a run how many cases a suite needs to see a difference; ends 1 if it has too few.

    Example: bessemer eval plan --suite faq --difference 0.02
    """
    settings = settings_of(context)
    baseline, candidate = (settings.name("evaluationRuns", run) for run in pilot) if pilot else ("", "")
    with settings.client() as client:
        found = client.eval.plan_evaluation(
            suite=settings.name("evaluationSuites", suite_id),
            difference=difference,
            pilot_baseline_run=baseline,
            pilot_candidate_run=candidate,
        )
        source = "the pilot" if found.from_pilot else "what real suites showed; a --pilot is better"
        facts = {
            "cases": f"has {found.num_cases:,} in {found.num_clusters:,} groups, needs {found.num_cases_needed:,}",
            "sees": f"{found.detectable_difference:.1%} as it is, four times in five",
            "variance": f"{found.variance:.3g} of one paired difference, design effect {found.design_effect:.2f}",
            "from": source,
        }
        print_message(settings, found, facts)
        if found.num_cases_needed > found.num_cases:
            raise typer.Exit(1)


@app.command()
def compare(
    context: typer.Context,
    baseline: Annotated[str, typer.Argument(help="Run of the baseline.")],
    candidate: Annotated[str, typer.Argument(help="Run of the candidate.")],
    form: FormatOption = None,
    save: SaveOption = None,
) -> None:
    """Compare two runs case by case.

    Example: bessemer eval compare job-0199aa job-0199bb --format html --save compare.html
    """
    settings = settings_of(context)
    with settings.client() as client:
        found = client.eval.compare_runs(**_runs(settings, baseline, candidate))
    if form is not None:
        _emit({Format.JUNIT: comparison_junit, Format.HTML: comparison_html}.get(form, _json)(found), save)
        return
    print_message(settings, found, {"baseline": short(found.baseline_run), "candidate": short(found.candidate_run)})
    if settings.output is Output.TABLE:
        console.print(comparison_table(found.suites))
        for suite_comparison in found.suites:
            for flip in suite_comparison.flips:
                console.print(f"  {flip.case_id}: {_change(flip)}", markup=False)


@app.command()
def gate(
    context: typer.Context,
    baseline: Annotated[str, typer.Argument(help="Run of the baseline.")],
    candidate: Annotated[str, typer.Argument(help="Run of the candidate.")],
    rules: Annotated[
        list[str] | None,
        typer.Option("--rule", help="suite:minimum, such as handbook-text:0.2; add ':advisory' to only advise."),
    ] = None,
    policy: Annotated[str, typer.Option(help="Policy to decide by, instead of rules.")] = "",
    form: FormatOption = None,
    save: SaveOption = None,
) -> None:
    """Decide whether a candidate may be released; ends 1 unless the verdict is PASS.

    Example: bessemer eval gate job-0199aa job-0199bb --policy release
    """
    settings = settings_of(context)
    with settings.client() as client:
        decision = client.eval.decide_gate(
            parent=settings.project,
            rules=[_rule(settings, rule) for rule in rules or []],
            gate_policy=settings.name("gatePolicies", policy) if policy else "",
            **_runs(settings, baseline, candidate),
        )
    if form is not None:
        _emit({Format.JUNIT: decision_junit, Format.HTML: decision_html}.get(form, _json)(decision), save)
    else:
        verdict = evaluation_pb2.Verdict.Name(decision.verdict).removeprefix("VERDICT_")
        print_message(settings, decision, {"decision": short(decision.name), "verdict": verdict})
    if form is None and settings.output is Output.TABLE:
        for rule in decision.rules:
            word = evaluation_pb2.Verdict.Name(rule.verdict).removeprefix("VERDICT_")
            console.print(f"  {word:13} {short(rule.rule.suite)}: {rule.explanation}", markup=False)
    if decision.verdict != evaluation_pb2.VERDICT_PASS:
        raise typer.Exit(1)


def comparison_table(comparisons: Any) -> Table:
    """Return the table people need: scores, paired difference, interval, flips, verdict."""
    table = Table(
        "suite",
        "baseline",
        "candidate",
        "difference",
        "95 % interval",
        "better",
        "worse",
        "verdict",
        box=None,
        header_style="bold",
    )
    for each in comparisons:
        sign = f"{each.difference:+.2%}" if not each.higher_is_better else f"{each.difference:+.3f}"
        bounds = (each.interval.low, each.interval.high)
        interval = " to ".join(f"{b:+.2%}" if not each.higher_is_better else f"{b:+.3f}" for b in bounds)
        table.add_row(
            short(each.suite),
            f"{each.baseline:.4g}",
            f"{each.candidate:.4g}",
            sign,
            interval,
            str(each.num_better),
            str(each.num_worse),
            verdict_of(each),
        )
    return table


def _parity(run: evaluation_pb2.EvaluationRun) -> list[str]:
    """Say whether the endpoint is the model, and by which checks it is not."""
    failed = [check for check in run.parity.checks if not check.passed]
    word = "the endpoint says what the model's own files say" if run.parity.passed else "the endpoint is not the model"
    told = [f"  {check.name}: {check.value:.4g}, limit {check.limit:.4g} {check.detail}" for check in failed]
    return [f"parity: {word} ({len(run.parity.checks)} checks, {run.parity.precision})", *told]


def _runs(settings: Settings, baseline: str, candidate: str) -> dict[str, str]:
    return {
        "baseline_run": settings.name("evaluationRuns", baseline),
        "candidate_run": settings.name("evaluationRuns", candidate),
    }


def _change(flip: Any) -> str:
    """Say what changed: the answers, or the scores where nothing was answered."""
    if not flip.baseline_output and not flip.candidate_output:
        return f"{flip.baseline_score:.4g} -> {flip.candidate_score:.4g}"
    return f"{flip.baseline_output[:80]!r} -> {flip.candidate_output[:80]!r} (right: {flip.target[:80]!r})"


def _json(message: Any) -> str:
    return json_format.MessageToJson(message, preserving_proto_field_name=True) + "\n"


def _emit(text: str, save: Path | None) -> None:
    if save is None:
        sys.stdout.write(text)
    else:
        save.write_text(text, encoding="utf-8")
        console.print(f"saved: {save}")


def _rule(settings: Settings, text: str) -> dict[str, Any]:
    suite_id, _, rest = text.partition(":")
    minimum, _, advisory = rest.partition(":")
    try:
        difference = float(minimum)
    except ValueError:
        raise typer.BadParameter(f"a rule looks like suite:minimum, such as handbook-text:0.2; got {text!r}") from None
    if advisory not in ("", "advisory"):
        raise typer.BadParameter(f"after the minimum only ':advisory' may follow; got {text!r}")
    return {
        "suite": settings.name("evaluationSuites", suite_id),
        "min_difference": difference,
        "blocking": not advisory,
    }


def _grader(kind: int) -> str:
    return evaluation_pb2.GraderKind.Name(kind).removeprefix("GRADER_KIND_").lower()


def _kind(grader: str) -> str:
    kinds = {_grader(kind): evaluation_pb2.GraderKind.Name(kind) for kind in evaluation_pb2.GraderKind.values() if kind}
    if grader not in kinds:
        raise typer.BadParameter(f"no grader {grader!r}; there are {', '.join(sorted(kinds))}")
    return kinds[grader]


def _options(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise typer.BadParameter(f"--options must be a JSON object; got {text[:80]!r}")
    return found
