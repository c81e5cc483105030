"""Plans: against the figures of real suites, against clusters, and against simulated power."""

from __future__ import annotations

import random

import pytest
from eval_svc.domain.cases import Grader
from eval_svc.domain.compare import adjusted_difference, pair_up
from eval_svc.domain.plan import pilot_of, plan
from eval_svc.domain.results import CaseResult


def pairs_of(generator, count, size, difference=0.05, changed=0.2825):
    """Two models that differ by cluster: a cluster changes as a whole in one case of three."""
    baseline, candidate = [], []
    for case in range(count):
        if case % size == 0:
            shift = generator.choice([0.0, 0.0, 3.0])
        win = (changed + difference) / 2
        draw = generator.random()
        scores = (0, 1) if draw < win * shift else (1, 0) if draw < changed * shift else (1, 1)
        for results, score in zip((baseline, candidate), scores, strict=True):
            results.append(CaseResult(id=str(case), cluster=str(case // size), score=float(score)))
    return pair_up(baseline, candidate)


def test_plan_by_defaults_says_what_it_has_and_needs():
    made = plan(range(120), 0.05, Grader.EXACT, None)
    assert (made.num_cases, made.num_clusters, made.num_cases_needed) == (120, 120, 880)
    assert made.explanation.startswith("has 120, needs 880: too few")
    assert plan(range(900), 0.05, Grader.EXACT, None).explanation.startswith("has 900, needs 880: enough")


def test_plan_of_dependent_cases_needs_more():
    made = plan([case // 8 for case in range(320)], 0.05, Grader.EXACT, None)
    assert made.design == pytest.approx(3.1)
    assert made.num_cases_needed == pytest.approx(880 * 3.1, rel=0.01)


def test_plan_of_a_large_difference_still_asks_for_ten_groups():
    assert plan([case // 50 for case in range(100)], 1.0, Grader.EXACT, None).num_cases_needed == 500


def test_pilot_of_independent_cases_has_no_design_effect():
    found = pilot_of(pairs_of(random.Random(0), 800, 1), Grader.EXACT)
    assert found.design == pytest.approx(1.0)
    assert found.variance == pytest.approx(0.28, rel=0.15)


def test_plan_by_a_pilot_reaches_its_power():
    generator = random.Random(1)
    pilot = pilot_of(pairs_of(generator, 4000, 8), Grader.EXACT)
    assert pilot.design > 1.05
    needed = plan([case // 8 for case in range(400)], 0.05, Grader.EXACT, pilot).num_cases_needed
    seen = sum(adjusted_difference(pairs_of(generator, needed, 8), confidence=0.95).low > 0 for _ in range(120))
    assert 0.66 <= seen / 120 <= 0.93


def test_plan_of_perplexity_by_a_pilot_is_a_relative_change():
    generator = random.Random(2)
    results = [
        [
            CaseResult(id=str(i), cluster=str(i), score=1.0, nll=300 + generator.gauss(shift, 10), tokens=100)
            for i in range(200)
        ]
        for shift in (0, 0)
    ]
    made = plan(range(200), 0.05, Grader.PERPLEXITY, pilot_of(pair_up(*results), Grader.PERPLEXITY))
    assert made.variance == pytest.approx(0.02, rel=0.3)
    assert 40 < made.num_cases_needed < 110
