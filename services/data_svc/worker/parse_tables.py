"""Tables with one record per row: CSV as Markdown tables, Parquet as records."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from data_svc.domain.conversations import is_row
from data_svc.domain.decoding import decode
from data_svc.domain.formats import Format
from data_svc.domain.markup import record_to_text
from data_svc.domain.reasons import Reason
from data_svc.domain.tables import table_blocks
from data_svc.worker.lines import LongLine, lines
from data_svc.worker.parts import Part, Refused, cut_parts, row_parts

__all__ = ["read_csv", "read_parquet"]

_FIELD_CHARACTERS_MAX = 1_000_000  # an open quote would swallow the rest of the file
_SAMPLE_BYTES = 1 << 16
_WIDE_BYTES_MAX = 64_000_000  # UTF-16 is read in one piece
_BATCH_ROWS = 100


def read_csv(file: Path, found: Format) -> Iterator[Part]:
    """Yield the rows of a file in blocks, each a Markdown table under the header.

    Rows that cannot be read are refused one by one. Source: RFC 4180.
    """
    csv.field_size_limit(_FIELD_CHARACTERS_MAX)
    refused: list[Part] = []
    for first, last, text in table_blocks(_csv_rows(file, found, refused)):
        yield from refused
        refused.clear()
        yield from cut_parts(text, found, text.count("�"), f"#rows{first}-{last}")
    yield from refused


def _csv_rows(file: Path, found: Format, refused: list[Part]) -> Iterator[dict[int, str]]:
    texts = _text_lines(file, refused)
    head = next(texts, "")
    delimiter = "\t" if found == Format.TSV else max(",;\t|", key=head.count)
    reader = csv.reader(chain([head], texts), delimiter=delimiter)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            suffix = f"#line{reader.line_num}"
            refused.append(Part(suffix=suffix, reason=Reason.ROW_INVALID, detail=str(error)))
            continue
        yield dict(enumerate(row))


def _text_lines(file: Path, refused: list[Part]) -> Iterator[str]:
    """Yield the lines of a file in its encoding, without zero characters; those that are too long are refused."""
    with file.open("rb") as stream:
        encoding = decode(stream.read(_SAMPLE_BYTES)).encoding
    if encoding.startswith("utf-16"):
        if file.stat().st_size > _WIDE_BYTES_MAX:
            raise ValueError(f"UTF-16 of over {_WIDE_BYTES_MAX} bytes; convert it to UTF-8")
        yield from decode(file.read_bytes()).text.splitlines(keepends=True)
        return
    for number, line in enumerate(lines(file), 1):
        if isinstance(line, LongLine):
            detail = f"{line.size_bytes} bytes"
            refused.append(Part("", f"#line{line.number}", 0, "", Reason.LINE_TOO_LONG, detail, line.size_bytes))
        else:
            text = line.decode(encoding, errors="replace").replace("\0", "")
            yield text.removeprefix("\ufeff") if number == 1 else text


def read_parquet(file: Path, *, rows: bool) -> Iterator[Part]:
    """Yield a document for each row: its text or conversation, else its columns as `Key: value` lines.

    Binary columns are left out. Raises: Refused if no column holds text.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as opened:
        columns = [field.name for field in opened.schema_arrow if "binary" not in str(field.type)]
        if not any("string" in str(opened.schema_arrow.field(name).type) for name in columns):
            raise Refused(Reason.EMPTY, "no column holds text")
        number = 0
        for batch in opened.iter_batches(_BATCH_ROWS, columns=columns, use_threads=False):
            for record in pa.Table.from_batches([batch]).to_pylist():
                number += 1
                yield from _record_parts(record, rows=rows, suffix=f"#row{number}")


def _record_parts(record: dict[str, Any], *, rows: bool, suffix: str) -> Iterator[Part]:
    filled = {name: value for name, value in record.items() if value is not None}
    if is_row(filled):
        yield from row_parts(filled, Format.PARQUET, rows=rows, replaced=0, suffix=suffix, size=len(str(filled)))
    else:
        text = record_to_text(filled)
        yield from cut_parts(text, Format.PARQUET, text.count("�"), suffix)
