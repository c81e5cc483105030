"""Tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from rich.console import Console
from rich.table import Table

from bessemer.api.common.v1 import job_pb2
from bessemer.cli.settings import Output, Settings

__all__ = ["bytes_text", "job_state", "print_message", "print_rows", "short", "time_text"]

console = Console(highlight=False)


def print_message(settings: Settings, message: Message, fields: Mapping[str, Any]) -> None:
    """Print one resource: all of it as JSON, or the given fields as a table."""
    if settings.output is Output.JSON:
        print(json_format.MessageToJson(message, preserving_proto_field_name=True))
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    for key, value in fields.items():
        table.add_row(f"[bold]{key}[/bold]", str(value))
    console.print(table)


def print_rows(settings: Settings, messages: Sequence[Any], columns: Mapping[str, Callable[[Any], Any]]) -> None:
    """Print many resources: all of them as a JSON array, or one cell per column as a table."""
    if settings.output is Output.JSON:
        print(json.dumps([_json(message) for message in messages], indent=2))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for message in messages:
        table.add_row(*(str(cell(message)) for cell in columns.values()))
    console.print(table)


def _json(message: Any) -> Any:
    if isinstance(message, Message):
        return json_format.MessageToDict(message, preserving_proto_field_name=True)
    return vars(message)


def short(name: str) -> str:
    """Return a resource name without project and version words: `handbook/v1`."""
    parts = name.split("/")
    return "/".join(parts[3::2]) if len(parts) > 3 else name


def job_state(job: Any) -> str:
    """Return the state of a job in lower case."""
    return job_pb2.JobState.Name(job.status.state).removeprefix("JOB_STATE_").lower()


def bytes_text(size: float) -> str:
    """Return a size for people."""
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def time_text(seconds: float) -> str:
    """Return a duration for people."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
