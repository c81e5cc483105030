"""Curation in partitions: the same version from any number of workers, and after being killed at any moment."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import psutil
import pytest
from bessemer.svckit.objects import open_objects

from tests.unit.data_svc.conftest import prose, tokenizer_path  # noqa: F401 - a fixture

# Forks a curation for every line of its input, so that what it imports is imported once; it runs nothing itself.
SERVER = """
import json, os, sys
from pathlib import Path
from bessemer.artifacts.blobs import Blobs
from bessemer.svckit import objects_files, objects_s3
from bessemer.svckit.objects import ObjectsConfig, open_objects
from data_svc.domain.recipes import Recipe
from data_svc.worker import partitions, texts
from data_svc.worker.curate import curate
given = json.loads(sys.argv[1])
partitions.PARTITION_BYTES = texts.TEXT_PART_BYTES = 8000
recipe = Recipe(sequence_length=64, heldout_fraction=0.2, tokens_max=20_000)
for line in sys.stdin:
    pid = os.fork()
    if not pid:
        objects = open_objects(ObjectsConfig(given["url"], access_key=given["access"], secret_key=given["secret"]))
        version = curate([Path(p) for p in given["paths"]], recipe, Path(given["tokenizer"]), Blobs(objects, "p"),
                         workers=int(line))
        Path(given["digest"]).write_text(version.manifest.sha256)
        os._exit(0)
    print(pid, flush=True)
    print(os.waitpid(pid, 0)[1], flush=True)
"""
KILLS = 20


@pytest.fixture
def sources(tmp_path):
    """A folder and an archive of documents with exact and near copies, something hostile and something empty."""
    folder = tmp_path / "sources"
    (folder / "more").mkdir(parents=True)
    for number in range(30):
        text = prose(number % 25, 150)
        (folder / f"{number}.txt").write_text(text if number < 28 else text + "\n\nOne more line.")
    (folder / "more" / "empty.md").write_bytes(b"")
    (folder / "more" / "broken.pdf").write_bytes(b"%PDF-1.7 nothing")
    archive = tmp_path / "archive.tar.gz"
    with tarfile.open(archive, "w:gz") as target:
        target.add(folder, "inside")
    for number in range(100, 105):
        (folder / f"{number}.md").write_text(prose(number, 100))
    return [str(folder), str(archive)]


class Curation:
    """Runs curations of the same sources, one at a time."""

    def __init__(self, given: dict[str, object], environment: dict[str, str], digest: Path) -> None:
        command = [sys.executable, "-c", SERVER, json.dumps({**given, "digest": str(digest)})]
        self._digest = digest
        self._server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)

    def start(self, workers: int) -> None:
        self._digest.unlink(missing_ok=True)
        self._server.stdin.write(b"%d\n" % workers)
        self._server.stdin.flush()
        self.process = psutil.Process(int(self._server.stdout.readline()))

    def is_running(self) -> bool:
        return self.process.is_running() and self.process.status() != psutil.STATUS_ZOMBIE

    def end(self) -> str:
        """Wait for the end and return the version's digest, empty if it was killed."""
        status = int(self._server.stdout.readline())
        assert status in {0, signal.SIGKILL}
        return "" if status else self._digest.read_text()

    def run(self, workers: int) -> str:
        self.start(workers)
        return self.end()

    def close(self) -> None:
        self._server.stdin.close()
        assert self._server.wait(timeout=60) == 0
        self._server.stdout.close()


@pytest.fixture
def curation(tmp_path, objects_config, sources, tokenizer_path):  # noqa: F811
    given = {"url": objects_config.url, "access": objects_config.access_key, "secret": objects_config.secret_key}
    given |= {"paths": sources, "tokenizer": str(tokenizer_path)}
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment |= {"OPENBLAS_NUM_THREADS": "1"}
    server = Curation(given, environment, tmp_path / "digest")
    yield server
    server.close()


def work_of(objects) -> set[str]:
    """The results that are kept, without requests and answers of processes that were killed."""
    keys = {key.rsplit("/", 1)[0] for key in objects.list("projects/p/work/")}
    return {key for key in keys if "/arrays/" not in key}


def forget(objects) -> None:
    for key in [*objects.list("projects/p/")]:
        objects.delete(key)


def left_behind(folder) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words = process.info["cmdline"] or []
        if "bessemer.jobs.element" in words and str(process.info["cwd"]).startswith(str(folder)):
            found.append(process)
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_curation_killed_at_random_moments_makes_the_same_version_as_any_number_of_workers(
    curation, objects_config, tmp_path
):
    objects = open_objects(objects_config)
    expected = curation.run(1)
    partitions = work_of(objects)
    assert len(partitions) > 12, "there are partitions to be killed in"
    forget(objects)
    begin = time.monotonic()
    assert curation.run(4) == expected
    duration_s = time.monotonic() - begin
    assert work_of(objects) == partitions
    forget(objects)
    moments = random.Random(objects_config.url)
    killed = 0
    while killed < KILLS:
        curation.start(moments.choice((1, 2)))
        wanted = len(work_of(objects)) + moments.choice((0, 1, 1, 2))  # then somewhere on the way to the next
        while curation.is_running() and len(work_of(objects)) < wanted:
            time.sleep(0.1)  # asking an S3 server takes a core from what is asked about
        time.sleep(moments.uniform(0, 0.15) * duration_s)
        with contextlib.suppress(psutil.NoSuchProcess):
            curation.process.kill()
        if digest := curation.end():
            assert digest == expected
            forget(objects)
        else:
            killed += 1
    deadline = time.monotonic() + 20
    while left_behind(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left_behind(tmp_path) == [], "processes end with the one that started them"
    assert curation.run(2) == expected
