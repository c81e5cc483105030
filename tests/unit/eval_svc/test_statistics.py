"""Known values, and simulations of what an interval promises."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from eval_svc.domain.statistics import (
    cases_needed,
    cases_to_see,
    design_effect,
    holm,
    mcnemar_clustered,
    mcnemar_exact,
    proportion,
    ratio,
    smallest_difference,
    student_t_cdf,
    student_t_quantile,
    wilson,
)


@pytest.mark.parametrize(
    ("degrees", "probability", "expected"),
    # Tables of Student's t.
    [
        (1, 0.975, 12.7062),
        (2, 0.975, 4.30265),
        (9, 0.975, 2.26216),
        (30, 0.95, 1.69726),
        (120, 0.995, 2.61742),
        (1e6, 0.975, 1.95997),
    ],
)
def test_student_t_quantile_of_tables_matches(degrees, probability, expected):
    assert student_t_quantile(probability, degrees) == pytest.approx(expected, rel=1e-5)
    assert student_t_quantile(1 - probability, degrees) == pytest.approx(-expected, rel=1e-5)
    assert student_t_cdf(expected, degrees) == pytest.approx(probability, abs=1e-6)


def test_wilson_of_known_sample_matches_published_interval():
    # Newcombe 1998, table I: 81 of 263, and 0 of 20.
    assert wilson(81 / 263, 263, critical=1.959964) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0.0, 20, critical=1.959964) == pytest.approx((0.0, 0.1611), abs=5e-5)


@pytest.mark.parametrize(
    ("better", "worse", "expected"),
    [(0, 0, 1.0), (1, 1, 1.0), (5, 0, 0.0625), (10, 2, 0.03857422), (60, 40, 0.05688793)],
)
def test_mcnemar_exact_of_small_tables_is_the_binomial_tail(better, worse, expected):
    assert mcnemar_exact(better, worse) == pytest.approx(expected, abs=1e-7)
    assert mcnemar_exact(worse, better) == mcnemar_exact(better, worse)


def test_mcnemar_exact_of_large_table_agrees_with_sum_of_binomials():
    exact = 2 * sum(math.comb(2000, k) for k in range(951)) / 2**2000
    assert mcnemar_exact(1050, 950) == pytest.approx(exact, rel=1e-9)


def test_mcnemar_clustered_of_single_cases_is_the_exact_test():
    gains = [1] * 10 + [-1] * 2 + [0] * 30
    assert mcnemar_clustered(gains) == pytest.approx(mcnemar_exact(10, 2))
    assert mcnemar_clustered([]) == mcnemar_clustered([0, 0]) == 1.0


@pytest.mark.parametrize("gains", [[3, -1, 2, 2, 1, -2, 4], [1, 1, 2], [5, -5], [2, 2, 2, 2, 2, -1]])
def test_mcnemar_clustered_counts_the_sign_patterns(gains):
    patterns = list(itertools.product([1, -1], repeat=len(gains)))
    extreme = sum(abs(sum(s * g for s, g in zip(p, gains, strict=True))) >= abs(sum(gains)) for p in patterns)
    assert mcnemar_clustered(gains) == pytest.approx(extreme / len(patterns))


def test_mcnemar_clustered_of_a_large_table_takes_the_normal_form():
    generator = random.Random(3)
    gains = [generator.randint(-4, 5) for _ in range(2000)]
    z = sum(gains) / math.sqrt(sum(g * g for g in gains))
    assert mcnemar_clustered(gains) == pytest.approx(math.erfc(abs(z) / math.sqrt(2)), rel=1e-9)


def test_holm_of_a_worked_example_matches():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_cases_to_see_of_published_differences_matches_and_inverts():
    assert [cases_to_see(d) for d in (0.10, 0.05, 0.03)] == [220, 880, 2442]
    assert smallest_difference(880, design=2.5) == pytest.approx(0.05 * math.sqrt(2.5), rel=1e-3)
    assert cases_to_see(smallest_difference(500, design=2.0), design=2.0) in {500, 501}


def test_design_effect_of_clusters_follows_kish():
    assert design_effect(range(50)) == 1.0
    assert design_effect([case // 8 for case in range(320)]) == pytest.approx(3.1)
    assert design_effect(["a"] * 9 + ["b"], correlation=0.5) == pytest.approx(1 + (82 / 10 - 1) * 0.5)


def test_ratio_with_equal_weights_is_the_t_interval_of_the_mean():
    values = [2.1, 3.4, 1.9, 4.1, 4.9, 2.6, 4.0, 3.8, 2.0, 2.2]
    values += [7.0 - value for value in values]  # symmetric, so that nothing is corrected for skewness
    estimate = ratio(values, [1.0] * 20, range(20), confidence=0.95)
    mean = sum(values) / 20
    error = math.sqrt(sum((v - mean) ** 2 for v in values) / 19 / 20)
    assert estimate.value == pytest.approx(mean)
    assert estimate.standard_error == pytest.approx(error)
    assert estimate.high - estimate.value == pytest.approx(2.093024 * error, rel=1e-6)


def test_interval_and_p_value_of_skewed_clusters_agree_and_only_the_doubtful_side_is_wider():
    values = [0.0] * 20 + [1.0, 1.0, 2.0, 9.0]
    estimate = ratio(values, [1.0] * 24, range(24), confidence=0.95)
    far = student_t_quantile(0.975, estimate.degrees) * estimate.standard_error
    assert estimate.skewness > 0.5
    assert estimate.value - estimate.low == pytest.approx(far)
    assert estimate.high - estimate.value > 1.2 * far
    assert estimate.p_above(estimate.low) == pytest.approx(0.025)
    assert estimate.p_above(estimate.high) == pytest.approx(0.975)


def test_degrees_of_unequal_clusters_are_those_of_the_covariance_matrix():
    generator = random.Random(5)
    sizes = [1, 1, 2, 3, 5, 8, 13, 21]
    clusters = [cluster for cluster, size in enumerate(sizes) for _ in range(size)]
    own = [generator.gauss(0, 1) for _ in sizes]
    values = [own[cluster] + generator.gauss(0, 1) for cluster in clusters]
    estimate = ratio(values, [1.0] * 54, clusters, confidence=0.95)
    mean, number = sum(values) / 54, len(sizes)
    residuals = [[v - mean for v, c in zip(values, clusters, strict=True) if c == k] for k in range(number)]
    pairs = sum(a * b for one in residuals for a, b in itertools.permutations(one, 2))
    correlation = pairs / sum(n * (n - 1) for n in sizes) / (sum(r * r for one in residuals for r in one) / 54)
    assert 0.1 < correlation < 0.9
    spread = [n * (1 + (n - 1) * correlation) for n in sizes]
    # What is left of independent cluster sums when each loses its share of their total, over 1 - share.
    rows = [[(float(i == j) - n / 54) / (1 - n / 54) for j in range(number)] for i, n in enumerate(sizes)]
    matrix = [[sum(a[k] * spread[k] * b[k] for k in range(number)) for b in rows] for a in rows]
    trace = sum(matrix[i][i] for i in range(number))
    assert estimate.degrees == pytest.approx(trace**2 / sum(x * x for row in matrix for x in row))
    assert 1 < estimate.degrees < 5


def test_ratio_of_one_cluster_knows_nothing():
    estimate = ratio([1.0, 2.0], [1.0, 1.0], ["a", "a"], confidence=0.95)
    assert (estimate.low, estimate.high, estimate.p_value) == (-math.inf, math.inf, 1.0)


def test_smallest_difference_of_planned_sizes_matches_plan():
    assert smallest_difference(220, design=1.0) == pytest.approx(0.10, abs=0.001)
    assert smallest_difference(880, design=1.0) == pytest.approx(0.05, abs=0.001)
    assert smallest_difference(880, design=3.1) > smallest_difference(880, design=1.0)


def test_cases_needed_grows_with_the_square_of_the_distance():
    near, far = (cases_needed(100, standard_error=0.02, distance=d) for d in (0.01, 0.02))
    assert near == pytest.approx(4 * far, rel=0.01)
    assert cases_needed(100, standard_error=0.02, distance=0.0) == 10_000_000


def coverage(truth, intervals):
    return sum(low <= truth <= high for low, high in intervals) / len(intervals)


@pytest.mark.parametrize(("count", "share"), [(20, 0.9), (50, 0.5), (100, 0.98)])
def test_proportion_of_independent_cases_covers_as_promised(count, share):
    generator = random.Random(1)
    intervals = []
    for _ in range(1500):
        estimate = proportion([float(generator.random() < share) for _ in range(count)], range(count), confidence=0.95)
        intervals.append((estimate.low, estimate.high))
    assert 0.92 <= coverage(share, intervals) <= 0.985


def clustered(generator, *, clusters, size, share=0.6, concentration=7 / 3):
    """Right-or-wrong scores with an intra-cluster correlation of 1 / (1 + concentration) = 0.3."""
    scores, groups = [], []
    for cluster in range(clusters):
        own = generator.betavariate(share * concentration, (1 - share) * concentration)
        scores += [float(generator.random() < own) for _ in range(size)]
        groups += [cluster] * size
    return scores, groups


def test_clustered_cases_are_covered_by_cluster_intervals_and_not_by_naive_ones():
    generator = random.Random(2)
    naive, wilsons, means = [], [], []
    for _ in range(800):
        scores, groups = clustered(generator, clusters=40, size=8)
        wilsons.append(proportion(scores, groups, confidence=0.95))
        means.append(ratio(scores, [1.0] * len(scores), groups, confidence=0.95))
        naive.append(ratio(scores, [1.0] * len(scores), range(len(scores)), confidence=0.95))
    covered = [coverage(0.6, [(e.low, e.high) for e in estimates]) for estimates in (naive, wilsons, means)]
    assert covered[0] < 0.82
    assert covered[1] > 0.925
    assert covered[2] > 0.925


def test_ratio_of_unequal_weights_covers_as_promised():
    generator = random.Random(3)
    intervals = []
    for _ in range(800):
        weights = [generator.randint(20, 600) for _ in range(40)]
        values = [weight * generator.gauss(-0.05, 0.12) for weight in weights]
        estimate = ratio(values, weights, range(40), confidence=0.95)
        intervals.append((estimate.low, estimate.high))
    assert 0.925 <= coverage(-0.05, intervals) <= 0.975
