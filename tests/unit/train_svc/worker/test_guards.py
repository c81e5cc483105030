from __future__ import annotations

import pytest
from bessemer.kernel.errors import FailedPrecondition, InvalidRequest
from hypothesis import given
from hypothesis import strategies as st
from train_svc.worker.guards import Action, Guard
from train_svc.worker.optim import learning_rate
from train_svc.worker.rows import pack

NAN = float("nan")


def test_guard_three_bad_steps_roll_back_once_then_stop():
    guard = Guard()
    assert [guard.judge(NAN, 1.0) for _ in range(3)] == [Action.SKIP, Action.SKIP, Action.ROLL_BACK]
    guard = Guard.from_facts(guard.facts())
    assert guard.judge(1.0, 1.0) is Action.APPLY
    assert [guard.judge(1.0, float("inf")) for _ in range(2)] == [Action.SKIP] * 2
    with pytest.raises(FailedPrecondition):
        guard.judge(NAN, NAN)


def test_guard_preference_sinking_chosen_answers_stop():
    guard = Guard()
    for _ in range(8):
        guard.watch_preference(-0.9, 5.0)
    guard.shifts.extend([-1.5] * 8)
    with pytest.raises(FailedPrecondition, match="unlearns"):
        guard.watch_preference(-1.5, 5.0)


def test_learning_rate_rises_stays_and_falls():
    rates = [learning_rate(i, steps=20, peak=1.0, warmup_fraction=0.1, decay_fraction=0.3) for i in range(20)]
    assert rates[:3] == pytest.approx([1 / 3, 2 / 3, 1])
    assert rates[2:14] == [1.0] * 12
    assert rates[14:] == pytest.approx([6 / 7, 5 / 7, 4 / 7, 3 / 7, 2 / 7, 1 / 7])


@pytest.mark.parametrize("peak", [0.0, -1.0, 1.5, NAN])
def test_learning_rate_out_of_range_is_refused(peak):
    with pytest.raises(InvalidRequest):
        learning_rate(0, steps=1, peak=peak, warmup_fraction=0, decay_fraction=0)


@given(st.lists(st.integers(1, 40), max_size=60))
def test_pack_places_every_item_once_and_never_overfills(sizes):
    bins = pack(sizes, 32)
    assert sorted(i for bin_ in bins for i in bin_) == list(range(len(sizes)))
    assert all(sum(sizes[i] for i in bin_) <= 32 or len(bin_) == 1 for bin_ in bins)
    assert bins == pack(sizes, 32)


def test_guard_alarms_when_one_expert_has_twice_its_share_for_eight_steps():
    guard = Guard()
    assert [guard.watch_load(2.5) for _ in range(9)] == [False] * 7 + [True, False]
    again = Guard.from_facts(guard.facts())
    assert [again.watch_load(2.5) for _ in range(7)] == [False] * 6 + [True]
    assert not any(Guard().watch_load(1.9) for _ in range(20))
