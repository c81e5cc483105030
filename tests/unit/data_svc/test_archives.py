from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest
from data_svc.domain.reasons import Reason, Rejection
from data_svc.worker.archives import Limits, SourceFile, read_source

GOOD = b"some good text\n" * 20


def tar_of(path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def read(path: Path, tmp_path: Path, limits: Limits | None = None):
    files, rejections = [], []
    for found in read_source(path.name, path, tmp_path, limits):
        if isinstance(found, SourceFile):
            files.append((found.path, found.file.read_bytes()))
        else:
            assert isinstance(found, Rejection)
            rejections.append((found.source, found.reason))
    return files, rejections


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_tar_with_hostile_entries_yields_the_good_one(tmp_path: Path, mode: str) -> None:
    path = tar_of(
        tmp_path / "a.tar",
        (member("../escape.txt"), GOOD),
        (member("/etc/passwd"), GOOD),
        (member("link.txt", tarfile.SYMTYPE, "/etc/passwd"), b""),
        (member("hard.txt", tarfile.LNKTYPE, "../x"), b""),
        (member("device", tarfile.CHRTYPE), b""),
        (member("inner.tar.gz"), tar_of(tmp_path / "inner.tar.gz", (member("a.txt"), GOOD), mode="w:gz").read_bytes()),
        (member("./good.txt"), GOOD),
        mode=mode,
    )
    files, rejections = read(path, tmp_path)
    assert files == [("good.txt", GOOD)]
    assert [reason for _, reason in rejections] == [
        Reason.ARCHIVE_UNSAFE_PATH,
        Reason.ARCHIVE_UNSAFE_PATH,
        Reason.ARCHIVE_LINK,
        Reason.ARCHIVE_LINK,
        Reason.ARCHIVE_LINK,
        Reason.ARCHIVE_NESTED,
    ]
    assert not (tmp_path.parent / "escape.txt").exists()


def test_zip_with_hostile_entries_yields_the_good_one(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("..\\escape.txt", GOOD)
        archive.writestr("C:/x.txt", GOOD)
        archive.writestr("bomb.txt", b"\0" * 20_000_000)
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("folder/", b"")
        archive.writestr("good.txt", GOOD)
    files, rejections = read(path, tmp_path)
    assert files == [("good.txt", GOOD)]
    assert dict(rejections) == {
        "..\\escape.txt": Reason.ARCHIVE_UNSAFE_PATH,
        "C:/x.txt": Reason.ARCHIVE_UNSAFE_PATH,
        "bomb.txt": Reason.ARCHIVE_TOO_LARGE,
        "link": Reason.ARCHIVE_LINK,
    }


def test_zip_that_lies_about_sizes_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("liar.txt", b"A" * 5_000_000)
    data = path.read_bytes().replace(struct.pack("<I", 5_000_000), struct.pack("<I", 1000))
    path.write_bytes(data)
    files, rejections = read(path, tmp_path)
    assert not files
    assert rejections[0][1] in {Reason.ARCHIVE_DAMAGED, Reason.ARCHIVE_TOO_LARGE}


def test_archive_over_its_limits_is_refused(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "a.tar", *[(member(f"{n}.txt"), GOOD) for n in range(5)])
    assert read(path, tmp_path, Limits(entries=3))[1] == [("a.tar", Reason.ARCHIVE_TOO_MANY_ENTRIES)]
    assert read(path, tmp_path, Limits(expanded_bytes=700))[1] == [("a.tar", Reason.ARCHIVE_TOO_LARGE)]
    packed = tmp_path / "a.txt.gz"
    packed.write_bytes(gzip.compress(b"x" * 10_000))
    assert read(packed, tmp_path, Limits(expanded_bytes=700)) == ([], [("a.txt.gz", Reason.ARCHIVE_TOO_LARGE)])
    assert read(packed, tmp_path) == ([("a.txt", b"x" * 10_000)], [])


@pytest.mark.parametrize("name", ["a.tar.gz", "a.zip", "a.tar"])
def test_truncated_archive_is_damaged(tmp_path: Path, name: str) -> None:
    whole = tmp_path / name
    if name.endswith("zip"):
        with zipfile.ZipFile(whole, "w") as archive:
            archive.writestr("good.txt", GOOD)
    else:
        tar_of(whole, (member("good.txt"), GOOD), mode="w:gz" if name.endswith("gz") else "w")
    whole.write_bytes(whole.read_bytes()[: 600 if name == "a.tar" else -40])
    _, rejections = read(whole, tmp_path)
    assert [reason for _, reason in rejections] == [Reason.ARCHIVE_DAMAGED]


def test_single_files_are_sniffed(tmp_path: Path) -> None:
    for name, data, reason in (
        ("a.txt", b"", Reason.EMPTY),
        ("a.md", b"\x89PNG\r\n\x1a\n123", Reason.BINARY),
        ("a.doc", b"\xd0\xcf\x11\xe0rest", Reason.UNSUPPORTED_FORMAT),
        ("a.bin", bytes(range(256)) * 40, Reason.BINARY),
    ):
        (tmp_path / name).write_bytes(data)
        assert read(tmp_path / name, tmp_path) == ([], [(name, reason)])


def test_compressed_files_inside_an_archive_are_expanded_within_limits(tmp_path):
    packed = tar_of(
        tmp_path / "docs.tar",
        (member("README.txt.gz"), gzip.compress(GOOD)),
        (member("bomb.txt.gz"), gzip.compress(bytes(20_000_000))),
        (member("cut.txt.gz"), gzip.compress(GOOD)[:-9]),
        (member("twice.txt.gz.gz"), gzip.compress(gzip.compress(GOOD))),
        (member("after.txt"), GOOD),
    )
    files, rejections = read(packed, tmp_path)
    assert files == [("README.txt", GOOD), ("after.txt", GOOD)]
    assert rejections == [
        ("bomb.txt.gz", Reason.ARCHIVE_TOO_LARGE),
        ("cut.txt.gz", Reason.ARCHIVE_DAMAGED),
        ("twice.txt.gz.gz", Reason.ARCHIVE_NESTED),
    ]
