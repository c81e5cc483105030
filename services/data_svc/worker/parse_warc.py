"""Website dumps: each page or file that was captured is a document under its address.

Read are responses, resources and conversions, so the dumps of crawlers and of `wget --warc-file`, and Common Crawl's
texts. Bodies are taken out of chunks and of their gzip. What robots.txt or a page's licence say is not looked at.
Source: ISO 28500:2017 (WARC 1.1); RFC 9112, section 7.1 (chunks).
"""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import unquote, urlsplit

from data_svc.domain.formats import HEAD_BYTES, Format, sniff
from data_svc.domain.reasons import Reason
from data_svc.worker.parts import Parser, Part, Refused, held_parts

__all__ = ["read_warc"]

_BODY_BYTES_MAX = 64_000_000
_BLOCK = 1 << 16
_DOCUMENTS = {"response", "resource", "conversion"}  # other records tell how these were made
_NESTED = {Format.TAR, Format.GZIP, Format.ZIP, Format.WARC}
_ENDINGS = {  # what servers call formats whose files may end in anything, or in nothing
    "text/html": ".html",
    "application/xhtml+xml": ".html",
    "application/pdf": ".pdf",
    "application/json": ".json",
    "text/markdown": ".md",
    "text/csv": ".csv",
    "text/plain": "",
}
_LAYOUT = ("text/css", "text/javascript", "application/javascript", "application/x-javascript")


class _Unpacked(gzip.GzipFile):
    """All members of a gzip file as one stream; a missing end is an error that the reader of records lets through."""

    def read(self, size: int | None = -1) -> bytes:
        try:
            return super().read1(-1 if size is None else size)  # so that an error hides nothing before it
        except (EOFError, zlib.error) as error:
            raise OSError(str(error)) from error


def read_warc(file: Path, parse: Parser) -> Iterator[Part]:
    """Yield what `parse` makes of each captured file, by its address; one bad record spoils no other.

    An address that was captured again counts on in its suffix, `#capture2`. A dump that breaks off gives what came
    before. Raises: Refused if it is none.
    """
    from warcio.archiveiterator import ArchiveIterator
    from warcio.exceptions import ArchiveLoadFailed

    captures: Counter[str] = Counter()
    num_records = 0
    with _opened(file) as stream:
        records = iter(ArchiveIterator(stream))
        while True:
            try:
                record = next(records, None)
            except (ArchiveLoadFailed, OSError, EOFError, ValueError) as error:
                if not num_records:
                    raise Refused(Reason.ARCHIVE_DAMAGED, f"no record of a website dump: {error}") from error
                detail = f"after {num_records} records: {error}"
                yield Part(suffix="#rest", reason=Reason.ARCHIVE_DAMAGED, detail=detail[:500])
                return
            if record is None:
                return
            num_records += 1
            if record.rec_type not in _DOCUMENTS | {"revisit"}:
                continue
            name = (record.rec_headers.get_header("WARC-Target-URI") or "").strip("<> ") or f"record {num_records}"
            captures[name] += 1
            suffix = f"#capture{captures[name]}" if captures[name] > 1 else ""
            for part in _capture(record, name, parse):
                yield replace(part, name=name, suffix=suffix + part.suffix)


def _opened(file: Path) -> IO[bytes]:
    stream = file.open("rb")
    packed = stream.read(2) == b"\x1f\x8b"
    stream.seek(0)
    return cast("IO[bytes]", _Unpacked(fileobj=stream)) if packed else stream


def _capture(record: Any, name: str, parse: Parser) -> Iterator[Part]:
    """Yield the documents of one record, or why there is none."""
    if record.rec_type == "revisit":
        yield Part(reason=Reason.EXACT_DUPLICATE, detail="the crawler saw it unchanged, and wrote it once")
        return
    status = record.http_headers.get_statuscode() if record.http_headers else "200"
    if status != "200":
        yield Part(reason=Reason.HTTP_STATUS, detail=f"answered with status {status}")
        return
    try:
        body = record.content_stream().read(_BODY_BYTES_MAX + 1)
    except Exception as error:  # noqa: BLE001 - chunks and compression out of anybody's server
        yield Part(reason=Reason.PARSE_FAILED, detail=f"{type(error).__name__}: {error}"[:500])
        return
    while len(body) <= _BODY_BYTES_MAX and record.raw_stream.read(_BLOCK):
        pass  # what stands behind the last chunk
    if len(body) <= _BODY_BYTES_MAX and record.raw_stream.limit:
        yield Part(reason=Reason.PARSE_TRUNCATED, detail=f"{record.raw_stream.limit} bytes are missing")
        return
    headers = record.http_headers or record.rec_headers
    kind = (headers.get_header("Content-Type") or "").partition(";")[0].strip().lower()
    found, what = _identify(body, name, kind)
    reason = _refusal(body, found, kind)
    if reason:
        detail = what or (f"over {_BODY_BYTES_MAX} bytes" if len(body) > _BODY_BYTES_MAX else kind or str(found))
        yield Part(reason=reason, detail=detail, size_bytes=len(body))
        return
    yield from held_parts(body, found, parse)


def _identify(body: bytes, name: str, kind: str) -> tuple[Format, str]:
    """Return the format of a body, from what it is, then from what the server called it, then from its address."""
    path = unquote(urlsplit(name).path) or "/"
    ending = _ENDINGS.get(kind)
    if ending:
        path = "page" + ending
    elif ending is None and path.endswith("/"):
        path = "page"
    return sniff(body[:HEAD_BYTES], path)


def _refusal(body: bytes, found: Format, kind: str) -> Reason | None:
    if len(body) > _BODY_BYTES_MAX:
        return Reason.ARCHIVE_TOO_LARGE
    if not body:
        return Reason.EMPTY
    if found == Format.BINARY:
        return Reason.BINARY
    if found == Format.UNSUPPORTED or kind in _LAYOUT:
        return Reason.UNSUPPORTED_FORMAT
    return Reason.ARCHIVE_NESTED if found in _NESTED else None
