"""What a suite is before it is sealed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bessemer.kernel.errors import InvalidRequest

__all__ = ["SuiteDraft", "read_json", "read_rows", "refuse"]

ROWS_MAX = 1_000_000
BYTES_MAX = 1 << 30


@dataclass(frozen=True, kw_only=True)
class SuiteDraft:
    """Cases as records, the grader as in `--grader`, `options` as a GraderOptions record; `notes` are for people.

    `max_tokens` is 0 where the file says nothing.
    """

    grader: str
    cases: Sequence[Mapping[str, Any]]
    options: Mapping[str, Any] = field(default_factory=dict)
    max_tokens: int = 0
    notes: Sequence[str] = ()

    def write(self, path: Path) -> Path:
        """Write the cases as JSON Lines."""
        with path.open("w", encoding="utf-8") as lines:
            for case in self.cases:
                lines.write(json.dumps(case, ensure_ascii=False) + "\n")
        return path


def refuse(path: Path, what: str, *, field: str = "from") -> InvalidRequest:
    """Return the error that says why a file cannot become a suite."""
    return InvalidRequest(f"{path.name}: {what}", field=field)


def read_json(path: Path) -> Any:
    """Read one JSON value.

    Raises: InvalidRequest.
    """
    try:
        if path.stat().st_size > BYTES_MAX:
            raise refuse(path, f"is larger than {BYTES_MAX} bytes; split it")
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise refuse(path, "there is no such file") from None
    except (ValueError, RecursionError) as error:
        raise refuse(path, f"is no JSON: {type(error).__name__}") from error


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a JSON Lines, JSON or CSV file.

    Raises: InvalidRequest naming the line.
    """
    rows = list(_rows(path))
    if not rows or len(rows) > ROWS_MAX:
        raise refuse(path, f"must have 1 to {ROWS_MAX} rows; got {len(rows)}")
    return rows


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix == ".csv":
        yield from _csv_rows(path)
        return
    if path.suffix == ".json":
        value = read_json(path)
        if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
            raise refuse(path, "must hold a list of objects")
        yield from value
        return
    if not path.is_file():
        raise refuse(path, "there is no such file")
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise refuse(path, f"line {number} is no JSON: {type(error).__name__}") from error
            if not isinstance(row, dict):
                raise refuse(path, f"line {number} is no object")
            yield row


def _csv_rows(path: Path) -> Iterator[dict[str, Any]]:
    import csv

    if not path.is_file():
        raise refuse(path, "there is no such file")
    with path.open(encoding="utf-8-sig", newline="") as lines:
        for row in csv.DictReader(lines):
            if None in row or None in row.values():
                raise refuse(path, "a row has more or fewer fields than the header")
            yield dict(row)
