"""What a parser hands back: documents, or why there is none."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from data_svc.domain.conversations import RowInvalid, read_record, render
from data_svc.domain.formats import Format
from data_svc.domain.normal_form import cut, normalise
from data_svc.domain.reasons import Reason

__all__ = ["Parser", "Part", "Refused", "cut_parts", "held_parts", "row_parts"]


@dataclass(frozen=True)
class Part:
    """One document out of a file, or why there is none.

    `suffix` tells parts of one file apart; `name` stands for the file's own where it holds files with names.
    """

    text: str = ""
    suffix: str = ""
    replaced: int = 0
    format: str = ""
    reason: str = ""
    detail: str = ""
    size_bytes: int = 0
    name: str = ""


class Refused(Exception):
    """A file that is not read, for a reason of its own."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


Parser = Callable[[Path, Format], Iterator[Part]]


def held_parts(data: bytes, found: Format, parse: Parser) -> Iterator[Part]:
    """Yield what `parse` makes of a file that another file holds; whatever it raises is the fate of this one alone."""
    with tempfile.NamedTemporaryFile(dir=".", prefix="held-") as file:
        file.write(data)
        file.flush()
        try:
            yield from parse(Path(file.name), found)
        except Refused as error:
            yield Part(reason=error.reason, detail=error.detail, size_bytes=len(data))
        except Exception as error:  # noqa: BLE001 - parsers raise nearly anything
            detail = f"{type(error).__name__}: {error}"[:500]
            yield Part(reason=Reason.PARSE_FAILED, detail=detail, size_bytes=len(data))


def cut_parts(text: str, found: Format | str, replaced: int = 0, suffix: str = "") -> Iterator[Part]:
    """Yield the normalised text, in pieces if it is very long."""
    for number, piece in enumerate(cut(normalise(text))):
        yield Part(piece, suffix + (f"#part{number + 1}" if number else ""), replaced, str(found))


def row_parts(value: object, found: Format, *, rows: bool, replaced: int, suffix: str, size: int) -> Iterator[Part]:
    """Yield the document or the row that a record holds, or that it holds neither.

    `rows` asks for conversations as JSON rows instead of as text; `size` is the record's length in bytes.
    """
    try:
        row = read_record(value)
    except RowInvalid as error:
        yield Part("", suffix, 0, found, Reason.ROW_INVALID, str(error), size)
        return
    if row.kind == "TEXT":
        yield from cut_parts(row.text, found, replaced, suffix)
    elif rows:
        yield Part(row.canonical(), suffix, replaced, row.kind)
    else:
        yield from cut_parts(render(row), "conversation", replaced, suffix)
