"""Several ranks compute what one computes, and go on from each other's checkpoints."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
import sys
import time
from typing import NamedTuple

import psutil
import pytest
from bessemer.api.train.v1.training_job_pb2 import TrainingRecipe, TrainingResult
from bessemer.api.worker.v1.worker_service_pb2 import Task
from bessemer.jobs.gang import decide
from bessemer.jobs.launcher import GO
from bessemer.kernel.errors import InvalidRequest
from google.protobuf import text_format
from train_svc.domain.recipe import ROLLOUT_METHODS
from train_svc.worker import zero
from train_svc.worker.model_folder import store_model
from train_svc.worker.ranks import Ranks

from tests.fixtures.addition import make_adder
from tests.fixtures.training import PAIRS, SENTENCES, Bench

pytestmark = pytest.mark.timeout(900)  # ten processes that each import torch
TOLERANCE = 2e-4


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("bench"))


class Outcome(NamedTuple):
    result: TrainingResult
    series: dict[str, dict[int, float]]
    state: bytes

    @property
    def losses(self):
        return self.series["train/loss"]


class Gang:
    """Two ranks, started as any launcher would, that do one job after the other."""

    def __init__(self, bench, folder):
        self.bench, self.folder, self.number = bench, folder, -1
        folder.mkdir()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bessemer.jobs.gang", "2", "tests.fixtures.two_ranks"],
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "BESSEMER_OBJECTS_URL": (bench.folder / "objects").as_uri(),
                "BESSEMER_WORKER_DIR": str(folder / "work"),
            },
            stdin=subprocess.PIPE,
        )
        self.process.stdin.write(GO)
        self.process.stdin.close()

    def begin(self, job, *, saved_state=b"", alone=False, skip=0):
        self.number += 1
        self.bench.attempts += 1
        job.name = f"projects/p/trainingJobs/j{self.number}"  # a job prunes its own checkpoints
        task = Task(
            name=job.name,
            kind="trainingJobs",
            epoch=self.bench.attempts,
            job=job.SerializeToString(),
            saved_state=saved_state,
        )
        place = self.folder / str(self.number)
        if alone:
            place.with_suffix(".alone").touch()
        if skip:
            place.with_suffix(".skip").write_text(str(skip))
        place.with_suffix(".new").write_bytes(task.SerializeToString())
        place.with_suffix(".new").rename(place.with_suffix(".task"))

    def wait_for(self, suffix):
        path = self.folder / f"{self.number}{suffix}"
        deadline = time.monotonic() + 120
        while not path.exists():
            assert time.monotonic() < deadline
            assert self.process.poll() is None
            time.sleep(0.01)
        return path.read_bytes()

    def run(self, job, **how):
        self.begin(job, **how)
        result = TrainingResult.FromString(self.wait_for(".result"))
        series = {}
        for key, step, value in json.loads(self.wait_for(".metrics")):
            series.setdefault(key, {})[step] = value
        state = self.folder / f"{self.number}.state"
        return Outcome(result, series, state.read_bytes() if state.exists() else b"")

    def close(self):
        (self.folder / "end").touch()
        try:
            assert self.process.wait(60) == 0
        finally:
            self.process.kill()


@pytest.fixture(scope="module")
def gang(bench):
    with contextlib.closing(Gang(bench, bench.folder / "gang")) as gang:
        yield gang


ROLLOUTS = "{ prompts_per_step: 5 completions_per_prompt: 8 max_new_tokens: 24 kl_budget: 1000 }"
SUMS = [
    {"messages": [{"role": "user", "content": f"{i}+{j}"}, {"role": "assistant", "content": "7"}]}
    for i in range(5)
    for j in range(5)
]


@pytest.fixture(scope="module")
def adder(bench):
    """A model that answers with digits, so that some answers are right."""
    return store_model(bench.blobs, make_adder(bench.folder / "adder"), {}).manifest


def job_of(bench, adder, method, **fields):
    values = {"learning_rate": 0.003, "tokens_per_step": 256, "steps": 4, "threads": 1, "sequence_length": 64}
    values |= {"checkpoint_every_steps": 3, "dtype": "fp32", **fields}
    recipe = text_format.Parse(method, TrainingRecipe(**values))
    name = recipe.WhichOneof("method")
    if name == "cpt":
        return bench.job(recipe, bench.text(SENTENCES * 4))
    job = bench.job(recipe, bench.rows(*(("CHAT", SUMS) if name in ROLLOUT_METHODS else ("PREFERENCE", PAIRS))))
    if name in ROLLOUT_METHODS:
        job.inputs.model_manifest.CopyFrom(adder)
    return job


@pytest.fixture(scope="module")
def make_job(bench, adder):
    return functools.partial(job_of, bench, adder)


@pytest.fixture(scope="module")
def alone(gang, make_job):
    """What one rank makes of a method."""
    return functools.cache(lambda method, **fields: gang.run(make_job(method, **fields), alone=True))


def same_as(two, one):
    """Whether all that two ranks report is what one reports."""
    assert two.series.keys() == one.series.keys()
    assert len(one.losses) == 4
    assert max(one.series["train/grad_norm"].values()) > 0
    for key, values in one.series.items():
        if key not in {"train/tokens_per_second", "train/mfu"}:
            assert two.series[key] == pytest.approx(values, rel=TOLERANCE, abs=1e-5), key
    return True


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        ("UNSPECIFIED", "cpt {}"),
        ("UNSPECIFIED", "dpo {}"),
        ("FSDP", "cpt {}"),
        ("FSDP", "dpo {} lora { rank: 4 }"),
        ("ZERO_1", "cpt {}"),
        ("ZERO_2", "cpt {}"),
        ("ZERO_3", "cpt {}"),
    ],
)
def test_two_ranks_see_what_one_sees_and_go_on_from_its_checkpoint_and_it_from_theirs(
    gang, alone, make_job, kind, method
):
    one = alone(method)
    job = make_job(method, sharding=f"SHARDING_{kind}", num_ranks=2)
    two = gang.run(job)
    assert two.result.parameters
    assert same_as(two, one)
    again = gang.run(job, saved_state=two.state)
    assert again.result.state_sha256 == two.result.state_sha256
    for rest in (again, gang.run(job, saved_state=two.state, alone=True), gang.run(job, saved_state=one.state)):
        assert rest.losses == pytest.approx({4: one.losses[4]}, rel=TOLERANCE)


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        ("ZERO_3", "dpo {} lora { rank: 4 }"),
        ("UNSPECIFIED", "kto {}"),
        ("FSDP", "kto {}"),
        ("ZERO_3", "kto {}"),
        ("UNSPECIFIED", "reward_model {}"),
        ("FSDP", "reward_model {}"),
        ("ZERO_1", "reward_model {}"),
        ("ZERO_3", "reward_model {}"),
        ("UNSPECIFIED", f"grpo {ROLLOUTS}"),
        ("FSDP", f"grpo {ROLLOUTS}"),
        ("ZERO_2", f"grpo {ROLLOUTS}"),
        ("ZERO_3", f"online_dpo {ROLLOUTS}"),
    ],
)
def test_every_method_sees_on_two_ranks_what_it_sees_on_one(gang, alone, make_job, kind, method):
    one = alone(method)
    job = make_job(method, sharding=f"SHARDING_{kind}", num_ranks=2)
    assert same_as(gang.run(job), one)
    assert gang.run(job, saved_state=one.state).losses == pytest.approx({4: one.losses[4]}, rel=TOLERANCE)


@pytest.mark.parametrize("fields", [{"dtype": "bf16"}, {"tokens_per_step": 1}])
def test_replicas_agree_in_bf16_and_with_fewer_rows_than_ranks(gang, alone, make_job, fields):
    two = gang.run(make_job("dpo {}", num_ranks=2, **fields))
    assert two.losses == pytest.approx(alone("dpo {}", **fields).losses, rel=5e-3)


@pytest.mark.parametrize("kind", ["ZERO_1", "ZERO_2", "ZERO_3"])
def test_a_step_that_is_left_out_leaves_nothing_behind(gang, make_job, one_left_out, kind):
    two = gang.run(make_job("cpt {}", num_ranks=2, sharding=f"SHARDING_{kind}"), skip=2)
    assert two.losses == pytest.approx(one_left_out.losses, rel=TOLERANCE)


@pytest.fixture(scope="module")
def one_left_out(gang, make_job):
    return gang.run(make_job("cpt {}"), alone=True, skip=2)


def test_zero_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    with pytest.raises(InvalidRequest, match=r"bessemer\[deepspeed\]") as caught:
        zero._start(None, None, stage=1, clip_norm=1.0, ranks=Ranks(0, 2))
    assert caught.value.fields["field"] == "training_job.recipe.sharding"


@pytest.fixture(scope="module")
def undisturbed(gang, make_job):
    return gang.run(make_job("cpt {}", num_ranks=2, steps=12)).result


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_rank_ends_the_gang_at_once_and_the_job_goes_on_from_its_checkpoint(
    bench, gang, make_job, undisturbed, tmp_path, victim
):
    job = make_job("cpt {}", num_ranks=2, steps=12)
    doomed = Gang(bench, tmp_path / "gang")
    doomed.begin(make_job("cpt {}", num_ranks=2, steps=12, threads=2))
    state = doomed.wait_for(".state")
    ranks = sorted(psutil.Process(doomed.process.pid).children(), key=lambda child: child.environ()["RANK"])
    ranks[victim].kill()
    assert doomed.process.wait(15) == -9
    assert not any(rank.is_running() and rank.status() != psutil.STATUS_ZOMBIE for rank in ranks)
    assert gang.run(job, saved_state=state).result.state_sha256 == undisturbed.state_sha256


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
