"""`bessemer rollout`: a new version gets traffic in stages, and evidence promotes it or turns it back."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.table import Table

from bessemer.api.serve.v1 import rollout_pb2
from bessemer.cli.monitor import sparkline
from bessemer.cli.output import console, print_message, print_rows, short, time_text
from bessemer.cli.settings import Output, Settings, settings_of
from bessemer.kernel.errors import FailedPrecondition, NotFound, Unavailable

__all__ = ["app", "deployment_name", "left_text", "parse_stages", "rollout_table", "ticks"]

Columns = dict[str, Callable[[Any], Any]]
app = typer.Typer(
    help="Give a new version traffic in stages; evidence promotes it or turns it back.", no_args_is_help=True
)
Endpoint = Annotated[str, typer.Argument(help="Endpoint, such as assistant.")]
Name = Annotated[str, typer.Argument(help="Rollout as ENDPOINT/ID, or the endpoint alone for the running or last one.")]
Seconds = Annotated[float, typer.Option(help="Stop after so long; 0 goes on until Ctrl-C.", min=0)]
Reason = Annotated[str, typer.Option(help="Why, for the record.")]

_POLL_S = 1.0


@app.command()
def start(
    context: typer.Context,
    endpoint: Endpoint,
    model: Annotated[str, typer.Argument(help="Model version, such as assistant/v4; or with --standby a deployment.")],
    gate: Annotated[str, typer.Option(help="Gate decision that passed this version.")] = "",
    waiver: Annotated[str, typer.Option(help="Signed waiver, in place of a passed gate.")] = "",
    standby: Annotated[bool, typer.Option("--standby", help="MODEL is a warm standby of the endpoint.")] = False,
    stages: Annotated[
        str, typer.Option(help="Such as shadow,1:20,10:10,50 - percent of traffic : points of harm to rule out.")
    ] = "",
    margin: Annotated[float | None, typer.Option(help="Points that feedback may be worse.", min=0.1, max=50)] = None,
    alpha: Annotated[
        float, typer.Option(help="Chance of turning back a version that is no worse.", min=1e-6, max=0.5)
    ] = 0.05,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it to its end.")] = False,
) -> None:
    """Start rolling a version out behind an endpoint. Default stages: shadow, 1, 10, 50, then 100 %.

    Example: bessemer rollout start assistant assistant/v4 --gate gate-0199f3 --watch
    """
    settings = settings_of(context)
    name = settings.name("endpoints", endpoint)
    plan: dict[str, Any] = {"alpha": alpha, "stages": parse_stages(stages) if stages else []}
    if margin is not None:
        plan["metrics"] = _metrics(margin / 100)
    if standby:
        fields = {"deployment": deployment_name(name, model)}
    else:
        fields = {
            "model_version": settings.version_name("models", model),
            "gate_decision": settings.name("gateDecisions", gate) if gate else "",
            "gate_waiver": settings.name("gateWaivers", waiver) if waiver else "",
        }
    with settings.client() as client:
        made = client.serve.start_rollout(endpoint=name, plan=plan, **fields)
        if watch:
            _follow(settings, client, made.name, 0)
            return
    shown = {
        "rollout": short(made.name),
        "from": short(made.baseline),
        "to": short(made.candidate),
        "stages": ", ".join(_stage_text(one) for one in made.plan.stages),
        "next": f"bessemer rollout watch {short(made.name)}",
    }
    print_message(settings, made, shown)


@app.command("watch")
def watch_rollout(context: typer.Context, rollout: Name, seconds: Seconds = 0) -> None:
    """Follow a rollout live to its end: evidence of each metric, and how long it will probably take.

    Example: bessemer rollout watch assistant
    """
    settings = settings_of(context)
    with settings.client() as client:
        _follow(settings, client, _resolve(settings, client, rollout), seconds)


@app.command("list")
def list_(context: typer.Context, endpoint: Endpoint) -> None:
    """List the rollouts of an endpoint, newest last.

    Example: bessemer rollout list assistant
    """
    settings = settings_of(context)
    with settings.client() as client:
        found = list(client.pages(client.serve.list_rollouts, parent=settings.name("endpoints", endpoint)))
    columns: Columns = {
        "rollout": lambda one: short(one.name),
        "from": lambda one: short(one.baseline).rpartition("/")[2],
        "to": lambda one: short(one.candidate).rpartition("/")[2],
        "state": _state,
        "why": lambda one: one.steps[-1].reason if one.steps else "",
    }
    print_rows(settings, found, columns)


@app.command()
def abort(context: typer.Context, rollout: Name, reason: Reason = "") -> None:
    """End a rollout: the old version has all traffic again, at once.

    Example: bessemer rollout abort assistant --reason "wrong prompt"
    """
    settings = settings_of(context)
    with settings.client() as client:
        ended = client.serve.abort_rollout(name=_resolve(settings, client, rollout), reason=reason)
    print_message(settings, ended, _ended_fields(ended))


@app.command()
def promote(context: typer.Context, rollout: Name, reason: Reason = "") -> None:
    """End a rollout: the new version has all traffic, whatever the evidence.

    Example: bessemer rollout promote assistant --reason "hotfix"
    """
    settings = settings_of(context)
    with settings.client() as client:
        ended = client.serve.promote_rollout(name=_resolve(settings, client, rollout), reason=reason)
    print_message(settings, ended, _ended_fields(ended))


def parse_stages(text: str) -> list[dict[str, Any]]:
    """Return the stages of `shadow,1:20,10:10,50`: percents of the traffic and points of harm to rule out."""
    stages = []
    for part in text.split(","):
        percent, _, harm = part.strip().partition(":")
        shadow = percent == "shadow"
        try:
            stages.append(
                {"shadow": shadow, "percent": 100.0 if shadow else float(percent), "harm": float(harm or 0) / 100}
            )
        except ValueError:
            raise typer.BadParameter(f"{part!r}: write PERCENT[:HARM] or shadow[:HARM], such as 10:10") from None
    return stages


def left_text(pairs_left: int | None, pairs: int, elapsed_s: float) -> str:
    """Return how long a metric will probably take at the speed so far."""
    if pairs_left is None:
        return "not yet known"
    if pairs_left == 0:
        return "shown"
    wait = f", {time_text(pairs_left * elapsed_s / pairs)}" if pairs else ""
    return f"about {pairs_left} pairs{wait}"


def _follow(settings: Settings, client: Any, name: str, seconds: float) -> None:
    """Show a rollout until it ends; leaves with an error if it was turned back."""
    history, found = dict[str, list[float]](), None
    with Live(console=console, auto_refresh=False) as live:
        for _ in ticks(seconds):
            try:
                found = client.serve.get_rollout(name=name)
            except Unavailable:
                continue  # a service that starts again goes on with what it had
            for one in found.evidence:
                history.setdefault(one.metric, []).append(_progress(one.worse, one.worse_threshold))
            if settings.output is Output.TABLE:
                live.update(rollout_table(found, history), refresh=True)
            if found.HasField("end_time"):
                break
    if found is None:
        raise Unavailable(f"serve_svc did not answer about {name}")
    if settings.output is Output.JSON:
        print_message(settings, found, {})
    if found.state in {rollout_pb2.ROLLOUT_STATE_ROLLED_BACK, rollout_pb2.ROLLOUT_STATE_ABORTED}:
        raise FailedPrecondition(f"{short(name)} is {_state(found)}: {found.steps[-1].reason}", resource=name)


def ticks(seconds: float) -> Iterator[None]:
    """Yield about every second, for so long; 0 goes on for ever."""
    ends = time.monotonic() + (seconds or math.inf)
    while True:
        yield
        if time.monotonic() + _POLL_S > ends:
            return
        time.sleep(_POLL_S)


def _resolve(settings: Settings, client: Any, text: str) -> str:
    """Return the name of a rollout given as such, as ENDPOINT/ID, or by its endpoint."""
    if text.startswith("projects/"):
        return text
    endpoint, slash, rollout = text.partition("/")
    name = settings.name("endpoints", endpoint)
    if slash:
        return f"{name}/rollouts/{rollout}"
    if running := client.serve.get_endpoint(name=name).rollout:
        return str(running)
    found = list(client.pages(client.serve.list_rollouts, parent=name))
    if not found:
        raise NotFound(f"{endpoint} has had no rollout; start one with: bessemer rollout start {endpoint} MODEL")
    return str(found[-1].name)


def deployment_name(endpoint: str, text: str) -> str:
    """Return the full name of an endpoint's deployment given by its id."""
    return text if text.startswith("projects/") else f"{endpoint}/deployments/{text.rpartition('/')[2]}"


