"""Several ranks compute what one computes, and go on from each other's checkpoints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import psutil
import pytest
from bessemer.api.train.v1.training_job_pb2 import Sharding, TrainingRecipe, TrainingResult
from bessemer.api.worker.v1.worker_service_pb2 import Task
from bessemer.jobs.gang import decide
from bessemer.jobs.launcher import GO
from google.protobuf import text_format

from tests.fixtures.training import PAIRS, SENTENCES, Bench

pytestmark = pytest.mark.timeout(900)  # ten processes that each import torch
KINDS = {"whole": Sharding.SHARDING_UNSPECIFIED, "fsdp": Sharding.SHARDING_FSDP}
TOLERANCE = 2e-4


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("bench"))


class Gang:
    """Ranks of one attempt, started as any launcher would."""

    def __init__(self, bench, job, size, saved_state=b""):
        bench.attempts += 1
        self.folder = bench.folder / f"gang-{bench.attempts}"
        self.folder.mkdir()
        task = Task(
            name=job.name,
            kind="trainingJobs",
            epoch=bench.attempts,
            job=job.SerializeToString(),
            saved_state=saved_state,
        )
        (self.folder / "task.bin").write_bytes(task.SerializeToString())
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bessemer.jobs.gang", str(size), "tests.fixtures.two_ranks"],
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "BESSEMER_OBJECTS_URL": (bench.folder / "objects").as_uri(),
                "BESSEMER_WORKER_DIR": str(self.folder / "work"),
            },
            stdin=subprocess.PIPE,
        )
        self.process.stdin.write(GO)
        self.process.stdin.close()

    def finish(self):
        try:
            assert self.process.wait(240) == 0
        finally:
            self.process.kill()
        metrics = json.loads((self.folder / "metrics.json").read_text())
        result = TrainingResult.FromString((self.folder / "result.bin").read_bytes())
        return result, {step: value for key, step, value in metrics if key == "train/loss"}

    def wait_for_state(self):
        deadline = time.monotonic() + 200
        while not (self.folder / "state.bin").exists():
            assert time.monotonic() < deadline
            assert self.process.poll() is None
            time.sleep(0.05)
        return (self.folder / "state.bin").read_bytes()


def job_of(bench, method, **fields):
    values = {"learning_rate": 0.003, "tokens_per_step": 256, "steps": 8, "threads": 1, "sequence_length": 64}
    values |= {"checkpoint_every_steps": 3, "dtype": "fp32", **fields}
    recipe = text_format.Parse(method, TrainingRecipe(**values))
    return bench.job(recipe, bench.rows("PREFERENCE", PAIRS) if method.startswith("dpo") else bench.text(SENTENCES * 4))


@pytest.mark.parametrize(
    ("kind", "method"),
    [("whole", "cpt {}"), ("whole", "dpo {}"), ("fsdp", "cpt {}"), ("fsdp", "dpo {} lora { rank: 4 }")],
)
def test_two_ranks_lose_what_one_loses_and_resume_on_another_number(bench, kind, method):
    _, alone = Gang(bench, job_of(bench, method), 1).finish()
    job = job_of(bench, method, sharding=KINDS[kind], num_ranks=2)
    gang = Gang(bench, job, 2)
    state = gang.wait_for_state()
    result, together = gang.finish()
    assert result.parameters
    assert together == pytest.approx(alone, rel=TOLERANCE)
    for size in (1, 2):
        resumed, rest = Gang(bench, job, size, state).finish()
        assert set(rest) < set(alone)
        assert rest == pytest.approx({step: alone[step] for step in rest}, rel=TOLERANCE)
        if size == 2:
            assert resumed.state_sha256 == result.state_sha256


@pytest.fixture(scope="module")
def undisturbed(bench):
    return Gang(bench, job_of(bench, "cpt {}", num_ranks=2, steps=12), 2).finish()[0]


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_rank_ends_the_gang_at_once_and_the_job_goes_on_from_its_checkpoint(bench, undisturbed, victim):
    job = job_of(bench, "cpt {}", num_ranks=2, steps=12)
    gang = Gang(bench, job_of(bench, "cpt {}", num_ranks=2, steps=12, threads=2), 2)
    state = gang.wait_for_state()
    ranks = sorted(psutil.Process(gang.process.pid).children(), key=lambda child: child.environ()["RANK"])
    ranks[victim].kill()
    assert gang.process.wait(15) == -9
    assert not any(rank.is_running() and rank.status() != psutil.STATUS_ZOMBIE for rank in ranks)
    resumed, _ = Gang(bench, job, 2, state).finish()
    assert resumed.state_sha256 == undisturbed.state_sha256


@pytest.mark.parametrize(
    ("codes", "waited_s", "end"),
    [
        ([None, None], 0.0, None),
        ([0, 0], 0.0, 0),
        ([0, None], 1.0, None),  # the other may still be leaving
        ([0, None], 11.0, 0),
        ([1, None], 0.0, 1),  # it has reported why
        ([4, 0], 0.0, 4),
        ([None, 0], 60.0, None),
        ([None, 1], 1.0, None),  # the first rank meets the same error and reports it
        ([None, 1], 11.0, 1),
        ([None, -9], 0.0, -9),
        ([-9, None], 0.0, -9),
    ],
)
def test_the_gang_ends_as_the_rank_that_ended_it(codes, waited_s, end):
    assert decide(codes, waited_s) == end
