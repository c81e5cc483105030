"""`bessemer monitor`: whether requests are still like the reference, and what to do when they are not."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.table import Table

from bessemer.api.eval.v1 import drift_pb2 as drift
from bessemer.artifacts.lexical import sketch, telling_terms, terms_of
from bessemer.cli.output import console, print_message, print_rows, short
from bessemer.cli.settings import Output, settings_of

__all__ = ["app", "parse_feature", "parse_row", "sparkline"]

Columns = dict[str, Callable[[Any], Any]]
Monitor = Annotated[str, typer.Argument(help="Monitor, such as support.")]
app = typer.Typer(help="Watch requests for drift, with a number of false alarms that you set.", no_args_is_help=True)

_BATCH = 500
_POLL_S = 2.0
_TERMS = 8
_BARS = "▁▂▃▄▅▆▇█"


@app.command()
def create(
    context: typer.Context,
    monitor: Annotated[str, typer.Argument(help="Id of the new monitor.")],
    endpoint: Annotated[str | None, typer.Option(help="Endpoint whose answers serve_svc reports.")] = None,
    feature: Annotated[
        list[str] | None,
        typer.Option(help="NAME:KIND[:ROLE][:hour|weekday], such as latency_s:number:system:hour; repeat it."),
    ] = None,
    reference: Annotated[int, typer.Option(help="First requests, which the later ones are held against.")] = 2000,
    dataset: Annotated[
        str, typer.Option(help="Dataset version whose training texts are the reference, such as faq/v3.")
    ] = "",
    false_alarms: Annotated[float, typer.Option(help="False alarms accepted in 10,000 requests, all together.")] = 0.01,
    outcome: Annotated[str, typer.Option(help="Feature that says whether an answer was good.")] = "",
    confidence: Annotated[str, typer.Option(help="Number by which outcomes are estimated where nobody says.")] = "",
) -> None:
    """Create a monitor. Without --feature it looks at what serve_svc reports of every answer.

    Example: bessemer monitor create support --endpoint support --false-alarms 0.002
    """
    settings = settings_of(context)
    wanted = drift.DriftMonitor(
        endpoint=settings.name("endpoints", endpoint) if endpoint else "",
        features=[parse_feature(text) for text in feature or []],
        num_reference=reference,
        false_alarms=false_alarms,
        outcome=outcome,
        confidence=confidence,
        reference_dataset=settings.version_name("datasets", dataset) if dataset else "",
    )
    with settings.client() as client:
        made = client.eval.create_drift_monitor(parent=settings.project, drift_monitor_id=monitor, drift_monitor=wanted)
    fields = {
        "monitor": short(made.name),
        "features": ", ".join(one.name for one in made.features),
        "reference": (
            f"{made.num_reference} texts of {short(made.reference_dataset)}"
            if made.reference_dataset
            else f"the first {made.num_reference} requests"
        ),
        "false alarms": f"{made.false_alarms:g} in 10,000 requests",
        "next": f"bessemer monitor watch {short(made.name)}",
    }
    print_message(settings, made, fields)


@app.command("list")
def list_(context: typer.Context) -> None:
    """List monitors.

    Example: bessemer monitor list
    """
    settings = settings_of(context)
    with settings.client() as client:
        found = list(client.pages(client.eval.list_drift_monitors, parent=settings.project))
    columns: Columns = {
        "monitor": lambda m: short(m.name),
        "endpoint": lambda m: short(m.endpoint),
        "state": _state,
        "features": lambda m: ", ".join(one.name for one in m.features),
        "false alarms in 10,000": lambda m: f"{m.false_alarms:g}",
    }
    print_rows(settings, found, columns)


@app.command()
def show(
    context: typer.Context,
    monitor: Monitor,
    texts: Annotated[
        Path | None, typer.Option(help="JSON Lines with the texts that were fed, to name the words that came.")
    ] = None,
) -> None:
    """Show where each feature stands, the alarms, and what to collect.

    Example: bessemer monitor show support --texts requests.jsonl
    """
    settings = settings_of(context)
    name = settings.name("driftMonitors", monitor)
    with settings.client() as client:
        found = client.eval.get_drift_monitor(name=name)
        alarms = list(client.pages(client.eval.list_drift_alarms, parent=name))
    if settings.output is Output.JSON:
        print_rows(settings, [found, *alarms], {})
        return
    console.print(_table(found, {}))
    if found.HasField("expected_outcome"):
        interval = found.expected_outcome
        console.print(
            f"expected share of good outcomes: {interval.low:.3f} to {interval.high:.3f} "
            f"({interval.confidence:.0%} interval, if {found.confidence} means what it meant in the reference)"
        )
    for alarm in alarms:
        console.print(f"\n[bold]{_cause(alarm)}[/bold] {alarm.explanation}")
        if alarm.exemplars:
            console.print(f"  requests: {', '.join(alarm.exemplars[-5:])}")
        terms = _terms(found, alarm, texts) if texts else []
        if terms:
            what = f"about {alarm.num_wanted} more examples that speak of" if alarm.num_wanted else "requests with"
            console.print(f"  collect {what}: {', '.join(terms)}")
    if any(level.alarmed for level in found.levels):
        console.print(f"\nafter looking at them: bessemer monitor rearm {short(name)}")


@app.command()
def watch(
    context: typer.Context,
    monitor: Monitor,
    seconds: Annotated[float, typer.Option(help="Stop after so long; 0 goes on until Ctrl-C.", min=0)] = 0,
) -> None:
    """Follow a monitor live: the evidence of each feature on its way to the threshold.

    Example: bessemer monitor watch support
    """
    settings = settings_of(context)
    name, history = settings.name("driftMonitors", monitor), dict[str, list[float]]()
    ends = time.monotonic() + (seconds or math.inf)
    with settings.client() as client, Live(console=console, auto_refresh=False) as live:
        while True:
            found = client.eval.get_drift_monitor(name=name)
            for level in found.levels:
                history.setdefault(level.feature, []).append(_progress(level))
            live.update(_table(found, history), refresh=True)
            if time.monotonic() + _POLL_S > ends:
                return
            time.sleep(_POLL_S)


@app.command()
def feed(
    context: typer.Context,
    monitor: Monitor,
    file: Annotated[Path, typer.Argument(help="JSON Lines: one request a line, with an id and the features.")],
) -> None:
    """Feed requests from a file. Texts stay here: only buckets of their words are sent.

    Example: bessemer monitor feed support requests.jsonl
    """
    settings = settings_of(context)
    name = settings.name("driftMonitors", monitor)
    with settings.client() as client:
        found = client.eval.get_drift_monitor(name=name)
        features = list(found.features)
        rows = (parse_row(line, number, features) for number, line in enumerate(_lines(file), 1))
        before = {alarm.name for alarm in client.pages(client.eval.list_drift_alarms, parent=name)}
        while batch := list(islice(rows, _BATCH)):
            found = client.eval.observe_requests(name=name, rows=batch)
        alarms = [one for one in client.pages(client.eval.list_drift_alarms, parent=name) if one.name not in before]
        found = client.eval.get_drift_monitor(name=name)
    if settings.output is Output.JSON:
        print_rows(settings, [found, *alarms], {})
        return
    console.print(_table(found, {}))
    for alarm in alarms:
        console.print(f"[bold]{_cause(alarm)}[/bold] {alarm.explanation}")
    if alarms:
        console.print(f"words behind it: bessemer monitor show {short(name)} --texts {file}")


@app.command()
def rearm(
    context: typer.Context,
    monitor: Monitor,
    new_reference: Annotated[
        bool, typer.Option("--new-reference", help="Take the next requests as the reference.")
    ] = False,
) -> None:
    """Watch again after looking at the alarms.

    Example: bessemer monitor rearm support
    """
    settings = settings_of(context)
    with settings.client() as client:
        found = client.eval.rearm_drift_monitor(
            name=settings.name("driftMonitors", monitor), new_reference=new_reference
        )
    print_message(settings, found, {"monitor": short(found.name), "state": _state(found)})


def parse_feature(text: str) -> drift.DriftFeature:
    """Return the feature of an option such as `latency_s:number:system:hour`."""
    name, *words = text.split(":")
    known = {
        "kind": ("DRIFT_FEATURE_KIND", list(drift.DriftFeatureKind.keys())),
        "role": ("DRIFT_ROLE", list(drift.DriftRole.keys())),
        "strata": ("DRIFT_STRATA", list(drift.DriftStrata.keys())),
    }
    fields: dict[str, Any] = {}
    for word in words:
        field = next((key for key, (prefix, all_) in known.items() if f"{prefix}_{word.upper()}" in all_), None)
        if field is None:
            raise typer.BadParameter(
                f"{word!r} in {text!r}: a kind is number, binary, category or text, a role input, output, outcome or "
                "system, and strata are hour or weekday"
            )
        fields[field] = f"{known[field][0]}_{word.upper()}"
    if "kind" not in fields:
        raise typer.BadParameter(f"{text!r} names no kind; write {name}:number, :binary, :category or :text")
    return drift.DriftFeature(name=name, **fields)


def parse_row(line: str, number: int, features: Sequence[drift.DriftFeature]) -> drift.DriftRow:
    """Return the request of a line; its texts become buckets of words.

    Raises: typer.BadParameter naming the line and the key.
    """
    try:
        record = json.loads(line)
    except ValueError as error:
        raise typer.BadParameter(f"line {number} is not JSON: {error}") from None
    if not isinstance(record, dict):
        raise typer.BadParameter(f"line {number} must be an object with an id and features")
    row = drift.DriftRow(id=str(record.get("id", number))[:64])
    if (when := record.get("time")) is not None:
        row.time.seconds = _seconds(when, number)
    for feature in features:
        if (value := record.get(feature.name)) is None:
            continue
        match feature.kind, value:
            case drift.DRIFT_FEATURE_KIND_BINARY, bool():
                row.flags[feature.name] = value
            case drift.DRIFT_FEATURE_KIND_NUMBER, int() | float() if not isinstance(value, bool):
                row.numbers[feature.name] = value
            case drift.DRIFT_FEATURE_KIND_CATEGORY, str():
                row.categories[feature.name] = value[:64]
            case drift.DRIFT_FEATURE_KIND_TEXT, str():
                row.buckets.extend(sketch(value))
            case _:
                kind = drift.DriftFeatureKind.Name(feature.kind).removeprefix("DRIFT_FEATURE_KIND_").lower()
                raise typer.BadParameter(f"line {number}: {feature.name} must be a {kind}; got {value!r:.80}")
    return row


def sparkline(values: Iterable[float], width: int = 24) -> str:
    """Return bars for values from 0 to 1, the newest last."""
    recent = list(values)[-width:]
    return "".join(_BARS[min(len(_BARS) - 1, int(max(0.0, value) * len(_BARS)))] for value in recent)


def _seconds(when: Any, number: int) -> int:
    try:
        return int(when if isinstance(when, int | float) else datetime.fromisoformat(str(when)).timestamp())
    except ValueError:
        raise typer.BadParameter(
            f"line {number}: time must be seconds since 1970 or like 2026-11-25T09:00:00+00:00; got {when!r:.80}"
        ) from None


def _lines(file: Path) -> Iterator[str]:
    if not file.is_file():
        raise typer.BadParameter(f"there is no file {file}")
    with file.open(encoding="utf-8") as stream:
        yield from (line for line in stream if line.strip())


def _terms(monitor: drift.DriftMonitor, alarm: drift.DriftAlarm, file: Path) -> list[str]:
    """Return the words that came: what sets the exemplars apart, or what is behind the alarm's buckets."""
    key = next((one.name for one in monitor.features if one.kind == drift.DRIFT_FEATURE_KIND_TEXT), "")
    if alarm.feature != key:
        return []
    exemplars, others = list[str](), list[str]()
    for line in _lines(file):
        record = json.loads(line)
        (exemplars if str(record.get("id")) in alarm.exemplars else others).append(str(record.get(key, "")))
    found = telling_terms(exemplars, others, _TERMS) if exemplars else []
    return found or terms_of(others, alarm.buckets)[:_TERMS]


