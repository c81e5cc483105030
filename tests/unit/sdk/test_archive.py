from __future__ import annotations

import os
import tarfile

import pytest
from bessemer.kernel.errors import InvalidRequest
from bessemer.sdk.archive import list_files, pack_files


def fill(folder):
    (folder / "b").mkdir(parents=True)
    (folder / "b" / "two.md").write_text("two")
    (folder / "one.txt").write_text("one")
    (folder / ".hidden").write_text("no")
    (folder / "link.txt").symlink_to(folder / "one.txt")
    return folder


def test_archive_of_the_same_files_is_the_same_bytes(tmp_path):
    archives = []
    for name in ("first", "second"):
        folder = fill(tmp_path / name)
        os.utime(folder / "one.txt", (1, len(archives) + 1))
        files = [(str(path.relative_to(folder)), path) for path in list_files(folder)]
        archives.append(pack_files(files, tmp_path / f"{name}.tar").read_bytes())
    assert archives[0] == archives[1]


def test_archive_leaves_out_links_and_hidden_files(tmp_path):
    folder = fill(tmp_path / "folder")
    files = [(str(path.relative_to(folder)), path) for path in list_files(folder)]
    with tarfile.open(pack_files(files, tmp_path / "out.tar")) as archive:
        assert archive.getnames() == ["b/two.md", "one.txt"]


def test_archive_of_nothing_is_refused(tmp_path):
    with pytest.raises(InvalidRequest, match="holds no files"):
        list_files(tmp_path)
    with pytest.raises(InvalidRequest, match="no such folder"):
        list_files(tmp_path / "absent")
