"""Website dumps: what was captured comes out under its address, and each record that is no document has its reason."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest
from data_svc.domain.formats import HEAD_BYTES, Format, sniff
from data_svc.domain.reasons import Reason, Rejection
from data_svc.worker.archives import read_source
from data_svc.worker.sandbox import ParsedDocument, Sandbox
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from .conftest import prose
from .test_sandbox import PAGE, PAGE_TEXT, pdf

SITE = "https://steel.example"
HTML = b"<html><head><title>Ovens</title></head><body><h1>Ovens</h1><p>Hot.</p></body></html>"


def chunked(data: bytes) -> bytes:
    pieces = [data[at : at + 10] for at in range(0, len(data), 10)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in [*pieces, b""])


class Dump:
    """A dump in the making."""

    def __init__(self, *, packed: bool = True) -> None:
        self._stream = io.BytesIO()
        self._writer = WARCWriter(self._stream, gzip=packed)
        self._writer.write_record(self._writer.create_warcinfo_record("dump.warc", {"software": "test"}))

    def add(self, path: str, body: bytes, kind: str = "text/html", status: str = "200 OK", **headers: str) -> None:
        fields = [("Content-Type", kind), *((name.replace("_", "-"), value) for name, value in headers.items())]
        answer = StatusAndHeaders(status, fields, protocol="HTTP/1.1")
        record = self._writer.create_warc_record(SITE + path, "response", io.BytesIO(body), http_headers=answer)
        self._writer.write_record(record)

    def add_revisit(self, path: str) -> None:
        self._writer.write_record(
            self._writer.create_revisit_record(SITE + path, "sha1:" + "A" * 32, SITE + path, "2026-01-01T00:00:00Z")
        )

    def data(self) -> bytes:
        return self._stream.getvalue()


@pytest.fixture
def read(tmp_path: Path):
    with Sandbox(tmp_path) as sandbox:

        def run(data: bytes, name: str = "site.warc.gz") -> list[ParsedDocument | Rejection]:
            file = tmp_path / "upload"
            file.write_bytes(data)
            [source] = read_source(name, file, tmp_path)
            assert source.format == Format.WARC, source
            return list(sandbox.parse(source))

        yield run


@pytest.mark.parametrize("packed", [True, False], ids=["gzip", "plain"])
def test_dump_gives_pages_and_files_under_their_addresses(read, packed) -> None:
    dump = Dump(packed=packed)
    dump.add("/ovens", HTML, "text/html; charset=utf-8")
    dump.add("/chunked", chunked(HTML), Transfer_Encoding="chunked")
    dump.add("/packed", gzip.compress(HTML), Content_Encoding="gzip")
    dump.add("/manual?download=1", pdf(PAGE), "application/pdf")
    dump.add("/robots.txt", b"User-agent: *\nDisallow: /", "text/plain")
    documents = read(dump.data(), "anything")
    assert [(item.source.removeprefix(SITE), item.format) for item in documents] == [
        ("/ovens", "html"),
        ("/chunked", "html"),
        ("/packed", "html"),
        ("/manual?download=1", "pdf"),
        ("/robots.txt", "text"),
    ]
    page = b"---\ntitle: Ovens\n---\n\n# Ovens\n\nHot."
    assert [item.text for item in documents[:4]] == [page, page, page, PAGE_TEXT]


def test_dump_counts_what_is_no_document_and_goes_on(read) -> None:
    dump = Dump()
    dump.add("/gone", b"<html>not found</html>", status="404 Not Found")
    dump.add("/logo", b"\x89PNG\r\n\x1a\n" + bytes(100), "image/png")
    dump.add("/style.css", b"body {color: red}", "text/css")
    dump.add("/empty", b"")
    dump.add("/files.zip", b"PK\x03\x04" + bytes(100), "application/zip")
    dump.add("/broken.pdf", b"%PDF-1.7 nothing", "application/pdf")
    dump.add("/lies", b"no gzip at all", Content_Encoding="gzip")
    dump.add_revisit("/ovens")
    dump.add("/ovens", HTML)
    dump.add("/ovens", HTML.replace(b"Hot", b"Cold"))
    found = {item.source.removeprefix(SITE): item for item in read(dump.data())}
    assert {path: item.reason for path, item in found.items() if isinstance(item, Rejection)} == {
        "/gone": Reason.HTTP_STATUS,
        "/logo": Reason.BINARY,
        "/style.css": Reason.UNSUPPORTED_FORMAT,
        "/empty": Reason.EMPTY,
        "/files.zip": Reason.ARCHIVE_NESTED,
        "/broken.pdf": Reason.PARSE_FAILED,
        "/ovens": Reason.EXACT_DUPLICATE,
    }
    assert [path for path, item in found.items() if isinstance(item, ParsedDocument)] == [
        "/lies",  # servers that name a compression and send none are common
        "/ovens#capture2",
        "/ovens#capture3",
    ]


@pytest.mark.parametrize("packed", [True, False], ids=["gzip", "plain"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.97])
def test_dump_that_breaks_off_gives_what_came_before_and_says_so(read, packed, share: float) -> None:
    dump = Dump(packed=packed)
    for number in range(20):
        dump.add(f"/{number}", prose(number).encode(), "text/plain")
    data = dump.data()
    *whole, last = read(data[: int(len(data) * share)])
    documents = [item for item in whole if isinstance(item, ParsedDocument)]
    assert [item.text.decode() for item in documents] == [prose(number) for number in range(len(documents))]
    assert len(documents) >= int(20 * share) - 2
    assert isinstance(last, Rejection)
    assert last.reason in {Reason.PARSE_TRUNCATED, Reason.ARCHIVE_DAMAGED}


def test_dump_with_damage_in_it_gives_what_came_before(read) -> None:
    dump = Dump()
    for number in range(20):
        dump.add(f"/{number}", prose(number).encode(), "text/plain")
    found = read(dump.data()[:2000] + b"\xff" * 500 + dump.data()[2500:])
    assert isinstance(found[0], ParsedDocument)
    assert isinstance(found[-1], Rejection)
    assert found[-1].reason == Reason.ARCHIVE_DAMAGED


def test_dump_that_was_packed_as_a_whole_is_read(read) -> None:
    dump = Dump(packed=False)
    for number in range(3):
        dump.add(f"/{number}", prose(number).encode(), "text/plain")
    assert [item.text.decode() for item in read(gzip.compress(dump.data()))] == [prose(number) for number in range(3)]


def test_sniff_tells_a_dump_from_other_gzip() -> None:
    assert sniff(Dump().data()[:HEAD_BYTES], "x")[0] == Format.WARC
    assert sniff(gzip.compress(b"WARC is a format"), "x.gz")[0] == Format.GZIP
    assert sniff(b"WARC/1.1\r\nWARC-Type: warcinfo\r\n", "x")[0] == Format.WARC
