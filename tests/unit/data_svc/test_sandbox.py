from __future__ import annotations

import os
import random
import zipfile
import zlib
from pathlib import Path

import pytest
from data_svc.domain.formats import Format
from data_svc.domain.reasons import Reason, Rejection
from data_svc.worker.archives import SourceFile
from data_svc.worker.lines import LongLine, blocks, lines
from data_svc.worker.sandbox import ParsedDocument, Sandbox

FONT = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
PAGE_TEXT = b"Furnace manual, page one: how to charge it with ore and coke"
PAGE = b"BT /F1 12 Tf 72 700 Td (%s) Tj ET" % PAGE_TEXT


def pdf(content: bytes, *, compressed: bool = False) -> bytes:
    stream = zlib.compress(content, 9) if compressed else content
    head = b"/Filter/FlateDecode" if compressed else b""
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<</Font<</F1 %s>>>>>>" % FONT,
        b"<</Length %d%s>>stream\n%s\nendstream" % (len(stream), head, stream),
    ]
    body, offsets = b"%PDF-1.4\n", []
    for number, value in enumerate(objects, 1):
        offsets.append(len(body))
        body += b"%d 0 obj%s endobj\n" % (number, value)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    xref = b"xref\n0 5\n0000000000 65535 f \n%strailer<</Root 1 0 R/Size 5>>\nstartxref\n%d\n%%%%EOF" % (
        table,
        len(body),
    )
    return body + xref


@pytest.fixture
def parse(tmp_path: Path):
    with Sandbox(tmp_path, timeout_s=1.5) as sandbox:

        def run(data: bytes, found: Format, name: str = "x"):
            file = tmp_path / "in.bin"
            file.write_bytes(data)
            return list(sandbox.parse(SourceFile(name, file, len(data), found)))

        run.sandbox = sandbox
        yield run


def test_parse_of_each_format_gives_its_text(parse, tmp_path: Path) -> None:
    word = tmp_path / "a.docx"
    with zipfile.ZipFile(word, "w") as archive:
        title = '<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>Title</w:t></w:r></w:p>'
        xml = title + "<w:p><w:r><w:t>A &amp; b</w:t></w:r></w:p>"
        archive.writestr("word/document.xml", f"<w:document><w:body>{xml}</w:body></w:document>")
    for data, found, wanted in (
        (b"a\r\nb  \n\n\n\nc\0", Format.TEXT, "a\nb\n\nc"),
        (b"# A\n", Format.MARKDOWN, "# A"),
        (b"<html><body><h1>A</h1><p>b <b>c</b></p></body></html>", Format.HTML, "# A\n\nb **c**"),
        (b"A\n=\n", Format.RST, "A\n="),
        (b"Name: x\nVersion: 1\n\nbody", Format.METADATA, "Name: x\nVersion: 1\n\n\nbody"),
        (pdf(PAGE), Format.PDF, PAGE_TEXT.decode()),
        (b'[{"a": 1}, {"a": 2}]', Format.JSON, "a: 1"),
        (word.read_bytes(), Format.DOCX, "# Title\n\nA & b"),
    ):
        first = parse(data, found)[0]
        assert isinstance(first, ParsedDocument), first
        assert first.text.decode() == wanted.replace("\n\n\n", "\n\n")


def test_parse_of_rows_rejects_bad_ones_and_goes_on(parse) -> None:
    chat = b'{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}'
    data = b'{"text": "one"}\n\nnot json\n{"messages": []}\n' + chat
    found = parse(data, Format.JSONL)
    assert [item.source for item in found] == ["x#row1", "x#row3", "x#row4", "x#row5"]
    assert found[1].reason == found[2].reason == Reason.ROW_INVALID
    assert found[3].text == b"User: q\n\nAssistant: a"


