"""`bessemer job compare`: two training jobs side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from rich.table import Table
from rich.text import Text

from bessemer.cli.curves import by_series, plot
from bessemer.cli.output import bytes_text, console, job_state, short, time_text
from bessemer.cli.settings import Output, Settings

__all__ = ["compare", "differences", "print_comparison"]

_LOSS, _SPEED = "train/loss", "train/tokens_per_second"
_SIDES = {"first": "cyan", "second": "magenta"}
_WIDTH, _HEIGHT = 72, 8
# What a job is made from, beside its recipe.
_MADE_FROM = ("base_model_version", "dataset_versions", "mixture")


def compare(jobs: tuple[Any, Any], points: tuple[Any, Any], price_per_hour: float | None) -> dict[str, Any]:
    """Return what differs, both loss curves, and what both cost."""
    series = [by_series(found) for found in points]
    return {
        "jobs": [job.name for job in jobs],
        "differences": differences(*jobs),
        "loss": [curves.get(_LOSS, []) for curves in series],
        "result": [_result(job, curves, price_per_hour) for job, curves in zip(jobs, series, strict=True)],
    }


def differences(first: Any, second: Any) -> dict[str, list[Any]]:
    """Return the settings that differ, as [first, second]; None where a side has none."""
    sides = [dict(_settings(job)) for job in (first, second)]
    keys = sorted(sides[0].keys() | sides[1].keys())
    return {key: [side.get(key) for side in sides] for key in keys if sides[0].get(key) != sides[1].get(key)}


def print_comparison(settings: Settings, found: Mapping[str, Any]) -> None:
    """Print a comparison as JSON, or for people."""
    if settings.output is Output.JSON:
        print(json.dumps(found, indent=2))
        return
    names = [short(name) for name in found["jobs"]]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for name, colour in zip(names, _SIDES.values(), strict=True):
        table.add_column(name, style=colour, overflow="fold")
    for key, values in found["differences"].items():
        table.add_row(key, *("-" if value is None else str(value) for value in values))
    if not found["differences"]:
        table.add_row("settings", "the same", "the same")
    for key in found["result"][0]:
        table.add_row(f"[bold]{key}[/bold]", *(_text(key, side[key]) for side in found["result"]))
    console.print(table)
    curves = {side: curve for side, curve in zip(_SIDES, found["loss"], strict=True) if curve}
    for line in plot(curves, width=_WIDTH, height=_HEIGHT):
        console.print(Text.assemble(*((text, _SIDES.get(side, "")) for text, side in line)))
    if curves:
        values = [value for curve in curves.values() for _, value in curve]
        console.print(f"loss from {max(values):.4g} at the top to {min(values):.4g} at the bottom", style="dim")


def _settings(job: Any) -> Iterator[tuple[str, Any]]:
    yield from _flat("recipe", json_format.MessageToDict(job.recipe, preserving_proto_field_name=True))
    if method := job.recipe.WhichOneof("method"):
        yield "recipe.method", method
    for key in _MADE_FROM:
        value = getattr(job, key)
        yield key, value if isinstance(value, str) else ", ".join(value)


def _flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(f"{path}.{key}", inner)
    else:
        yield path, value


def _result(
    job: Message, curves: Mapping[str, list[tuple[int, float]]], price_per_hour: float | None
) -> dict[str, Any]:
    usage: Any = job.usage  # type: ignore[attr-defined]
    losses, speeds = ([value for _, value in curves.get(key, [])] for key in (_LOSS, _SPEED))
    found: dict[str, Any] = {
        "state": job_state(job),
        "first loss": losses[0] if losses else None,
        "last loss": losses[-1] if losses else None,
        "lowest loss": min(losses, default=None),
        "tokens per second": sum(speeds) / len(speeds) if speeds else None,
        "tokens": usage.tokens,
        "time in steps": usage.seconds,
        "memory": usage.peak_memory_bytes,
    }
    if price_per_hour is not None:
        found["cost"] = usage.seconds / 3600 * price_per_hour
    return found


def _text(key: str, value: Any) -> str:
    if value is None:
        return "-"
    texts = {"memory": bytes_text, "time in steps": time_text}
    if key in texts:
        return texts[key](value)
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
