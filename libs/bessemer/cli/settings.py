"""What every command shares: where the stack is, which project, how to print."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import typer
from rich.console import Console

from bessemer.sdk import Client

__all__ = ["Output", "Settings", "errors_console", "settings_of"]

errors_console = Console(stderr=True, highlight=False, soft_wrap=True)


class Output(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options in front of every command."""

    home: Path
    project_id: str
    output: Output

    @property
    def project(self) -> str:
        """Resource name of the project."""
        return f"projects/{self.project_id}"

    @contextmanager
    def client(self) -> Iterator[Client]:
        """Connect to the stack."""
        with Client.connect(self.home) as client:
            yield client

    def name(self, collection: str, value: str) -> str:
        """Return the full resource name for an id or a name, such as `datasets`, `handbook`."""
        return value if value.startswith("projects/") else f"{self.project}/{collection}/{value}"

    def version_name(self, collection: str, value: str) -> str:
        """Return the full name of a version given as `id/version`, `id@alias`, or a full name."""
        if value.startswith("projects/"):
            return value
        owner, slash, version = value.replace("@", "/@").partition("/")
        if not slash:
            raise typer.BadParameter(f"{value!r} names no version; write {value}/v1, or {value}@champion for an alias")
        return f"{self.project}/{collection}/{owner}/versions/{version}"


def settings_of(context: typer.Context) -> Settings:
    """Return the settings of the running command."""
    settings = context.find_root().obj
    assert isinstance(settings, Settings)
    return settings
