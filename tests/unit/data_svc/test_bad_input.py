"""Hostile files: each is one counted rejection with its reason, and the documents beside it are kept."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import tarfile
import threading
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import fetch, read_manifest
from bessemer.svckit.objects_files import FileObjects
from data_svc.domain.formats import Format
from data_svc.domain.reasons import EXPLANATIONS, Reason, Rejection
from data_svc.domain.recipes import Recipe
from data_svc.worker.archives import SourceFile
from data_svc.worker.curate import curate
from data_svc.worker.executor import Executor
from data_svc.worker.ingest import ingest
from data_svc.worker.partitions import Upload
from data_svc.worker.rejections import Rejections
from data_svc.worker.sandbox import ParsedDocument, Sandbox
from data_svc.worker.work import Work

from .conftest import prose
from .packages import docx, package, paragraph, xlsx
from .test_sandbox import PAGE, PAGE_TEXT, pdf

SECRET = "words that must not leak"
NESTED = "".join(f'<!ENTITY {name} "{f"&{inner};" * 30}">' for name, inner in zip("bcdef", "abcde", strict=True))
ENTITIES = f'<!DOCTYPE d [<!ENTITY a "hahahahaha">{NESTED}]>'


def word(prefix: str, text: str) -> bytes:
    """A Word file whose XML begins with a document type."""
    return package({"word/document.xml": f"{prefix}<w:document><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:document>"})


def many_entries() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for number in range(10_001):
            archive.writestr(f"{number}", b"")
    return stream.getvalue()


def declared_too_large() -> bytes:
    """A Word file whose parts say that they hold over 1 GB, at a ratio that is allowed."""
    data = package({f"media/{number}": b"x" * 64 for number in range(3)})
    out, at = bytearray(data), 0
    while (at := data.find(b"PK\x01\x02", at)) >= 0:  # the central directory: sizes at 20 and 24
        out[at + 20 : at + 28] = (3_000_000).to_bytes(4, "little") + (500_000_000).to_bytes(4, "little")
        at += 4
    return bytes(out)


def encrypted_pdf() -> bytes:
    """A PDF under a password that nobody knows."""
    encryption = b"<</Filter/Standard/V 1/R 2/P -4/O(%s)/U(%s)>>" % (b"o" * 32, b"u" * 32)
    trailer = b"trailer<</Encrypt %s/ID[(0123456789abcdef)(0123456789abcdef)]/Root" % encryption
    return pdf(PAGE).replace(b"trailer<</Root", trailer)


def pages_in_a_loop() -> bytes:
    kids = b"<</Type/Pages/Kids[3 0 R]/Count 1>>"
    loop = pdf(PAGE).replace(b"/Type/Page/Parent 2 0 R", b"/Type/Pages/Kids[2 0 R]/Count 1")
    assert kids in loop
    return loop


def noise(size: int) -> bytes:
    return random.Random(7).randbytes(size)


HOSTILE: dict[str, tuple[bytes, Reason]] = {
    "truncated.pdf": (pdf(PAGE)[:330], Reason.PARSE_TRUNCATED),
    "random.pdf": (b"%PDF-1.7\n" + noise(50_000), Reason.PARSE_FAILED),
    "loop.pdf": (pages_in_a_loop(), Reason.PARSE_FAILED),
    "encrypted.pdf": (encrypted_pdf(), Reason.ENCRYPTED),
    "scan.pdf": (pdf(b""), Reason.NEEDS_OCR),
    "stamped-scan.pdf": (pdf(b"BT /F1 12 Tf 72 700 Td (page 7) Tj ET"), Reason.NEEDS_OCR),
    "bomb.docx": (docx("<w:p/>" * 10_000_000), Reason.ARCHIVE_TOO_LARGE),
    "bomb.pptx": (package({"ppt/media/x.png": b"\0" * 30_000_000}), Reason.ARCHIVE_TOO_LARGE),
    "giant.docx": (declared_too_large(), Reason.ARCHIVE_TOO_LARGE),
    "entries.xlsx": (many_entries(), Reason.ARCHIVE_TOO_MANY_ENTRIES),
    "entities.docx": (word(ENTITIES, "&f;"), Reason.PARSE_FAILED),
    "external.docx": (word('<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]>', "&x;"), Reason.PARSE_FAILED),
    "deep.docx": (docx("<w:sdt>" * 20_000 + paragraph("deep") + "</w:sdt>" * 20_000), Reason.PARSE_FAILED),
    "broken.docx": (package({"word/document.xml": "<w:document><w:p>"}), Reason.PARSE_FAILED),
    "encrypted.xlsx": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + noise(4000), Reason.ENCRYPTED),
    "cells.xlsx": (xlsx("<row>" + "<c><f/></c>" * 3 + "</row>"), Reason.EMPTY),
    "deep.html": (b"<div>" * 200_000 + b"x" + b"</div>" * 200_000, Reason.PARSE_FAILED),
    "binary.html": (noise(2_000_000), Reason.BINARY),
    "deep.ipynb": (b"[" * 100_000, Reason.PARSE_FAILED),
    "list.ipynb": (b"[]", Reason.PARSE_FAILED),
    "table.parquet": (b"PAR1" + noise(3000) + b"PAR1", Reason.PARSE_FAILED),
    "damaged.txt": (("печь " * 300).encode() + b"\xff\xfe\xfd" * 200, Reason.ENCODING_DAMAGED),
}


@pytest.fixture
def import_all(tmp_path: Path):
    def run(files: dict[str, bytes]) -> tuple[list[str], list[Rejection]]:
        uploads = []
        for number, (name, data) in enumerate(files.items()):
            path = tmp_path / f"upload-{number}"
            path.write_bytes(data)
            uploads.append(Upload(name, path))
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        rejections, work = Rejections(), Work(FileObjects(tmp_path / "objects"), "p")
        with Executor(work, scratch) as executor:
            found = ingest(uploads, Recipe(), executor, rejections, scratch=scratch, tick=lambda *_: None)
        return found.documents.table["source"].to_pylist(), [*rejections.ordered()]

    return run


def test_import_of_hostile_files_counts_each_and_keeps_every_good_one(import_all) -> None:
    files: dict[str, bytes] = {}
    for number, (name, (data, _)) in enumerate(HOSTILE.items()):
        files[name] = data
        files[f"good-{number}.md"] = prose(number).encode()
    kept, rejections = import_all(files)
    assert {item.source: item.reason for item in rejections} == {name: reason for name, (_, reason) in HOSTILE.items()}
    assert len(rejections) == len(HOSTILE)
    assert kept == [name for name in files if name.startswith("good-")]
    assert all(item.detail and item.reason in EXPLANATIONS for item in rejections)


def test_xml_that_names_a_file_leaks_nothing(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    file = tmp_path / "x.docx"
    file.write_bytes(word(f'<!DOCTYPE d [<!ENTITY x SYSTEM "file://{secret}">]>', "&x;"))
    with Sandbox(tmp_path) as sandbox:
        [found] = sandbox.parse(SourceFile("x.docx", file, file.stat().st_size, Format.DOCX))
    assert isinstance(found, Rejection)
    assert "document type" in found.detail
    assert SECRET not in (tmp_path / "parsed.text").read_text()


def test_import_of_texts_in_odd_encodings_keeps_their_words(import_all) -> None:
    words = "\n\n".join(f"Größe und Öfen, Maß für Maß: {prose(number)}" for number in range(3))
    head = '<html><head><meta charset="utf-8"></head><body>'
    other = {
        "mislabelled.html": (head + words.replace("\n\n", "<p>")).encode("latin-1"),
        "wide.txt": prose(10).encode("utf-16"),
        "wide-unmarked.txt": prose(11).encode("utf-16-le"),
        "nul.txt": prose(12).replace(" ", " \0", 5).encode(),
        "nul.html": b"<html><body>" + prose(13).replace(" ", " \0", 5).encode(),
    }
    kept, rejections = import_all(other)
    assert kept == list(other)
    assert rejections == []


def test_text_in_the_wrong_encoding_is_kept_with_a_flag(tokenizer_path: Path, blobs: Blobs, tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    words = prose(1).replace("steel", "Stähle").replace("iron", "Öl\u2019s")
    (folder / "wrong.txt").write_text(words.encode().decode("cp1252", errors="ignore"))
    (folder / "right.txt").write_text(words.replace("ore", "Ärger") + "à la carte, où, Âge, São, ¿?")
    for number in range(10, 20):
        (folder / f"{number}.txt").write_text(prose(number))
    result = curate([folder], Recipe(sequence_length=64, heldout_fraction=0.2), tokenizer_path, blobs)
    version = fetch(blobs, read_manifest(blobs, result.manifest), tmp_path / "version")
    records = {r["source"]: r for r in map(json.loads, (version / "documents.jsonl").read_text().splitlines())}
    assert [source for source, record in records.items() if "damaged_share" in record] == ["wrong.txt"]
    assert json.loads((version / "profile.json").read_text())["categories"]["encoding/damaged"] == 1


def test_import_of_a_folder_whose_links_loop_or_leave_it_reads_its_files(
    documents: Path, tokenizer_path: Path, blobs: Blobs
) -> None:
    plain = curate([documents], Recipe(sequence_length=64), tokenizer_path, blobs)
    (documents / "loop").symlink_to(documents)
    (documents / "self").symlink_to("self")
    (documents / "out").symlink_to("/etc")
    (documents / "passwd.txt").symlink_to("/etc/passwd")
    os.mkfifo(documents / "pipe.txt")
    assert curate([documents], Recipe(sequence_length=64), tokenizer_path, blobs).manifest == plain.manifest


def test_line_over_64_mb_is_passed_over_and_the_next_one_read(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    with file.open("wb") as stream:
        stream.write(b'{"text": "one"}\n{"text": "' + b"steel " * 11_000_000 + b'"}\n{"text": "three"}\n')
    with Sandbox(tmp_path) as sandbox:
        one, two, three = sandbox.parse(SourceFile("rows.jsonl", file, file.stat().st_size, Format.JSONL))
    assert (one.text, two.reason, three.text) == (b"one", Reason.LINE_TOO_LONG, b"three")
    assert two.source == "rows.jsonl#line2"


def test_import_of_an_archive_of_loops_escapes_and_empty_files_goes_on(import_all) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, target in (("a", "b"), ("b", "a"), ("self", "self"), ("up", "../../..")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            archive.addfile(link)
        archive.addfile(tarfile.TarInfo("a/../../escape"))
        for number in range(5000):
            archive.addfile(tarfile.TarInfo(f"empty/{number}.txt"))
        good = tarfile.TarInfo("good.md")
        good.size = len(prose(1).encode())
        archive.addfile(good, io.BytesIO(prose(1).encode()))
    kept, rejections = import_all({"a.tar.gz": stream.getvalue()})
    assert kept == ["good.md"]
    assert Counter(item.reason for item in rejections) == {
        Reason.ARCHIVE_LINK: 4,
        Reason.ARCHIVE_UNSAFE_PATH: 1,
        Reason.EMPTY: 5000,
    }


def test_parse_of_a_50_mb_line_splits_it(tmp_path: Path) -> None:
    file = tmp_path / "line.txt"
    file.write_bytes(b"steel " * 8_400_000)
    with Sandbox(tmp_path) as sandbox:
        found = list(sandbox.parse(SourceFile("line.txt", file, file.stat().st_size, Format.TEXT)))
    assert [item.source for item in found] == ["line.txt", *(f"line.txt#part{number}" for number in range(2, 8))]
    assert sum(item.text.count(b"steel") for item in found if isinstance(item, ParsedDocument)) == 8_400_000


def test_parse_of_flipped_pdfs_is_a_document_or_a_reason_and_never_more(tmp_path: Path) -> None:
    good, file = pdf(PAGE), tmp_path / "x.pdf"
    with Sandbox(tmp_path, timeout_s=5) as sandbox:
        for seed in range(30):
            rng = random.Random(seed)
            file.write_bytes(bytes(byte ^ (rng.randrange(256) if rng.random() < 0.03 else 0) for byte in good))
            found = list(sandbox.parse(SourceFile("x", file, len(good), Format.PDF)))
            assert len(found) == 1
        file.write_bytes(good)
        [document] = sandbox.parse(SourceFile("x", file, len(good), Format.PDF))
    assert document.text == PAGE_TEXT


def test_parser_that_crashes_is_one_rejection_and_the_next_file_works(tmp_path: Path) -> None:
    bomb, good = tmp_path / "bomb.pdf", tmp_path / "good.pdf"
    bomb.write_bytes(pdf(b"BT /F1 12 Tf 0 0 Td (AAAAAAAAAA) Tj ET\n" * 6_000_000, compressed=True))
    good.write_bytes(pdf(PAGE))
    with Sandbox(tmp_path, timeout_s=30) as sandbox:
        [before] = sandbox.parse(SourceFile("good.pdf", good, good.stat().st_size, Format.PDF))
        timer = threading.Timer(0.3, os.kill, (sandbox._child.pid, signal.SIGSEGV))  # as a fault in PDFium would
        timer.start()
        [crashed] = sandbox.parse(SourceFile("bomb.pdf", bomb, bomb.stat().st_size, Format.PDF))
        [after] = sandbox.parse(SourceFile("good.pdf", good, good.stat().st_size, Format.PDF))
    assert (crashed.reason, crashed.detail) == (Reason.PARSE_FAILED, "the parser process ended with status -11")
    assert before.text == after.text == PAGE_TEXT
