"""Text out of files of one format each; runs only inside the sandboxed child.

A parser yields `Part`s; it may raise anything, and may die.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_svc.domain.conversations import RowInvalid, read_row, render
from data_svc.domain.decoding import Decoded, decode
from data_svc.domain.formats import Format
from data_svc.domain.markup import docx_to_markdown, headers_to_text, record_to_text, rst_to_markdown
from data_svc.domain.normal_form import cut, normalise
from data_svc.domain.reasons import Reason
from data_svc.worker.lines import LINE_BYTES_MAX, LongLine, blocks, lines

__all__ = ["Part", "parse"]

_DOCX_BYTES_MAX = 200 << 20
_HTML_DEPTH_MAX = 1000
_TAG = re.compile(rb"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
_VOID = {
    b"area",
    b"base",
    b"br",
    b"col",
    b"embed",
    b"hr",
    b"img",
    b"input",
    b"link",
    b"meta",
    b"source",
    b"track",
    b"wbr",
}
_UNCLOSED = {b"p", b"li", b"dt", b"dd", b"tr", b"td", b"th", b"option"}


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


def parse(file: Path, found: Format, *, rows: bool) -> Iterator[Part]:
    """Yield the normalised documents of a file; `rows` asks for conversations as JSON rows instead of as text."""
    if found == Format.JSONL:
        yield from _jsonl(file, rows=rows)
    elif found == Format.PDF:
        yield from _cut(_pdf(file), found)
    elif found == Format.DOCX:
        yield from _cut(_docx(file), found)
    elif found == Format.JSON:
        yield from _json(file)
    elif found == Format.HTML:
        decoded = decode(file.read_bytes())
        yield from _cut(_html(decoded.text), found, decoded.num_replaced)
    else:
        yield from _plain(file, found)


def _cut(text: str, found: Format | str, replaced: int = 0, suffix: str = "") -> Iterator[Part]:
    for number, piece in enumerate(cut(normalise(text))):
        yield Part(piece, suffix + (f"#part{number + 1}" if number else ""), replaced, str(found))


def _plain(file: Path, found: Format) -> Iterator[Part]:
    number = 0
    for block in blocks(file):
        if isinstance(block, LongLine):
            yield _too_long(block)
            continue
        decoded = decode(block)
        text = decoded.text
        if found == Format.RST:
            text = rst_to_markdown(text)
        elif found == Format.METADATA and number == 0:
            text = headers_to_text(text)
        for part in _cut(text, found, decoded.num_replaced):
            number += 1
            yield Part(part.text, f"#part{number}" if number > 1 else "", part.replaced, part.format)


def _too_long(line: LongLine) -> Part:
    detail = f"line {line.number} has {line.size_bytes} bytes; {LINE_BYTES_MAX} are allowed"
    return Part(suffix=f"#line{line.number}", reason=Reason.LINE_TOO_LONG, detail=detail, size_bytes=line.size_bytes)


def _html(text: str) -> str:
    import html_to_markdown

    depth = deepest = 0
    for close, tag in _TAG.findall(text.encode()):
        if tag.lower() not in _VOID and tag.lower() not in _UNCLOSED:
            depth += -1 if close else 1
            deepest = max(deepest, depth)
    if deepest > _HTML_DEPTH_MAX:
        raise ValueError(f"elements nest {deepest} deep; {_HTML_DEPTH_MAX} are allowed")
    content = str(html_to_markdown.convert(text.replace("\0", "")).content or "")
    if not content.strip() and len(text) > 10_000:
        raise ValueError(f"no text came out of {len(text)} characters of HTML")
    return content


def _pdf(file: Path) -> str:
    import pypdfium2

    document = pypdfium2.PdfDocument(file)
    try:
        pages = []
        for number in range(len(document)):
            page = document[number]
            text_page = page.get_textpage()
            pages.append(text_page.get_text_range())
            text_page.close()
            page.close()
        return "\n\n".join(pages)
    finally:
        document.close()


def _docx(file: Path) -> str:
    with zipfile.ZipFile(file) as opened:
        info = opened.getinfo("word/document.xml")
        if info.file_size > _DOCX_BYTES_MAX or info.file_size > 200 * max(info.compress_size, 1) + (1 << 20):
            raise ValueError(f"word/document.xml expands from {info.compress_size} to {info.file_size} bytes")
        with opened.open(info) as stream:
            return docx_to_markdown(decode(stream.read(_DOCX_BYTES_MAX)).text)


def _json(file: Path) -> Iterator[Part]:
    decoded = decode(file.read_bytes())
    value = json.loads(decoded.text)
    records: list[tuple[str, Any]]
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        records = [(f"#{number}", item) for number, item in enumerate(value)]
    elif isinstance(value, dict) and len(value) > 1 and all(isinstance(item, dict) for item in value.values()):
        records = [(f"#{key}", item) for key, item in value.items()]
    else:
        records = [("", value)]
    for suffix, record in records:
        text = (f"# {suffix[1:]}\n\n" if isinstance(value, dict) and suffix else "") + record_to_text(record)
        yield from _cut(text, Format.JSON, decoded.num_replaced if len(records) == 1 else text.count("�"), suffix)


def _jsonl(file: Path, *, rows: bool) -> Iterator[Part]:
    for number, line in enumerate(lines(file), 1):
        suffix = f"#row{number}"
        if isinstance(line, LongLine):
            yield _too_long(line)
            continue
        decoded: Decoded = decode(line)
        if not decoded.text.strip():
            continue
        try:
            row = read_row(decoded.text)
        except RowInvalid as error:
            yield Part("", suffix, 0, Format.JSONL, Reason.ROW_INVALID, str(error), len(line))
            continue
        if row.kind == "TEXT":
            yield from _cut(row.text, Format.JSONL, decoded.num_replaced, suffix)
        elif rows:
            yield Part(row.canonical(), suffix, decoded.num_replaced, row.kind)
        else:
            yield from _cut(render(row), "conversation", decoded.num_replaced, suffix)
