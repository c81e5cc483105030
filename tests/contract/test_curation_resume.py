"""Curation in partitions: the same version from any number of workers, and after being killed at any moment."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tarfile
import time

import psutil
import pytest
from bessemer.svckit.objects import open_objects

from tests.unit.data_svc.conftest import prose, tokenizer_path  # noqa: F401 - a fixture

RUN = """
import json, sys
from dataclasses import replace
from pathlib import Path
from bessemer.artifacts.blobs import Blobs
from bessemer.svckit.objects import ObjectsConfig, open_objects
from data_svc.domain.recipes import Recipe
from data_svc.worker import partitions, texts
from data_svc.worker.curate import curate
given = json.loads(sys.argv[1])
partitions.PARTITION_BYTES = texts.TEXT_PART_BYTES = 8000
objects = open_objects(ObjectsConfig(given["url"], access_key=given["access"], secret_key=given["secret"]))
recipe = Recipe(sequence_length=64, heldout_fraction=0.2, tokens_max=20_000)
version = curate([Path(p) for p in given["paths"]], recipe, Path(given["tokenizer"]), Blobs(objects, "p"),
                 workers=given["workers"])
print(version.manifest.sha256)
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


@pytest.fixture
def start(tmp_path, objects_config, sources, tokenizer_path):  # noqa: F811
    def run(workers: int) -> subprocess.Popen[bytes]:
        given = {"url": objects_config.url, "access": objects_config.access_key, "secret": objects_config.secret_key}
        given |= {"paths": sources, "tokenizer": str(tokenizer_path), "workers": workers}
        environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-c", RUN, json.dumps(given)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)

    return run


def digest(process: subprocess.Popen[bytes]) -> str:
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return out.decode().strip()


def work_of(objects) -> list[str]:
    return [*objects.list("projects/p/work/")]


def forget(objects) -> None:
    for key in work_of(objects):
        objects.delete(key)


def left_behind(folder) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any("task_child" in word for word in words) and any(str(folder) in word for word in words):
            found.append(process)
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_curation_killed_at_random_moments_makes_the_same_version_as_any_number_of_workers(
    start, objects_config, tmp_path
):
    objects = open_objects(objects_config)
    expected = digest(start(1))
    partitions = work_of(objects)
    assert len(partitions) > 12, "there are partitions to be killed in"
    forget(objects)
    begin = time.monotonic()
    assert digest(start(4)) == expected
    duration_s = time.monotonic() - begin
    assert {key.rsplit("/", 1)[0] for key in work_of(objects)} == {key.rsplit("/", 1)[0] for key in partitions}
    forget(objects)
    moments = random.Random(objects_config.url)
    finished = killed = 0
    while killed < KILLS:
        process = start(2)
        time.sleep(moments.uniform(0.1, 1.0) * duration_s)
        if process.poll() is None:
            process.kill()
            process.wait()
            killed += 1
        else:
            assert digest(process) == expected
            finished += 1
            forget(objects)
    deadline = time.monotonic() + 20
    while left_behind(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left_behind(tmp_path) == [], "processes end with the one that started them"
    assert digest(start(2)) == expected
