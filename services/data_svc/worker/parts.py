"""What a parser hands back: documents, or why there is none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from data_svc.domain.conversations import RowInvalid, read_record, render
from data_svc.domain.formats import Format
from data_svc.domain.normal_form import cut, normalise
from data_svc.domain.reasons import Reason

__all__ = ["Part", "Refused", "cut_parts", "row_parts"]


@dataclass(frozen=True)
class Part:
    """One document out of a file, or why there is none; `suffix` tells parts of one file apart."""

    text: str = ""
    suffix: str = ""
    replaced: int = 0
    format: str = ""
    reason: str = ""
    detail: str = ""
    size_bytes: int = 0


class Refused(Exception):
    """A file that is not read, for a reason of its own."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


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
