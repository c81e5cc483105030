"""Every file that curation refuses can be had back, byte by byte, from the upload it came in."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from bessemer.artifacts.blobs import Blobs
from bessemer.kernel.errors import AlreadyExists
from bessemer.sdk.quarantine import FAILURES, read_rejections, save_rejected, target_name
from bessemer.svckit.objects_files import FileObjects
from data_svc.domain.recipes import Recipe
from data_svc.worker.curate import curate

from .conftest import prose

BROKEN_PDF, BINARY = b"%PDF-1.7 nothing", bytes(range(256)) * 20
MAIL = (
    b"From: a@example.org\nSubject: s\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n"
    b"Content-Type: text/plain\n\n" + prose(4).encode() + b"\n--b\nContent-Type: application/pdf\n"
    b'Content-Disposition: attachment; filename="plan.pdf"\n\n%PDF-1.7 nothing\n--b--\n'
)
FILES = {
    "a/broken.pdf": BROKEN_PDF,
    "a/blob.bin": BINARY,
    "notes.jsonl": b'{"text": "' + prose(1).replace("\n", " ").encode() + b'"}\nnot json\n',
    "letter.eml": MAIL,
    "packed.pdf.gz": gzip.compress(BROKEN_PDF, mtime=0),
    "../../outside.txt": b"never here",
    "good.md": prose(2).encode(),
    "more.md": prose(3).encode(),
}


class Direct:
    """A client whose downloads come straight from the store."""

    def __init__(self, objects: FileObjects) -> None:
        self.objects = objects

    def download(self, artifact, path: Path) -> Path:
        self.objects.get_file(artifact.key, path)
        return path


def tar_of(files: dict[str, bytes], path: Path) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        link = tarfile.TarInfo("link.md")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return path


def zip_of(files: dict[str, bytes], path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


@pytest.fixture
def refuse(tmp_path: Path, tokenizer_path: Path):
    """Curate files, and return the client, their uploads, and what was refused."""
    blobs = Blobs(FileObjects(tmp_path / "objects"), "p")

    def run(*paths: Path):
        made = curate(paths, Recipe(sequence_length=64, heldout_fraction=0.2), tokenizer_path, blobs, workers=1)
        version = SimpleNamespace(name="projects/p/datasets/d/versions/v1", manifest=made.manifest)
        uploads = [SimpleNamespace(file_name=path.name, artifact=blobs.put_file(path, "x/y")) for path in paths]
        client = Direct(blobs.objects)
        return client, uploads, read_rejections(client, version)

    return run


@pytest.mark.parametrize(("pack", "name"), [(tar_of, "docs.tar.gz"), (zip_of, "docs.zip")])
def test_refused_files_of_an_archive_come_back_as_they_were(pack, name: str, refuse, tmp_path: Path) -> None:
    whole = pack(FILES, tmp_path / name)
    client, uploads, rows = refuse(whole)
    saved = save_rejected(client, uploads, rows, tmp_path / "refused")
    if pack is tar_of:
        assert [path.read_bytes() for path in saved.pop("link.md")] == [whole.read_bytes()]
    assert {source: [path.read_bytes() for path in paths] for source, paths in saved.items()} == {
        "a/broken.pdf": [BROKEN_PDF],
        "a/blob.bin": [BINARY],
        "notes.jsonl#row2": [FILES["notes.jsonl"]],
        "letter.eml": [MAIL],
        "packed.pdf": [FILES["packed.pdf.gz"]],
        "../../outside.txt": [whole.read_bytes()],
    }
    inside = (tmp_path / "refused").resolve()
    assert all(path.resolve().is_relative_to(inside) for paths in saved.values() for path in paths)
    assert (tmp_path / "refused" / "a" / "broken.pdf").exists()
    with pytest.raises(AlreadyExists, match="not empty"):
        save_rejected(client, uploads, rows, tmp_path / "refused")


def test_refused_uploads_come_back_whole_and_each_from_its_own(refuse, tmp_path: Path) -> None:
    good, damaged, plain = tmp_path / "good.md", tmp_path / "damaged.tar.gz", tmp_path / "scan.pdf"
    good.write_text(prose(5, 300))
    damaged.write_bytes(tar_of({"a.md": prose(6).encode() * 50}, tmp_path / "t").read_bytes()[:400])
    plain.write_bytes(BROKEN_PDF)
    client, uploads, rows = refuse(good, damaged, plain)
    saved = save_rejected(client, uploads, rows, tmp_path / "refused")
    assert [path.read_bytes() for path in saved["scan.pdf"]] == [BROKEN_PDF]
    assert [path.read_bytes() for path in saved["damaged.tar.gz"]] == [damaged.read_bytes()]
    assert saved["scan.pdf"][0].relative_to(tmp_path / "refused") == Path("2/scan.pdf")


def test_target_stays_in_its_folder_whatever_a_source_is_called() -> None:
    for source in ("../../x", "/etc/passwd", "c:\\windows\\x", "a/../../b", "..", "", "a\0b\n/c"):
        target = target_name(source)
        assert not target.is_absolute()
        assert ".." not in target.parts
        assert target.name


def test_failures_are_reasons_of_curation() -> None:
    from data_svc.domain.reasons import Reason

    assert set(Reason) >= FAILURES
