"""`bessemer dataset rejections`: what was refused of the documents, and the files themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bessemer.cli.output import bytes_text, console, print_rows
from bessemer.cli.settings import Output, settings_of
from bessemer.sdk.quarantine import FAILURES, read_rejections, save_rejected

__all__ = ["rejections"]

_SHOWN = 50


def rejections(
    context: typer.Context,
    version: Annotated[str, typer.Argument(help="Version, such as handbook/v1.")],
    reasons: Annotated[
        list[str] | None,
        typer.Option("--reason", help="Reason, such as PARSE_FAILED; may be repeated. Without: files that failed."),
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Folder to write the refused files to, as they were.")] = None,
) -> None:
    """List what was refused of a version's uploads, and take the files out of them to look at.

    Example: bessemer dataset rejections handbook/v1 --save refused
    """
    settings = settings_of(context)
    with settings.client() as client:
        found = client.data.get_dataset_version(name=settings.version_name("datasets", version))
        rows = read_rejections(client, found, reasons or FAILURES)
        if save is not None:
            names = [name for name in found.sources if "/uploads/" in name]
            uploads = [client.data.get_upload(name=name) for name in names]
            places = save_rejected(client, uploads, rows, save)
            rows = [{**row, "saved": [str(path) for path in places[row["source"]]]} for row in rows]
    if settings.output is Output.JSON:
        console.print_json(data=rows)
        return
    columns = {
        "source": lambda row: row["source"],
        "reason": lambda row: row["reason"],
        "size": lambda row: bytes_text(row["size_bytes"]),
        "detail": lambda row: row["detail"],
    }
    print_rows(settings, rows[:_SHOWN], columns)
    if len(rows) > _SHOWN:
        console.print(f"and {len(rows) - _SHOWN} more; --output json has all")
    if save is not None:
        missing = sum(not row["saved"] for row in rows)
        console.print(f"{save}: {len(rows) - missing} saved" + (f", {missing} in no upload" if missing else ""))
