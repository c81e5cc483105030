"""Several ranks compute what one computes, and go on from each other's checkpoints."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from bessemer.api.train.v1.training_job_pb2 import Sharding, TrainingRecipe, TrainingResult
from bessemer.api.worker.v1.worker_service_pb2 import Task
from google.protobuf import text_format

from tests.fixtures.training import PAIRS, SENTENCES, Bench
from tests.fixtures.tiny_model import make_tiny_model

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
            name=job.name, kind="trainingJobs", epoch=bench.attempts, job=job.SerializeToString(), saved_state=saved_state
        )
        (self.folder / "task.bin").write_bytes(task.SerializeToString())
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.ranks = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.fixtures.two_ranks", str(self.folder)],
                env={
                    **os.environ,
                    "RANK": str(rank),
                    "WORLD_SIZE": str(size),
                    "MASTER_ADDR": "127.0.0.1",
                    "MASTER_PORT": str(port),
                    "OMP_NUM_THREADS": "1",
                    "BESSEMER_OBJECTS_URL": (bench.folder / "objects").as_uri(),
                    "BESSEMER_WORKER_DIR": str(self.folder / "work"),
                },
            )
            for rank in range(size)
        ]

    def finish(self):
        try:
            assert [rank.wait(240) for rank in self.ranks] == [0] * len(self.ranks)
        finally:
            self.kill()
        metrics = json.loads((self.folder / "metrics.json").read_text())
        result = TrainingResult.FromString((self.folder / "result.bin").read_bytes())
        return result, {step: value for key, step, value in metrics if key == "train/loss"}

    def wait_for_state(self):
        deadline = time.monotonic() + 200
        while not (self.folder / "state.bin").exists():
            assert time.monotonic() < deadline
            assert all(rank.poll() is None for rank in self.ranks)
            time.sleep(0.05)
        return (self.folder / "state.bin").read_bytes()

    def kill(self):
        for rank in self.ranks:
            rank.kill()
            rank.wait()


def job_of(bench, method, **fields):
    values = {"learning_rate": 0.003, "tokens_per_step": 256, "steps": 8, "threads": 1, "sequence_length": 64}
    values |= {"checkpoint_every_steps": 3, "dtype": "fp32", **fields}
    recipe = text_format.Parse(method, TrainingRecipe(**values))
    return bench.job(recipe, bench.rows("PREFERENCE", PAIRS) if method.startswith("dpo") else bench.text(SENTENCES * 4))


@pytest.mark.parametrize("method", ["cpt {}", "cpt {} lora { rank: 4 }", "dpo {}"])
@pytest.mark.parametrize("kind", KINDS)
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
