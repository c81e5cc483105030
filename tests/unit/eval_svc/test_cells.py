"""Cells of a run: a worker that is killed leaves what it finished, and nobody computes that again."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path

from bessemer.api.eval.v1.evaluation_pb2 import EvaluationCells, EvaluationInputs, EvaluationRun, EvaluationSuite
from bessemer.api.worker.v1 import worker_service_pb2 as pb
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.contamination import pack_contamination_set
from bessemer.artifacts.manifest import FileEntry, Manifest, write_manifest
from bessemer.jobs.worker import TaskContext
from bessemer.svckit.objects import ObjectsConfig, open_objects
from eval_svc.codec import KINDS
from eval_svc.domain.cases import Case, Grader, format_cases, given_away
from eval_svc.domain.results import parse_results
from eval_svc.worker.cells import splits
from eval_svc.worker.run import run

from tests.fixtures.tiny_model import make_tiny_model


class Link:
    """Keeps saved states in a file; dies with SIGKILL right after `dies_at` of them, as a lost host does."""

    def __init__(self, path: Path, *, dies_at: int = -1) -> None:
        self.path, self.dies_at, self.saves = path, dies_at, 0

    def beat(self, request):
        if request.saved_state:
            self.path.write_bytes(request.saved_state)
            self.saves += 1
            if self.saves == self.dies_at:
                os.kill(os.getpid(), signal.SIGKILL)
        return pb.HeartbeatResponse()


def attempt(folder: Path, job: bytes, dies_at: int):
    """Run a job as a worker does, with what earlier attempts saved."""
    link, saved = Link(folder / "saved", dies_at=dies_at), folder / "saved"
    task = pb.Task(name="projects/p/evaluationRuns/r", kind="evaluationRuns", epoch=1, job=job)
    task.saved_state = saved.read_bytes() if saved.exists() else b""
    objects = open_objects(ObjectsConfig(f"file://{folder}/objects"))
    return run(TaskContext(task, objects=objects, workdir=folder / "work", link=link)), link


def stored(blobs, content: bytes):
    return blobs.put_bytes(content, "application/octet-stream")


def work(folder: Path) -> bytes:
    """Return a run of two suites, 150 and 20 cases, beside a dataset version that holds three of them."""
    blobs = Blobs(open_objects(ObjectsConfig(f"file://{folder}/objects")), "p")
    model = make_tiny_model(folder / "model")
    files = tuple(FileEntry.of(path.name, stored(blobs, path.read_bytes())) for path in sorted(model.iterdir()))
    suites = []
    asked = {
        "many": "The furnace number {} melts how much iron a day?",
        "few": "Which of {} pipes withstands salt water?",
    }
    for name, count in (("many", 150), ("few", 20)):
        cases = [
            Case(
                id=f"{name}{i}", cluster=f"{i}", prompt=asked[name].format(i),
                choices=("a little", "a lot"), target="a lot", target_index=1,
            )
            for i in range(count)
        ]  # fmt: skip
        packed = pack_contamination_set((case.cluster, given_away(case, Grader.CHOICE)) for case in cases)
        suites.append(
            EvaluationSuite(
                name=f"projects/p/evaluationSuites/{name}",
                grader=KINDS[Grader.CHOICE],
                cases=stored(blobs, format_cases(cases)),
                contamination_hashes=stored(blobs, packed),
            )
        )
    texts = [{"text": f"As asked: the furnace number {i} melts how much iron a day? A lot."} for i in (3, 7, 141)]
    rows = "".join(json.dumps(text) + "\n" for text in texts).encode()
    manifest = write_manifest(blobs, Manifest("dataset", (FileEntry.of("train/rows.jsonl", stored(blobs, rows)),), {}))
    inputs = EvaluationInputs(
        model_manifest=write_manifest(blobs, Manifest("model", files, {})),
        suites=suites,
        training_data=[{"dataset_version": "projects/p/datasets/d/versions/v1", "manifest": manifest}],
    )
    return EvaluationRun(name="projects/p/evaluationRuns/r", inputs=inputs).SerializeToString()


def test_run_killed_after_two_cells_computes_only_the_others_and_gives_the_same(tmp_path):
    whole = tmp_path / "whole"
    job, killed = work(whole), tmp_path / "killed"
    shutil.copytree(whole, killed)
    undisturbed, link = attempt(whole, job, -1)
    assert link.saves == 5  # three parts of one suite, one of the other, one dataset version
    child = multiprocessing.get_context("spawn").Process(target=attempt, args=(killed, job, 2))
    child.start()
    child.join(120)
    assert child.exitcode == -signal.SIGKILL
    kept = EvaluationCells.FromString((killed / "saved").read_bytes())
    assert [cell.split for cell in kept.cells] == [0, 1]
    done, link = attempt(killed, job, -1)
    assert link.saves == 3
    for before, after in zip(undisturbed.result.results, done.result.results, strict=True):
        assert before.case_results == after.case_results
        assert before.contamination == after.contamination

    blobs = Blobs(open_objects(ObjectsConfig(f"file://{killed}/objects")), "p")
    many, few = done.result.results
    assert (many.num_contaminated, few.num_contaminated) == (3, 0)
    assert sorted(many.contamination[0].cases) == ["many141", "many3", "many7"]
    results = parse_results(blobs.get_bytes(many.case_results))
    assert {each.id for each in results if each.found_in} == set(many.contamination[0].cases)
    assert many.HasField("clean_interval")
    assert not few.HasField("clean_interval")


def test_splits_depend_on_the_number_of_cases_alone_and_are_few():
    cases = [Case(id=str(i), cluster="", prompt="?") for i in range(20_000)]
    assert [len(part) for part in splits(cases[:130])] == [64, 64, 2]
    assert len(splits(cases)) == 32
    assert sum(map(len, splits(cases))) == 20_000
