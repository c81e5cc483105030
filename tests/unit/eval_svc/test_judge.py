"""Corrections of a judge: known values, limits, and coverage with wide bounds."""

from __future__ import annotations

import math
import random

import pytest
from eval_svc.domain.judge import Anchors, corrected_difference, corrected_share
from eval_svc.domain.statistics import ratio

ANCHORS = Anchors(num_right=100, num_right_agreed=90, num_wrong=100, num_wrong_agreed=80)


def mean_of(values):
    return ratio(values, [1.0] * len(values), range(len(values)), confidence=0.95)


def test_corrected_share_is_rogan_and_gladens():
    judged = mean_of([1.0] * 700 + [0.0] * 300)
    found = corrected_share(judged, ANCHORS, confidence=0.95)
    assert found.value == pytest.approx(0.5 / 0.7)
    variance = (0.7 * 0.3 / 999 + (2 / 7) ** 2 * 0.8 * 0.2 / 100 + (5 / 7) ** 2 * 0.9 * 0.1 / 100) / 0.49
    assert found.standard_error == pytest.approx(math.sqrt(variance), rel=1e-6)


def test_corrected_by_a_perfect_judge_changes_nothing():
    perfect = Anchors(num_right=100, num_right_agreed=100, num_wrong=100, num_wrong_agreed=100)
    judged = mean_of([1.0] * 60 + [0.0] * 40)
    for correct in (corrected_share, corrected_difference):
        found = correct(judged, perfect, confidence=0.95)
        assert (found.value, found.low, found.high) == pytest.approx((judged.value, judged.low, judged.high))


def test_anchors_that_say_too_little_are_unfit():
    assert ANCHORS.why_unfit() == ""
    assert "got 99" in Anchors(num_right=99, num_right_agreed=99, num_wrong=500, num_wrong_agreed=500).why_unfit()
    assert "0.40" in Anchors(num_right=100, num_right_agreed=70, num_wrong=100, num_wrong_agreed=70).why_unfit()


def test_corrected_share_covers_where_the_raw_one_does_not():
    generator = random.Random(1)
    hits, raw_hits, runs = 0, 0, 500
    for _ in range(runs):
        truths = [generator.random() < 0.75 for _ in range(500)]
        raw = mean_of([float(generator.random() < (0.9 if truth else 0.2)) for truth in truths])
        agreed = [sum(generator.random() < rate for _ in range(100)) for rate in (0.9, 0.8)]
        anchors = Anchors(num_right=100, num_right_agreed=agreed[0], num_wrong=100, num_wrong_agreed=agreed[1])
        found = corrected_share(raw, anchors, confidence=0.95)
        hits += found.low <= 0.75 <= found.high
        raw_hits += raw.low <= 0.75 <= raw.high
    assert 0.91 <= hits / runs <= 0.99
    assert raw_hits / runs < 0.85
