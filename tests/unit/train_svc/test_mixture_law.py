"""The law of shares and losses, and the shares that it makes best."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from bessemer.api.data.v1.dataset_pb2 import DatasetKind
from bessemer.api.data.v1.mixture_pb2 import Mixture
from bessemer.api.train.v1.mixture_job_pb2 import MixtureJob, MixtureTarget
from bessemer.api.train.v1.training_job_pb2 import TrainingRecipe
from bessemer.kernel.errors import InvalidRequest
from hypothesis import given
from hypothesis import strategies as st
from train_svc.domain.mixture_law import (
    Bounds,
    Law,
    best_shares,
    draw_shares,
    fit,
    left_out,
    rank_correlation,
    resampled,
)
from train_svc.domain.mixture_search import next_size, resolve_search, share_bounds
from train_svc.domain.student import mean_interval, student_quantile

NATURAL = np.array([0.6, 0.3, 0.1])
TRUTH = Law(
    np.array([2.0, 1.5, 2.5]),
    np.array([0.6, 0.8, 0.2]),
    np.array([[-1.6, 0.1, 0.2], [0.2, -2.0, -0.1], [-0.2, -0.3, -1.2]]),
    np.zeros(3),
)
EQUAL = np.full(3, 1 / 3)


def free(versions: int) -> Bounds:
    return Bounds(np.zeros(versions), np.ones(versions))


def swarm(noise: float, seed: int = 0, number: int = 20):
    shares = draw_shares(NATURAL, free(3), number=number, seed=seed)
    return shares, TRUTH.losses(shares) + np.random.default_rng(seed).normal(0, noise, (number, 3))


def test_law_foretells_left_out_runs_and_the_shares_it_was_not_shown():
    shares, losses = swarm(0.01)
    assert rank_correlation(losses.mean(axis=1), left_out(shares, losses).mean(axis=1)) > 0.9
    asked = np.random.default_rng(1).dirichlet(np.ones(3), 50)
    assert np.abs(fit(shares, losses).losses(asked) - TRUTH.losses(asked)).max() < 0.1


def test_best_shares_are_those_of_a_search_over_all_of_them():
    grid = np.array([(a, b, 1 - a - b) for a, b in itertools.product(np.linspace(0, 1, 101), repeat=2) if a + b <= 1])
    bounds = Bounds(np.array([0.1, 0.0, 0.05]), np.array([1.0, 0.35, 1.0]))
    inside = grid[(grid >= bounds.low - 1e-9).all(axis=1) & (grid <= bounds.high + 1e-9).all(axis=1)]
    for kl_weight in (0.0, 0.2):
        distance = np.sum(inside * np.log(np.maximum(inside, 1e-12) / NATURAL), axis=1)
        costs = TRUTH.losses(inside) @ EQUAL + kl_weight * distance
        found = best_shares(TRUTH, EQUAL, NATURAL, bounds, kl_weight=kl_weight)
        cost = TRUTH.losses(found) @ EQUAL + kl_weight * np.sum(found * np.log(found / NATURAL))
        assert cost <= costs.min() + 1e-6
        assert np.abs(found - inside[costs.argmin()]).max() < 0.02


def test_resampled_laws_spread_more_when_runs_are_noisy():
    spreads = []
    for noise in (0.005, 0.05):
        shares, losses = swarm(noise)
        laws = resampled(shares, losses, fit(shares, losses), number=20, seed=0)
        best = [best_shares(law, EQUAL, NATURAL, free(3), kl_weight=0.05) for law in laws]
        spreads.append(np.std(best, axis=0).max())
    assert spreads[0] < spreads[1]


@given(
    positive=st.lists(st.floats(1e-6, 1e3), min_size=2, max_size=8),
    spare=st.floats(0.01, 1),
    floor=st.floats(0, 0.9),
)
def test_projected_shares_keep_their_bounds_and_add_up_to_one(positive, spare, floor):
    versions = len(positive)
    high = np.linspace(1, 2, versions)
    high = np.minimum(1, high / high.sum() * (1 + spare))
    bounds = Bounds(np.full(versions, floor / versions), np.maximum(high, floor / versions))
    shares = bounds.project(np.array(positive))
    assert shares.sum() == pytest.approx(1, abs=1e-9)
    assert (shares >= bounds.low - 1e-12).all()
    assert (shares <= bounds.high + 1e-12).all()


def test_swarm_holds_the_natural_shares_and_nearly_pure_ones():
    drawn = draw_shares(NATURAL, free(3), number=20, seed=3)
    assert drawn[0] == pytest.approx(NATURAL)
    assert drawn[1:4].max(axis=0).min() > 0.8
    assert drawn.std(axis=0).min() > 0.15


@pytest.mark.parametrize(("degrees", "value"), [(1, 6.3138), (3, 2.3534), (9, 1.8331), (30, 1.6973)])
def test_student_quantile_is_that_of_the_tables(degrees, value):
    assert student_quantile(0.95, degrees) == pytest.approx(value, abs=1e-4)


def test_interval_of_a_mean_is_that_of_the_tables():
    assert mean_interval([1.0, 2.0, 3.0, 4.0]) == pytest.approx((2.5, 2.5 - 1.5190, 2.5 + 1.5190), abs=1e-3)


def search(*, tokens: int = 0, recipe: TrainingRecipe | None = None, sizes=(100_000, 10_000), **component):
    mixture = Mixture(name="projects/p/mixtures/m", kind=DatasetKind.DATASET_KIND_TEXT, sequence_length=100)
    for number, size in enumerate(sizes):
        mixture.components.add(
            dataset_version=f"v{number}", epochs_max=4, rows=size // 100, tokens=size, weight=0.5, **component
        )
    mixture.phases.add(share=1, weights=[0.5] * len(sizes))
    targets = [MixtureTarget(dataset_version="v0", weight=3), MixtureTarget(dataset_version="v1")]
    job = MixtureJob(tokens=tokens, targets=targets, recipe=recipe)
    return resolve_search(job, mixture, threads=1), mixture


def test_job_says_all_that_it_will_do():
    job, _ = search()
    assert [target.weight for target in job.targets] == [0.75, 0.25]
    assert (job.num_proxies, job.num_pairs, job.tokens) == (18, 4, 110_000)
    assert (job.recipe.pretrain.hidden_size, next_size(job.recipe).pretrain.hidden_size) == (64, 128)


def test_share_of_a_small_version_ends_where_its_rows_were_read_four_times():
    job, mixture = search(tokens=200_000)
    low, high = share_bounds(job, mixture, tokens=job.tokens)
    assert high == pytest.approx([1.0, 0.97 * 4 * 10_000 / 200_000])
    assert low == pytest.approx([0.05, 0.05])


def test_job_that_reads_more_than_the_caps_allow_is_refused():
    with pytest.raises(InvalidRequest, match="caps of projects/p/mixtures/m leave"):
        search(tokens=1_000_000)
    with pytest.raises(InvalidRequest, match="caps of projects/p/mixtures/m leave"):
        search(recipe=TrainingRecipe(steps=1000))
    with pytest.raises(InvalidRequest, match="pretrain or cpt"):
        search(recipe=TrainingRecipe(sft={}))