def _table(monitor: drift.DriftMonitor, history: dict[str, list[float]]) -> Table:
    title = f"{short(monitor.name)}: {_state(monitor)}, {monitor.num_requests} requests"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in ("feature", "reference", "now", "evidence", "of", "way", ""):
        table.add_column(column)
    for level in monitor.levels:
        state = "[red]alarm[/red]" if level.alarmed else "" if level.armed else f"{level.num_reference} collected"
        table.add_row(
            level.feature,
            f"{level.before:.4g}" if level.HasField("before") else "",
            f"{level.now:.4g}" if level.HasField("now") else "",
            f"{level.evidence:.3g}",
            f"{level.threshold:.3g}",
            sparkline(history.get(level.feature, [_progress(level)])),
            state,
        )
    return table


def _progress(level: drift.DriftLevel) -> float:
    """Return how far the evidence is on its way to the threshold, on a logarithmic scale."""
    return min(1.0, math.log(max(1.0, level.evidence)) / math.log(level.threshold)) if level.armed else 0.0


def _state(monitor: drift.DriftMonitor) -> str:
    return drift.DriftMonitorState.Name(monitor.state).removeprefix("DRIFT_MONITOR_STATE_").lower()


def _cause(alarm: drift.DriftAlarm) -> str:
    return drift.DriftCause.Name(alarm.cause).removeprefix("DRIFT_CAUSE_").lower()
