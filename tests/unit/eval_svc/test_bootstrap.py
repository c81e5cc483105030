"""BCa over clusters: against its definition, and coverage with wide bounds."""

from __future__ import annotations

import random

import pytest
from eval_svc.domain.bootstrap import relative_change


def scores(generator, clusters, size, kept=0.8):
    before, after, names = [], [], []
    for cluster in range(clusters):
        own = generator.betavariate(1.4, 0.9)
        for _ in range(size):
            before.append(float(generator.random() < own))
            after.append(before[-1] if generator.random() < 0.5 else float(generator.random() < kept * own))
            names.append(cluster)
    return before, after, names


def test_relative_change_is_the_same_every_time():
    given = scores(random.Random(0), 60, 3)
    assert relative_change(*given, seed=1) == relative_change(*given, seed=1)
    assert relative_change(*given, seed=1).value == pytest.approx(sum(given[1]) / sum(given[0]) - 1)


def test_relative_change_p_value_is_the_level_whose_bound_is_the_limit():
    found = relative_change(*scores(random.Random(0), 60, 3))
    for confidence in (0.8, 0.9, 0.95):
        low, high = found.bounds(confidence)
        assert found.p_above(low) == pytest.approx((1 - confidence) / 2, abs=2e-3)
        assert found.p_above(high) == pytest.approx((1 + confidence) / 2, abs=2e-3)


def test_relative_change_of_unchanged_scores_is_zero():
    before, _, clusters = scores(random.Random(0), 60, 3)
    found = relative_change(before, before, clusters)
    assert (found.value, found.bounds(0.95)) == (0.0, (0.0, 0.0))


def test_relative_change_of_a_baseline_near_zero_is_none():
    assert relative_change([1.0] + [0.0] * 59, [1.0] * 60, range(60)) is None


def test_relative_change_of_many_clusters_groups_them():
    before, after, _ = scores(random.Random(1), 2500, 1)
    found = relative_change(before, after, range(2500))
    low, high = found.bounds(0.95)
    assert low < found.value < high
    assert (
        0.5 < found.standard_error / relative_change(before, after, [i % 900 for i in range(2500)]).standard_error < 2
    )


def test_relative_change_covers_as_promised():
    generator = random.Random(4)
    hits, runs = 0, 60
    for seed in range(runs):
        low, high = relative_change(*scores(generator, 60, 3), seed=seed).bounds(0.9)
        hits += low <= -0.1 <= high
    assert 0.78 <= hits / runs <= 0.99
