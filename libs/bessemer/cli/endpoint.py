"""`bessemer endpoint`: who has the traffic, how each does, and the way back."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table

from bessemer.api.serve.v1 import deployment_pb2
from bessemer.cli.monitor import sparkline
from bessemer.cli.output import console, print_message, print_rows, short, time_text
from bessemer.cli.rollout import deployment_name, rollout_table, ticks
from bessemer.cli.settings import Output, settings_of

__all__ = ["app", "parse_shares"]

Columns = dict[str, Callable[[Any], Any]]
app = typer.Typer(help="Who answers, which share each has, and the way back.", no_args_is_help=True)
Endpoint = Annotated[str, typer.Argument(help="Endpoint, such as assistant.")]


@app.command("list")
def list_endpoints(context: typer.Context) -> None:
    """List endpoints and who has their traffic.

    Example: bessemer endpoint list
    """
    settings = settings_of(context)
    with settings.client() as client:
        found = list(client.pages(client.serve.list_endpoints, parent=settings.project))
    columns: Columns = {
        "endpoint": lambda e: short(e.name),
        "traffic": _traffic_text,
        "rollout": lambda e: short(e.rollout),
        "rollback to": lambda e: _shares_text(e.previous_traffic) if _way_back(e) else "",
    }
    print_rows(settings, found, columns)


@app.command()
def describe(context: typer.Context, endpoint: Endpoint) -> None:
    """Show an endpoint's deployments: their share, state, speed, errors and cost.

    Example: bessemer endpoint describe assistant
    """
    settings = settings_of(context)
    with settings.client() as client:
        name = settings.name("endpoints", endpoint)
        found, stats = client.serve.get_endpoint(name=name), client.serve.get_endpoint_stats(name=name)
    if settings.output is Output.JSON:
        print_rows(settings, [found, stats], {})
        return
    console.print(_stats_table(found, stats, {}))
    if found.rollout:
        console.print(f"rollout: {short(found.rollout)}; see bessemer rollout watch {short(found.name)}")
    if _way_back(found):
        until = found.previous_until.ToDatetime(UTC)
        console.print(
            f"the way back, warm until {until:%H:%M} UTC: {_shares_text(found.previous_traffic)}; "
            f"bessemer endpoint rollback {short(found.name)}"
        )


@app.command()
def split(
    context: typer.Context,
    endpoint: Endpoint,
    shares: Annotated[list[str], typer.Argument(help="DEPLOYMENT=PERCENT; 0 keeps a warm standby.")],
    shadow: Annotated[str, typer.Option(help="DEPLOYMENT[=PERCENT] that hears the same without being heard.")] = "",
    keep_warm: Annotated[
        int | None, typer.Option(help="Seconds for which who loses the traffic stays loaded.", min=0, max=604_800)
    ] = None,
) -> None:
    """Set who answers which share of the requests; users keep their deployment.

    Example: bessemer endpoint split assistant d-0199f3=90 d-01a221=10
    """
    settings = settings_of(context)
    name = settings.name("endpoints", endpoint)
    fields: dict[str, Any] = {"traffic": _named(name, parse_shares(shares))}
    if shadow:
        (fields["shadow"],) = _named(name, parse_shares([shadow if "=" in shadow else f"{shadow}=100"]))
    if keep_warm is not None:
        fields["keep_warm_s"] = keep_warm
    with settings.client() as client:
        etag = client.serve.get_endpoint(name=name).etag
        changed = client.serve.set_traffic(name=name, etag=etag, **fields)
    print_message(settings, changed, _endpoint_fields(changed))


@app.command()
def rollback(
    context: typer.Context, endpoint: Endpoint, reason: Annotated[str, typer.Option(help="Why, for the record.")] = ""
) -> None:
    """Give the traffic back to who had it before the last change, at once; ends a running rollout.

    Example: bessemer endpoint rollback assistant --reason "complaints about prices"
    """
    settings = settings_of(context)
    began = time.monotonic()
    with settings.client() as client:
        changed = client.serve.rollback_endpoint(name=settings.name("endpoints", endpoint), reason=reason)
    fields = _endpoint_fields(changed) | {"took": f"{1000 * (time.monotonic() - began):.0f} ms"}
    print_message(settings, changed, fields)


@app.command("watch")
def watch_endpoint(
    context: typer.Context,
    endpoint: Endpoint,
    seconds: Annotated[float, typer.Option(help="Stop after so long; 0 goes on until Ctrl-C.", min=0)] = 0,
) -> None:
    """Follow an endpoint live: requests, speed, errors and cost of each deployment, and its rollout.

    Example: bessemer endpoint watch assistant
    """
    settings = settings_of(context)
    name, history = settings.name("endpoints", endpoint), dict[str, list[float]]()
    with settings.client() as client, Live(console=console, auto_refresh=False) as live:
        for _ in ticks(seconds):
            found, stats = client.serve.get_endpoint(name=name), client.serve.get_endpoint_stats(name=name)
            for one in stats.deployments:
                history.setdefault(one.deployment, []).append(one.tokens_per_s)
            parts = [_stats_table(found, stats, history)]
            if found.rollout:
                parts.append(rollout_table(client.serve.get_rollout(name=found.rollout), {}))
            live.update(Group(*parts), refresh=True)


def parse_shares(texts: list[str]) -> dict[str, float]:
    """Return deployments and percents of `d-1=90 d-2=10`."""
    shares = {}
    for text in texts:
        deployment, _, percent = text.partition("=")
        try:
            shares[deployment] = float(percent)
        except ValueError:
            raise typer.BadParameter(f"{text!r}: write DEPLOYMENT=PERCENT, such as d-0199f3=90") from None
    return shares


def _stats_table(endpoint: Any, stats: Any, history: Mapping[str, list[float]]) -> Table:
    title = f"{short(endpoint.name)}: rates and quantiles over the last {time_text(stats.window_s)}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    costs = any(one.cost for one in stats.deployments)
    columns = (
        "deployment", "model", "state", "share", "in flight", "requests", "errors", "tokens/s", "first token p50/p95",
        "per token p50/p95", "tokens", *(["cost"] if costs else []), *([""] if history else []),
    )  # fmt: skip
    for column in columns:
        table.add_column(column, no_wrap=column == "deployment", overflow="fold")
    for one in stats.deployments:
        speed = history.get(one.deployment, [])
        table.add_row(
            short(one.deployment).rpartition("/")[2],
            short(one.model_version),
            deployment_pb2.DeploymentState.Name(one.state).removeprefix("DEPLOYMENT_STATE_").lower(),
            "shadow" if one.shadow else f"{one.percent:g} %",
            str(one.in_flight),
            str(one.requests),
            f"[red]{one.errors}[/red]" if one.errors else "0",
            f"{one.tokens_per_s:.1f}",
            f"{one.ttft_p50_s:.2f} / {one.ttft_p95_s:.2f} s",
            f"{1000 * one.tpot_p50_s:.0f} / {1000 * one.tpot_p95_s:.0f} ms",
            str(one.prompt_tokens + one.completion_tokens),
            *([f"{one.cost:.4g}"] if costs else []),
            *([sparkline(value / max(*speed, 1e-9) for value in speed) if len(speed) > 1 else ""] if history else []),
        )
    return table


def _way_back(endpoint: Any) -> bool:
    return bool(endpoint.previous_traffic) and endpoint.previous_until.ToDatetime(UTC) > datetime.now(UTC)


def _endpoint_fields(endpoint: Any) -> dict[str, str]:
    return {"endpoint": short(endpoint.name), "traffic": _traffic_text(endpoint)}


def _traffic_text(endpoint: Any) -> str:
    shadow = f", shadow {short(endpoint.shadow.deployment).rpartition('/')[2]}" if endpoint.HasField("shadow") else ""
    return (_shares_text(endpoint.traffic) or "nobody") + shadow


def _shares_text(shares: Any) -> str:
    return ", ".join(f"{short(one.deployment).rpartition('/')[2]} {one.percent:g} %" for one in shares)


def _named(endpoint: str, shares: Mapping[str, float]) -> list[dict[str, Any]]:
    return [{"deployment": deployment_name(endpoint, one), "percent": percent} for one, percent in shares.items()]