def test_parse_of_broken_files_is_a_typed_rejection_and_the_next_file_works(parse) -> None:
    good = pdf(PAGE)
    rng = random.Random(1)
    flipped = bytes(byte ^ (0xFF if rng.random() < 0.02 else 0) for byte in good)
    for data, found in (
        (b"%PDF-1.7\n" + os.urandom(50_000), Format.PDF),
        (b"", Format.PDF),
        (flipped, Format.PDF),
        (b"PK\x03\x04" + os.urandom(3000), Format.DOCX),
        (b"[" * 200_000, Format.JSON),
        (b'{"a": ', Format.JSON),
        (b"<div>" * 200_000 + b"x" + b"</div>" * 200_000, Format.HTML),
    ):
        for item in parse(data, found):
            assert isinstance(item, ParsedDocument) or item.reason in {Reason.PARSE_FAILED, Reason.EMPTY}
    assert parse(good, Format.PDF)[0].text == PAGE_TEXT


def test_parse_of_a_compression_bomb_times_out_and_the_next_file_works(parse) -> None:
    bomb = pdf(b"BT /F1 12 Tf 0 0 Td (AAAAAAAAAA) Tj ET\n" * 6_000_000, compressed=True)
    found = parse(bomb, Format.PDF)
    assert [item.reason for item in found] == [Reason.PARSE_TIMEOUT] or found[0].reason == Reason.PARSE_FAILED
    assert parse(pdf(PAGE), Format.PDF)[0].text == PAGE_TEXT


def test_parse_after_the_child_was_killed_starts_another(parse) -> None:
    assert parse(b"one", Format.TEXT)[0].text == b"one"
    parse.sandbox._child.kill()
    parse.sandbox._child.wait(timeout=10)
    assert parse(b"two", Format.TEXT)[0].text == b"two"


def test_lines_over_the_limit_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"one\n" + b"x" * 3_000_000 + b"\ntwo\n" + b"y" * 3_000_000)
    found = list(lines(file, 2_500_000))
    assert found == [b"one\n", LongLine(2, 3_000_001), b"two\n", LongLine(4, 3_000_000)]
    assert list(lines(file)) == [b"one\n", b"x" * 3_000_000 + b"\n", b"two\n", b"y" * 3_000_000]


def test_blocks_are_cut_at_paragraphs_and_join_to_the_file(tmp_path: Path) -> None:
    file = tmp_path / "x"
    data = b"".join(b"paragraph %d\nline\n\n" % number for number in range(1000))
    file.write_bytes(data)
    found = list(blocks(file, 3000))
    assert b"".join(found) == data
    assert all(block.endswith(b"\n\n") for block in found)
    assert max(map(len, found)) <= 3000


@pytest.mark.slow
def test_parse_of_a_200_mb_line_keeps_the_rest_in_little_memory(tmp_path: Path) -> None:
    file = tmp_path / "long.txt"
    with file.open("wb") as stream:
        stream.write(b"before\n")
        for _ in range(200):
            stream.write(b"x" * 1_000_000)
        stream.write(b"\nafter\n")
    with Sandbox(tmp_path) as sandbox:
        found = list(sandbox.parse(SourceFile("long.txt", file, file.stat().st_size, Format.TEXT)))
        status = Path(f"/proc/{sandbox._child.pid}/status").read_text()
    peak = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
    assert [type(item) for item in found] == [Rejection, ParsedDocument]
    assert found[0].reason == Reason.LINE_TOO_LONG
    assert found[1].text == b"before\nafter"
    assert peak < 300_000, f"{peak} kB"


def test_child_short_file_after_a_long_one_leaves_nothing_of_it(tmp_path: Path) -> None:
    long, short = tmp_path / "long.txt", tmp_path / "short.txt"
    long.write_text("iron and slag\n" * 1000)
    short.write_text("coke")
    with Sandbox(tmp_path) as sandbox:
        for file in (long, short):
            [document] = sandbox.parse(SourceFile(file.name, file, file.stat().st_size, Format.TEXT))
            assert document.text.decode() == file.read_text().rstrip("\n")


def test_html_keeps_the_title_of_its_head_and_nothing_else_of_it(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(
        "<html><head><title> Slag &amp;\n iron </title><meta name='viewport' content='wide'>"
        "<link rel='canonical' href='file:///page'></head><body><h1>Slag</h1><p>It floats.</p></body></html>"
    )
    with Sandbox(tmp_path) as sandbox:
        [document] = sandbox.parse(SourceFile("page.html", file, file.stat().st_size, Format.HTML))
    assert document.text.decode() == "---\ntitle: Slag & iron\n---\n\n# Slag\n\nIt floats."
