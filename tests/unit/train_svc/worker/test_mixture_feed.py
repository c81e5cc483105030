"""A training run that reads a mixture: proportions, phases, caps, and the same rows after every interruption."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
import torch
from bessemer.api.data.v1.mixture_pb2 import Mixture, MixtureComponent, MixturePhase
from bessemer.api.train.v1.training_job_pb2 import TrainingRecipe
from bessemer.artifacts.mixture import write_mixture
from bessemer.kernel.errors import FailedPrecondition, InvalidRequest
from google.protobuf import text_format
from train_svc.worker import train
from train_svc.worker.feed import Feed
from train_svc.worker.mixture_feed import MixtureFeed
from train_svc.worker.rows import Document, Row

from tests.fixtures.training import CHATS, PAIRS, Bench

OTHERS = [f"Shift {i} reports no fault, {i * 7} tonnes went out and {i * 3} came back." for i in range(20)]
METHODS = {
    "cpt {}": lambda bench: [bench.text(), bench.text(OTHERS)],
    "sft {}": lambda bench: [bench.rows("CHAT", CHATS), bench.rows("CHAT", CHATS[3:7])],
    "dpo {}": lambda bench: [bench.rows("PREFERENCE", PAIRS), bench.rows("PREFERENCE", PAIRS[3:7])],
}


class Numbers(Feed):
    """Rows that hold nothing but their number, 10 tokens each, in another order in every pass."""

    def __init__(self, rows: int, name: str) -> None:
        self._rows = rows
        self._name = name

    def __len__(self) -> int:
        return self._rows

    @property
    def num_tokens(self) -> int:
        return 10 * self._rows

    def row(self, index: int) -> Row:
        return Row((Document(np.full(10, index), np.ones(10, np.float32)),))

    def take(self, position: int, count: int) -> list[Row]:
        return [self.row(self._number(place)) for place in range(position, position + count)]

    def _number(self, place: int) -> int:
        epoch, number = divmod(place, self._rows)
        return random.Random(f"{self._name}/{epoch}").sample(range(self._rows), self._rows)[number]


def mixture(*phases, components=2, **limits):
    return Mixture(
        components=[MixtureComponent(epochs_max=4, **limits)] * components,
        phases=[MixturePhase(share=share, weights=weights) for share, weights in phases],
    )


def feed(mixed, sizes, *, steps=None, tokens_per_step=100):
    parts = [Numbers(size, str(i)) for i, size in enumerate(sizes)]
    return MixtureFeed(mixed, parts, tokens_per_step=tokens_per_step, steps=steps)


def numbers(rows):
    return [int(row.documents[0].ids[0]) for row in rows]


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(autouse=True)
def plain_torch():
    yield
    torch.use_deterministic_algorithms(False)


def job_of(bench, method, *phases, **recipe):
    values = {"learning_rate": 0.003, "tokens_per_step": 128, "steps": 7, "threads": 1, "sequence_length": 64}
    values |= {"checkpoint_every_steps": 2, "dtype": "fp32", **recipe}
    job = bench.job(text_format.Parse(method, TrainingRecipe(**values)), *METHODS[method](bench))
    mixed = mixture(*(phases or [(1, (0.5, 0.5))]))
    for component in mixed.components:
        component.epochs_max = 16
    job.inputs.mixture.CopyFrom(write_mixture(bench.blobs, mixed))
    return job


def run(bench, job, saved_state=b"", die_at=None):
    """Run a job, and die before step `die_at`; return the digest of its end, and the link."""
    context, link = bench.context(job, saved_state=saved_state)
    calls = iter(range(1_000))

    def check():
        if next(calls) == die_at:
            raise KeyboardInterrupt

    context.check = check
    if die_at is not None:
        with pytest.raises(KeyboardInterrupt):
            train.run(context)
        return "", link
    outcome = train.run(context)
    context.beat()
    return outcome.result.state_sha256, link


@pytest.mark.parametrize("method", METHODS)
def test_training_on_a_mixture_killed_and_resumed_ends_bit_identical(bench, method):
    job = job_of(bench, method, (0.6, (0.8, 0.2)), (0.4, (0.2, 0.8)))
    undisturbed, _ = run(bench, job)
    for die_at in (4, 6):
        _, link = run(bench, job, die_at=die_at)
        assert run(bench, job, link.states[-1])[0] == undisturbed
    other, _ = run(bench, job_of(bench, method, (0.6, (0.2, 0.8)), (0.4, (0.8, 0.2))))
    assert other != undisturbed


def test_training_on_a_mixture_lowers_the_loss(bench):
    _, link = run(bench, job_of(bench, "cpt {}", steps=15))
    losses = [point.value for request in link.requests for point in request.metrics if point.key == "train/loss"]
    assert len(losses) == 15
    assert losses[-1] < losses[0] - 0.3


def test_training_checkpoint_of_other_proportions_is_refused(bench):
    _, link = run(bench, job_of(bench, "cpt {}"))
    with pytest.raises(FailedPrecondition, match="another model"):
        run(bench, job_of(bench, "cpt {}", (1, (0.4, 0.6))), link.states[-1])


def test_training_without_steps_reads_as_many_tokens_as_there_are(bench):
    job = job_of(bench, "cpt {}")
    job.recipe.ClearField("steps")
    whole = train._Trainer(bench.context(job)[0]).feed
    job.inputs.ClearField("mixture")
    plain = train._Trainer(bench.context(job)[0]).feed
    assert abs(whole.num_tokens - plain.num_tokens) <= 128
    assert len(whole) % whole.rows_per_step(128) == 0


def test_feed_mixes_every_step_alike():
    mixed = feed(mixture((1, (0.7, 0.3))), [1_000, 1_000], steps=50)
    assert (len(mixed), mixed.rows_per_step(100), mixed.num_tokens) == (500, 10, 5_000)
    for step in range(50):
        assert Counter(mixed._plan.at(step * 10 + i)[1] for i in range(10)) == {0: 7, 1: 3}


def test_feed_reads_components_in_their_own_order_pass_by_pass():
    mixed = feed(mixture((1, (0.5, 0.5))), [10, 100], steps=4, tokens_per_step=200)
    parts = [Numbers(10, "0"), Numbers(100, "1")]
    rows = mixed.take(0, 80)
    first = [n for place, n in enumerate(numbers(rows)) if mixed._plan.at(place)[1] == 0]
    assert first == numbers(parts[0].take(0, 40))
    assert Counter(first) == dict.fromkeys(range(10), 4)


@pytest.mark.parametrize("count", [1, 3, 7, 64])
def test_feed_is_the_same_however_it_is_taken(count):
    mixed = feed(mixture((0.5, (0.9, 0.1)), (0.5, (0.2, 0.8))), [60, 90], steps=12)
    whole = numbers(mixed.take(0, 200))  # past the end, where the plan starts again
    pieces = [n for begin in range(0, 200, count) for n in numbers(mixed.take(begin, min(count, 200 - begin)))]
    assert pieces == whole


def test_feed_phases_follow_each_other():
    mixed = feed(mixture((0.75, (1, 0)), (0.25, (0, 1))), [100, 100], steps=8)
    assert [mixed._plan.at(i)[1] for i in range(80)] == [0] * 60 + [1] * 20


def test_feed_refuses_more_steps_than_the_caps_allow():
    with pytest.raises(InvalidRequest, match="leave 80 rows, about 800 tokens, 20 rows less") as caught:
        feed(mixture((1, (0.5, 0.5))), [10, 10], steps=10)
    assert caught.value.fields["field"] == "training_job.recipe.steps"


def test_feed_without_steps_takes_what_the_caps_leave():
    mixed = feed(mixture((1, (0.5, 0.5)), tokens_max=120), [100, 40])
    assert len(mixed) == 20  # 24 rows, in whole steps of 10
    with pytest.raises(FailedPrecondition, match="24 rows, a step takes 30"):
        feed(mixture((1, (0.5, 0.5)), tokens_max=120), [100, 40], tokens_per_step=300)
