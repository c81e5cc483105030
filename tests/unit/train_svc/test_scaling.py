from __future__ import annotations

import math
import random

import pytest
from bessemer.kernel.errors import InvalidRequest
from hypothesis import given
from hypothesis import strategies as st
from train_svc.domain.scaling import (
    PUBLISHED,
    LossLaw,
    Run,
    effective_tokens,
    epochs_worth,
    foretell,
    published_loss,
)

TRUTH = LossLaw(2.0, 30.0, 0.3, 300.0, 0.4)


def ladder(noise: float, seed: int = 0, sizes=(3e4, 1e5, 3e5), amounts=(2e4, 6e4, 2e5, 6e5)):
    draw = random.Random(seed)
    return [Run(n, d, TRUTH.loss(n, d) + draw.gauss(0, noise)) for n in sizes for d in amounts]


def test_repetition_is_worth_what_was_published():
    worth = [effective_tokens(1.0, epochs) for epochs in (2, 4, 8, 16)]
    assert worth == pytest.approx([1.97, 3.73, 6.62, 10.59], abs=0.01)


@given(unique=st.floats(1, 1e13), epochs=st.floats(0.01, 60))
def test_epochs_worth_undoes_effective_tokens(unique, epochs):
    worth = effective_tokens(unique, epochs)
    assert 0 < worth <= unique * max(1, epochs) * (1 + 1e-9)
    assert epochs_worth(unique, worth) == pytest.approx(epochs, rel=1e-6)


def test_epochs_worth_more_than_repetition_can_give_is_infinite():
    assert epochs_worth(1e6, 17e6) == math.inf


def test_published_optimum_for_known_budgets_is_reproduced():
    # 1e20 operations: 853 million weights on 19.5 billion tokens, by the fit of Besiroglu et al.
    best = min((PUBLISHED[0].loss(n, 1e20 / (6 * n)), n) for n in (1e6 * 1.02**k for k in range(500)))
    assert best[1] == pytest.approx(853e6, rel=0.05)


def test_published_interval_spans_all_fits():
    found = published_loss(1e9, 2e10)
    assert found.low <= found.value <= found.high
    assert found.high - found.low > 0.01


def test_loss_of_the_next_size_is_recovered_without_noise():
    found = foretell(ladder(0.0), 1e6, 2e6)
    assert found.value == pytest.approx(TRUTH.loss(1e6, 2e6), abs=0.05)
    assert found.low < TRUTH.loss(1e6, 2e6) < found.high


def test_interval_holds_the_truth_about_nine_times_in_ten_and_widens_with_distance():
    hits, near, far = 0, [], []
    for seed in range(40):
        runs = ladder(0.02, seed)
        found = foretell(runs, 1e6, 6e5)
        hits += found.low <= TRUTH.loss(1e6, 6e5) <= found.high
        near.append(found.high - found.low)
        beyond = foretell(runs, 1e9, 1e9)
        far.append(beyond.high - beyond.low)
    assert hits >= 34
    assert sum(far) > sum(near)


def test_gain_from_size_that_grows_with_tokens_is_seen_and_foretold():
    def truth(n: float, d: float) -> float:
        return TRUTH.loss(n, d) - 0.08 * math.log(n / 1e5) * math.log(d / 1e5)

    hits, widths = 0, []
    for seed in range(10):
        draw = random.Random(seed)
        known = [Run(n, d, truth(n, d) + draw.gauss(0, 0.02)) for n in (3e4, 1e5, 3e5) for d in (2e4, 6e4, 2e5, 6e5)]
        found = [foretell(known, 6e5, d) for d in (2e4, 6e5)]
        hits += sum(f.low <= truth(6e5, d) <= f.high for f, d in zip(found, (2e4, 6e5), strict=True))
        widths += [f.high - f.low for f in found]
    assert hits >= 18
    assert max(widths) < 0.5


@pytest.mark.parametrize(
    "runs",
    [
        ladder(0.0)[:5],
        [Run(1e5, d, 3.0) for d in (1e4, 2e4, 3e4, 4e4, 5e4, 6e4)],
        [Run(n, 1e5, 3.0) for n in (1e4, 2e4, 3e4, 4e4, 5e4, 6e4)],
        [Run(n, d, n + d) for n in (1.0, 2.0, 3.0) for d in (1.0, 2.0)],
    ],
)
def test_ladder_that_decides_nothing_is_refused(runs):
    with pytest.raises(InvalidRequest, match="ladder"):
        foretell(runs, 1e6, 1e6)
