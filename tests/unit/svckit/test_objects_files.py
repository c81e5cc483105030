from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from bessemer.kernel.errors import AlreadyExists, FailedPrecondition, LimitReached
from bessemer.svckit.objects_files import FileObjects

WRITER = """
import sys
from pathlib import Path
from bessemer.svckit.objects_files import FileObjects

objects = FileObjects(Path(sys.argv[1]))
for number in range(100_000):
    objects.put_bytes(f"d{number % 7}/{number}", b"%d" % number * 5000)
    print(number, flush=True)
"""


def test_put_under_an_object_or_over_a_folder_is_refused(tmp_path):
    objects = FileObjects(tmp_path)
    objects.put_bytes("a/b", b"1")
    for key in ("a", "a/b/c", "a/b/c/d"):
        with pytest.raises(AlreadyExists, match="folder"):
            objects.put_bytes(key, b"1")


def test_stored_files_cannot_be_written_by_accident(tmp_path):
    objects = FileObjects(tmp_path)
    objects.put_bytes("a", b"1")
    assert objects.path("a").stat().st_mode & 0o222 == 0


def test_leftovers_of_crashed_writers_are_swept_after_a_day(tmp_path):
    FileObjects(tmp_path)
    old, new = tmp_path / ".partial" / "old", tmp_path / ".partial" / "new"
    old.touch()
    new.touch()
    os.utime(old, (time.time() - 90_000,) * 2)
    objects = FileObjects(tmp_path)
    assert (old.exists(), new.exists()) == (False, True)
    assert list(objects.list("")) == []


def test_signed_url_without_a_door_says_what_is_missing(tmp_path):
    with pytest.raises(FailedPrecondition, match="BESSEMER_DOOR_URL"):
        FileObjects(tmp_path).signed_url("GET", "a", expires_s=10)


@pytest.mark.parametrize("round_number", range(3))
def test_killed_writer_loses_nothing_it_acknowledged(tmp_path, round_number):
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        acknowledged = [int(writer.stdout.readline()) for _ in range(20 + 13 * round_number)]
    finally:
        writer.send_signal(signal.SIGKILL)
    acknowledged += [int(line) for line in writer.stdout.read().splitlines()]
    writer.wait()
    writer.stdout.close()
    objects = FileObjects(tmp_path)
    for number in acknowledged:
        assert objects.get_bytes(f"d{number % 7}/{number}") == b"%d" % number * 5000
    for key in objects.list(""):  # nothing is ever seen half
        assert objects.stat(key) == len(key.split("/")[1]) * 5000


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB; needs the right to mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("may not mount a small file system here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_full_disk_is_storage_full_and_heals(small_disk):
    objects = FileObjects(small_disk / "objects")
    objects.put_bytes("kept", b"k" * 300_000)
    with pytest.raises(LimitReached) as caught:
        objects.put_bytes("big", b"b" * 2_000_000)
    assert caught.value.reason == "STORAGE_FULL"
    assert list(objects.list("")) == ["kept"]
    assert objects.get_bytes("kept") == b"k" * 300_000
    objects.delete("kept")
    objects.put_bytes("next", b"n" * 700_000)