def _metrics(margin: float) -> list[dict[str, Any]]:
    return [
        {"id": "feedback", "signal": "ROLLOUT_SIGNAL_FEEDBACK", "margin": margin},
        {"id": "success", "signal": "ROLLOUT_SIGNAL_SUCCESS", "margin": 0.01},
    ]


def rollout_table(rollout: Any, history: Mapping[str, list[float]]) -> Table:
    """Return where each metric of a rollout stands; `history` holds progress from 0 to 1, oldest first."""
    running = rollout.state == rollout_pb2.ROLLOUT_STATE_RUNNING
    stage = (
        f", stage {rollout.stage + 1} of {len(rollout.plan.stages)}: {_stage_text(rollout.plan.stages[rollout.stage])}"
    )
    title = f"{short(rollout.name)}: {_state(rollout)}{stage if running else ''}; {rollout.steps[-1].reason}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in ("metric", "new", "old", "pairs", "difference", "worse", "safe", "left in this stage", ""):
        table.add_column(column)
    begun = rollout.steps[1].time if len(rollout.steps) > 1 else rollout.create_time
    elapsed_s = (datetime.now(UTC) - begun.ToDatetime(UTC)).total_seconds()
    guards = {metric.id for metric in rollout.plan.metrics if metric.guard_only}
    for one in rollout.evidence:
        left = left_text(one.pairs_left if one.HasField("pairs_left") else None, one.pairs, elapsed_s)
        table.add_row(
            one.metric,
            _share_text(one.candidate),
            _share_text(one.baseline),
            str(one.pairs),
            f"{100 * one.difference:+.1f} pt",
            f"{one.worse:.3g} of {one.worse_threshold:g}",
            f"{one.safe:.3g} of {one.safe_threshold:g} (-{100 * one.harm:g} pt)",
            "guards only" if one.metric in guards else left if running else "",
            sparkline(history.get(one.metric, [])),
        )
    return table


def _progress(evidence: float, threshold: float) -> float:
    return min(1.0, math.log(max(1.0, evidence)) / math.log(threshold))


def _share_text(counts: Any) -> str:
    return f"{100 * counts.good / counts.total:.1f} % of {counts.total}" if counts.total else "none yet"


def _stage_text(stage: Any) -> str:
    return "shadow" if stage.shadow else f"{stage.percent:g} %"


def _state(rollout: Any) -> str:
    return rollout_pb2.RolloutState.Name(rollout.state).removeprefix("ROLLOUT_STATE_").lower().replace("_", " ")


def _ended_fields(rollout: Any) -> dict[str, str]:
    return {"rollout": short(rollout.name), "state": _state(rollout), "reason": rollout.steps[-1].reason}
