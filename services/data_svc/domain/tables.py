"""Tables as Markdown, in blocks of bounded length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["BLOCK_CHARACTERS_MAX", "table", "table_blocks"]

BLOCK_CHARACTERS_MAX = 20_000  # a block fits a context; wider rows make blocks of one row
_HEADER_CHARACTERS_MAX = 200
_CELL_OVERHEAD = 3


def table(rows: Sequence[Mapping[int, str]]) -> str:
    """Return rows, each a mapping from column to cell, as a Markdown table; the first is the header.

    Columns that are empty in all other rows are left out, so that sparse sheets stay small.
    """
    body = rows[1:] or rows[:1]
    columns = sorted({column for row in body for column, cell in row.items() if cell.strip()})
    if not columns:
        return ""
    header = {column: rows[0].get(column, "")[:_HEADER_CHARACTERS_MAX] for column in columns}
    lines = [_line([header[column] for column in columns]), "|" + " --- |" * len(columns)]
    lines += [_line([row.get(column, "") for column in columns]) for row in rows[1:]]
    return "\n".join(lines)


def table_blocks(
    rows: Iterable[Mapping[int, str]], limit: int = BLOCK_CHARACTERS_MAX
) -> Iterator[tuple[int, int, str]]:
    """Yield the first and last row number of each block and its table, with the header of the first row.

    Rows count from 1, the header; rows without text are passed over.
    """
    header: Mapping[int, str] | None = None
    held: list[Mapping[int, str]] = []
    columns: set[int] = set()
    first = characters = number = last = 0
    for number, row in enumerate(rows, 1):
        filled = {column: cell for column, cell in row.items() if cell.strip()}
        if not filled:
            continue
        if header is None:
            header, first, last = filled, number, number
            continue
        columns.update(filled)
        characters += sum(map(len, filled.values()))
        if held and characters + _CELL_OVERHEAD * len(columns) * (len(held) + 1) > limit:
            yield first, last, table([header, *held])
            held, first, characters = [], number, sum(map(len, filled.values()))
            columns = set(filled)
        held.append(filled)
        last = number
    if header is not None and (held or first == last):
        yield first, last, table([header, *held])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"
