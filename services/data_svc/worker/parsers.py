"""Text out of files of one format each; runs only inside the sandboxed child.

A parser yields `Part`s; it may raise anything, and may die.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from html import unescape
from pathlib import Path
from typing import Any

from data_svc.domain.conversations import is_conversation
from data_svc.domain.decoding import Decoded, decode
from data_svc.domain.formats import Format
from data_svc.domain.markup import headers_to_text, notebook_to_markdown, record_to_text, rst_to_markdown
from data_svc.domain.navigation import navigation_of
from data_svc.domain.reasons import Reason
from data_svc.worker.lines import LINE_BYTES_MAX, LongLine, blocks, lines
from data_svc.worker.parse_mail import read_mail
from data_svc.worker.parse_office import read_docx, read_pptx
from data_svc.worker.parse_sheets import read_xlsx
from data_svc.worker.parse_tables import read_csv, read_parquet
from data_svc.worker.parse_warc import read_warc
from data_svc.worker.parts import Parser, Part, Refused, cut_parts, row_parts

__all__ = ["parse"]

_HTML_DEPTH_MAX = 1000
_PAGE_CHARACTERS_MIN = 50  # on average; scanned pages have less, a page number or a stamp
_PDF_END_BYTES = 2048  # where readers look for the end
# Of the head of a page only the title says something.
_HEAD_CHARACTERS = 10_000
_TITLE = re.compile("<title[^>]*>([^<]+)</title", re.IGNORECASE)


def parse(file: Path, found: Format, *, rows: bool) -> Iterator[Part]:
    """Yield the normalised documents of a file; `rows` asks for conversations as JSON rows instead of as text."""
    if found in _DOCUMENTS:
        yield from cut_parts(_DOCUMENTS[found](file), found)
    elif found == Format.JSONL:
        yield from _jsonl(file, rows=rows)
    elif found == Format.JSON:
        yield from _json(file, rows=rows)
    elif found == Format.HTML:
        decoded = decode(file.read_bytes())
        yield from cut_parts(_html(decoded.text), found, decoded.num_replaced)
    elif found in {Format.CSV, Format.TSV}:
        yield from read_csv(file, found)
    elif found == Format.PARQUET:
        yield from read_parquet(file, rows=rows)
    elif found == Format.XLSX:
        for suffix, text in read_xlsx(file):
            yield from cut_parts(text, found, suffix=suffix)
    elif found in {Format.EMAIL, Format.MBOX, Format.WARC}:
        yield from _files_inside(file, found, partial(parse, rows=rows))
    else:
        yield from _plain(file, found)


def _files_inside(file: Path, found: Format, inner: Parser) -> Iterator[Part]:
    return read_warc(file, inner) if found == Format.WARC else read_mail(file, found, inner, _html)


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
        for part in cut_parts(text, found, decoded.num_replaced):
            number += 1
            yield Part(part.text, f"#part{number}" if number > 1 else "", part.replaced, part.format)


def _too_long(line: LongLine) -> Part:
    detail = f"line {line.number} has {line.size_bytes} bytes; {LINE_BYTES_MAX} are allowed"
    return Part(suffix=f"#line{line.number}", reason=Reason.LINE_TOO_LONG, detail=detail, size_bytes=line.size_bytes)


def _html(text: str) -> str:
    content = _markdown(text, navigation_of(text)) or _markdown(text, [])  # a page may be nothing but a menu
    if not content and len(text) > 10_000:
        raise ValueError(f"no text came out of {len(text)} characters of HTML")
    found = _TITLE.search(text, 0, _HEAD_CHARACTERS)
    title = " ".join(unescape(found.group(1)).split()) if found else ""
    return f"---\ntitle: {title}\n---\n\n{content}" if title else content


def _markdown(html: str, left_out: list[str]) -> str:
    """Return the text of a page without the elements that some selectors match; empty if it has none."""
    import html_to_markdown

    # Its own clearing away takes headings in `header`, footnotes in `aside` and all that a page has in one `form`.
    as_it_is = html_to_markdown.PreprocessingOptions(enabled=False)
    options = html_to_markdown.ConversionOptions(
        extract_metadata=False, max_depth=_HTML_DEPTH_MAX, exclude_selectors=left_out, preprocessing=as_it_is
    )
    result = html_to_markdown.convert(html.replace("\0", ""), options)
    if any(str(warning.kind) == "depth_limit_exceeded" for warning in result.warnings):
        raise ValueError(f"elements nest over {_HTML_DEPTH_MAX} deep")
    content = str(result.content or "")
    return content if content.strip() else ""


def _pdf(file: Path) -> str:
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(file)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            raise Refused(Reason.ENCRYPTED, "a PDF that opens with a password only") from error
        data = file.read_bytes()
        if b" obj" in data and b"%%EOF" not in data[-_PDF_END_BYTES:]:
            raise Refused(Reason.PARSE_TRUNCATED, "a PDF without its end") from error
        raise
    try:
        pages = []
        for number in range(len(document)):
            page = document[number]
            text_page = page.get_textpage()
            pages.append(text_page.get_text_range())
            text_page.close()
            page.close()
        characters = sum(len(text.strip()) for text in pages)
        if characters < _PAGE_CHARACTERS_MIN * len(pages):
            raise Refused(Reason.NEEDS_OCR, f"{characters} characters on {len(pages)} pages")
        return "\n\n".join(pages)
    finally:
        document.close()


def _notebook(file: Path) -> str:
    notebook = json.loads(decode(file.read_bytes()).text)
    if not isinstance(notebook, dict) or not {"cells", "worksheets"} & notebook.keys():
        raise ValueError("a notebook must be an object with cells")
    return notebook_to_markdown(notebook)


def _json(file: Path, *, rows: bool) -> Iterator[Part]:
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
        if is_conversation(record):
            yield from row_parts(record, Format.JSON, rows=rows, replaced=0, suffix=suffix, size=len(str(record)))
            continue
        text = (f"# {suffix[1:]}\n\n" if isinstance(value, dict) and suffix else "") + record_to_text(record)
        yield from cut_parts(text, Format.JSON, decoded.num_replaced if len(records) == 1 else text.count("�"), suffix)


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
            value = json.loads(decoded.text)
        except (ValueError, RecursionError) as error:
            yield Part("", suffix, 0, Format.JSONL, Reason.ROW_INVALID, f"not JSON: {error}", len(line))
            continue
        replaced = decoded.num_replaced
        yield from row_parts(value, Format.JSONL, rows=rows, replaced=replaced, suffix=suffix, size=len(line))


_DOCUMENTS: dict[Format, Callable[[Path], str]] = {
    Format.PDF: _pdf,
    Format.DOCX: read_docx,
    Format.PPTX: read_pptx,
    Format.NOTEBOOK: _notebook,
}
