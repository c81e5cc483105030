"""Partitions: their bounds, their results in the store, the processes that make them, and sources that are broken."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import tarfile
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import psutil
import pytest
from bessemer.artifacts.blobs import Blobs
from bessemer.jobs.array import ArraySpec, request_key
from bessemer.jobs.array_local import ElementProcess
from bessemer.jobs.patient_objects import objects_env
from bessemer.kernel.errors import FailedPrecondition, Internal
from bessemer.svckit.objects_files import FileObjects
from data_svc.domain.partitions import is_stale, result_name, starts_partition
from data_svc.domain.recipes import Recipe
from data_svc.worker import partitions as cutting
from data_svc.worker import texts
from data_svc.worker.batches import places, read_columns
from data_svc.worker.curate import curate
from data_svc.worker.executor import Executor, Task
from data_svc.worker.partitions import Upload, partitions
from data_svc.worker.slices import Slices
from data_svc.worker.work import Work
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.jobs.foreign_arrays import ForeignArrays

from .conftest import documents_of, prose

RECIPE = Recipe(sequence_length=64, heldout_fraction=0.2)
Files = list[tuple[int, int]]


def cut(files: Files, most: int = 1000) -> list[Files]:
    parts: list[Files] = [[]]
    for name, size in files:
        digest = hashlib.sha256(str(name).encode()).digest()
        if starts_partition(digest, size, sum(size for _, size in parts[-1]), most):
            parts.append([])
        parts[-1].append((name, size))
    return parts


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 1500)), min_size=1, max_size=60))
@settings(max_examples=200, deadline=None)
def test_partition_holds_no_more_than_allowed_or_one_file(files: Files) -> None:
    parts = cut(files)
    assert [file for part in parts for file in part] == files
    assert all(sum(size for _, size in part) <= 1000 or len([s for _, s in part if s]) == 1 for part in parts)


def test_partitions_of_a_folder_that_changed_a_little_are_mostly_the_same() -> None:
    chance = random.Random(0)
    files = [(number, chance.randrange(1, 40)) for number in range(5000)]
    before = {tuple(part) for part in cut(files)}
    changed = [*files[:1000], (-1, 30), *files[1000:3000], *files[3001:]]
    after = {tuple(part) for part in cut(changed)}
    assert 100 < len(before) < 400
    assert len(before - after) <= 8


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "PARTITION_BYTES", 8000)
    monkeypatch.setattr(texts, "TEXT_PART_BYTES", 8000)


@pytest.fixture
def objects(tmp_path: Path) -> FileObjects:
    return FileObjects(tmp_path / "objects")


def test_version_is_the_same_in_one_partition_or_many(
    small: None, documents: Path, tokenizer_path: Path, objects: FileObjects, tmp_path: Path
) -> None:
    many = curate([documents], RECIPE, tokenizer_path, Blobs(objects, "p"), workers=2)
    assert len([*objects.list("projects/p/work/")]) > 6
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutting, "PARTITION_BYTES", 64 << 20)
        one = curate([documents], RECIPE, tokenizer_path, Blobs(FileObjects(tmp_path / "other"), "p"))
    assert many.manifest == one.manifest


def test_version_is_the_same_when_elements_run_where_no_file_of_this_host_is_seen(
    documents: Path, tokenizer_path: Path, objects: FileObjects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "archive.tar.gz"
    with tarfile.open(archive, "w:gz") as target:
        target.add(documents, "inside")
    (documents / "broken.pdf").write_bytes(b"%PDF-1.7 nothing")
    sources = [documents, archive]
    monkeypatch.setattr(cutting, "PARTITION_BYTES", 40_000)
    requests: list[str] = []

    class Watched(ForeignArrays):
        def submit(self, spec: ArraySpec, count: int) -> None:
            requests.extend(objects.get_bytes(request_key(spec.prefix, index)).decode() for index in range(count))
            super().submit(spec, count)

    foreign = Watched(tmp_path, objects_env(objects.config))
    there = curate(sources, RECIPE, tokenizer_path, Blobs(objects, "p"), arrays=foreign)
    assert [array.partition("-")[0] for array, _ in foreign.submitted] == ["read", "tokenize"]
    assert foreign.submitted[0][1] >= 2
    assert not [request for request in requests if str(tmp_path) in request or str(tokenizer_path) in request]
    here = curate(sources, RECIPE, tokenizer_path, Blobs(FileObjects(tmp_path / "other"), "p"), workers=1)
    assert there.manifest == here.manifest
    assert [*objects.list("projects/p/work/arrays/")] == []


def test_second_import_reads_only_what_changed(
    small: None, documents: Path, tokenizer_path: Path, objects: FileObjects
) -> None:
    curate([documents], RECIPE, tokenizer_path, Blobs(objects, "p"), workers=1)
    before = {key.split("/")[3] for key in objects.list("projects/p/work/")}
    (documents / "99-new.txt").write_text(prose(99))
    curate([documents], RECIPE, tokenizer_path, Blobs(objects, "p"), workers=1)
    added = {key.split("/")[3] for key in objects.list("projects/p/work/")} - before
    assert len(added) <= 4, "the last partition, read and tokenized; two more if it was full"
    assert added


def test_import_after_one_of_200_files_changed_parses_its_partition_alone(
    small: None, tokenizer_path: Path, objects: FileObjects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, parsed = tmp_path / "texts", []
    folder.mkdir()
    for number in range(200):
        (folder / f"{number:03d}.txt").write_text(prose(number))

    def answer(process: ElementProcess, prefix: str, index: int, say) -> None:
        parsed.extend(name for name, *_ in asked(objects, prefix, index).get("files", ()))
        return REAL(process, prefix, index, say)

    monkeypatch.setattr(ElementProcess, "answer", answer)
    first = curate([folder], RECIPE, tokenizer_path, Blobs(objects, "p"), workers=2)
    assert (len(parsed), first.partitions_reused) == (200, 0)
    assert first.partitions > 20
    parsed.clear()
    (folder / "100.txt").write_text(prose(100) + " And one sentence more.")
    second = curate([folder], RECIPE, tokenizer_path, Blobs(objects, "p"), workers=2)
    assert "100.txt" in parsed
    assert second.partitions - second.partitions_reused <= 3
    assert len(parsed) <= 30


def test_work_that_is_damaged_is_made_again(objects: FileObjects, tmp_path: Path) -> None:
    work, result, copy = Work(objects, "p"), tmp_path / "result", tmp_path / "copy"
    result.write_bytes(b"steel")
    assert not work.fetch("k", copy)
    work.keep("k", result)
    assert work.fetch("k", copy)
    assert copy.read_bytes() == b"steel"
    [key] = objects.list("projects/p/work/k/")
    objects.path(key).chmod(0o644)
    objects.path(key).write_bytes(b"rust")
    assert not work.fetch("k", copy)
    assert [*objects.list("projects/p/work/k/")] == []


def test_work_goes_after_a_month() -> None:
    today = date(2026, 3, 1)
    key = f"projects/p/work/abc/{result_name(today, 'f' * 64)}"
    assert not is_stale(key, today)
    assert not is_stale(key, today + timedelta(days=30))
    assert is_stale(key, today + timedelta(days=31))
    assert is_stale("projects/p/work/abc/stray", today)


def tasks_of(folder: Path, count: int, tmp_path: Path) -> list[Task]:
    tasks = []
    for number in range(count):
        file = folder / f"{number}.txt"
        file.write_text(prose(number))
        request = {
            "kind": "read",
            "files": [[file.name, str(file), file.stat().st_size, "text"]],
            "recipe": {"redact": []},
        }
        tasks.append(Task(f"key-{number}", request, tmp_path / f"{number}.arrow"))
    return tasks


def asked(objects: FileObjects, prefix: str, index: int):
    return json.loads(objects.get_bytes(request_key(prefix, index)))["task"]


REAL = ElementProcess.answer


@pytest.mark.parametrize("deaths", [1, 2])
def test_process_that_dies_is_replaced_once_and_then_the_file_is_named(
    deaths: int, tmp_path: Path, objects: FileObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks, left = tasks_of(tmp_path, 3, tmp_path), [*range(deaths)]
    file = tmp_path / "1.txt"
    text = file.read_text()
    file.unlink()
    os.mkfifo(file)  # whoever reads it waits for ever

    def answer_or_die(process: ElementProcess, prefix: str, index: int, say) -> None:
        def die(at: str) -> None:
            say(at)
            if at == file.name and left:
                left.pop()
                process.kill()
                if not left:
                    file.unlink()
                    file.write_text(text)

        REAL(process, prefix, index, die)

    monkeypatch.setattr(ElementProcess, "answer", answer_or_die)
    with Executor(Work(objects, "p"), tmp_path / "scratch", workers=1) as executor:
        done = executor.map(tasks, lambda _: None)
        if deaths == 1:
            assert [task.key for task in done] == ["key-0", "key-1", "key-2"]
        else:
            with pytest.raises(FailedPrecondition, match=r"ended with status -9 at 1\.txt") as caught:
                list(done)
            assert caught.value.reason == "SOURCE_INVALID"
    assert tasks[0].out.exists()


def test_task_that_fails_says_where(tmp_path: Path, objects: FileObjects) -> None:
    tasks = tasks_of(tmp_path, 2, tmp_path)
    tasks[1].request["files"].append(["odd.txt", "/nowhere", 5, "no such format"])
    with (
        Executor(Work(objects, "p"), tmp_path / "scratch", workers=2) as executor,
        pytest.raises(Internal, match=r"failed at odd\.txt: ValueError"),
    ):
        list(executor.map(tasks, lambda _: None))
    assert [key for key in objects.list("projects/p/work/") if "arrays" in key] == []


def test_job_that_is_cancelled_ends_its_processes(tmp_path: Path, objects: FileObjects) -> None:
    def cancel(_at: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Executor(Work(objects, "p"), tmp_path / "scratch", workers=2) as executor:
        list(executor.map(tasks_of(tmp_path, 5, tmp_path), cancel))
    children = psutil.Process().children(recursive=True)
    assert not [child for child in children if "bessemer.jobs.element" in child.cmdline()]


def test_archive_entries_reach_their_partition_and_odd_names_are_kept_readable(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT, encoding="latin-1") as target:
        for name, text in (("größe.txt", b"one"), ("two.txt", b"two"), ("none.txt", b"")):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            target.addfile(info, io.BytesIO(text))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    [part] = partitions([Upload("a.tar", archive)], scratch, Recipe())
    assert [entry[0] for entry in part.files] == ["gr??e.txt", "two.txt", "none.txt"]
    assert [Path(entry[1]).read_bytes() for entry in part.files[:2]] == [b"one", b"two"]
    assert part.files[2][3:] == ["EMPTY", "no bytes"]
    assert part.sources == [(0, 3)]


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=20), st.randoms())
@settings(max_examples=50, deadline=None)
def test_slices_read_what_lies_there_in_any_order(tmp_path_factory, texts: list[bytes], chance) -> None:
    path = tmp_path_factory.mktemp("slices") / "file"
    path.write_bytes(b"".join(texts))
    sizes = np.array([len(text) for text in texts])
    slices = Slices([path], np.zeros(len(texts), np.int64), np.cumsum(sizes) - sizes, sizes)
    order = np.array(chance.sample(range(len(texts)), len(texts)))
    assert slices.read(order) == [texts[number] for number in order]
    assert [number for batch in slices.batches(order, 60) for number in batch.tolist()] == order.tolist()
    target = bytearray(int(sizes.sum()))
    slices.read_into(order, memoryview(target), slices.starts[order])
    assert bytes(target) == b"".join(texts)


def test_texts_lie_in_partition_files_as_they_are(tmp_path: Path) -> None:
    texts = [prose(number) for number in range(30)]
    documents = documents_of(texts, tmp_path)
    assert [text.decode() for text in documents.texts.read(np.arange(30))] == texts
    assert read_columns(tmp_path / "0.arrow", ("source",))["source"].to_pylist() == [str(n) for n in range(30)]
    assert places(tmp_path / "0.arrow", "text")[1].tolist() == [len(text.encode()) for text in texts]
    assert documents.take(np.array([7])).table["sha256"].to_pylist() == [hashlib.sha256(texts[7].encode()).digest()]


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A folder of 200 files of which eleven cannot be parsed."""
    folder = tmp_path / "export"
    folder.mkdir()
    for number in range(200):
        is_good = number % 18
        (folder / f"{number:03d}.pdf").write_bytes(b"" if is_good else b"%PDF-1.7 nothing")
        if is_good:
            (folder / f"{number:03d}.pdf").rename(folder / f"{number:03d}.txt")
            (folder / f"{number:03d}.txt").write_text(prose(number, 50))
    return folder


def test_source_of_which_too_much_cannot_be_parsed_stops_the_job(
    small: None, broken: Path, tokenizer_path: Path, objects: FileObjects
) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        curate([broken], RECIPE, tokenizer_path, Blobs(objects, "p"), workers=1)
    assert caught.value.reason == "SOURCE_INVALID"
    assert "12 of 200 files of export (6%)" in caught.value.message
    assert "PARSE_FAILED (12" in caught.value.message
    assert "parse_failures_max" in caught.value.message
    allowed = Recipe(sequence_length=64, heldout_fraction=0.2, parse_failures_max=0.1)
    result = curate([broken], allowed, tokenizer_path, Blobs(objects, "p"), workers=1)
    assert {count.reason: count.documents for count in result.reasons}["PARSE_FAILED"] == 12
    next(broken.glob("*.txt")).unlink()
    assert curate([broken], RECIPE, tokenizer_path, Blobs(objects, "p"), workers=1).manifest.sha256
