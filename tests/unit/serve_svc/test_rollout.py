"""What rollouts decide, without a server: bets, blocks, plans, splits."""

import json
import math
import random
from itertools import pairwise

import pytest
from serve_svc.domain.betting import BLOCK_MAX, Arm, Bet, Blocks, Side, blocks_until
from serve_svc.domain.evidence import dump, load
from serve_svc.domain.plan import Metric, Plan, Signal, Stage, default_metrics, default_stages, problem_of
from serve_svc.domain.rollout import Move, decide, fresh_evidence
from serve_svc.domain.split import order_of, place_of, problem_of_traffic

FEEDBACK = Metric(id="feedback", signal=Signal.FEEDBACK, margin=0.03)
PLAN = Plan(stages=[Stage(percent=50)], metrics=[FEEDBACK])


def run(candidate, seed, pairs, share=0.5, baseline=0.8):
    """Return the move and the pairs of a simulated rollout."""
    generator, evidence = random.Random(seed), fresh_evidence(PLAN)
    while evidence["feedback"].pairs < pairs:
        arm = Arm.CANDIDATE if generator.random() < share else Arm.BASELINE
        good = generator.random() < (candidate if arm is Arm.CANDIDATE else baseline)
        if evidence["feedback"].observe(arm, good=good):
            decision = decide(PLAN, 0, evidence, 0.0)
            if decision.move is not Move.STAY:
                return decision.move, evidence["feedback"].pairs
    return Move.STAY, pairs


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("baseline", [0.03, 0.5, 0.9])
def test_bet_at_the_margin_has_mean_one_over_all_outcomes(side, baseline):
    """The promise behind every threshold, exactly: no outcome of a block makes the capital grow on average."""
    margin = 0.03
    bet = Bet(side, margin)
    for difference in (0.0, -1.0, 1.0, -0.5, 0.25):
        bet.observe(difference)
    candidate, mean = baseline - margin, 0.0
    for number in range(1, BLOCK_MAX + 1):
        mean = 0.0
        for theirs in range(number + 1):
            chance = math.comb(number, theirs) * baseline**theirs * (1 - baseline) ** (number - theirs)
            for ours in (0, 1):
                later = Bet(side, margin, list(bet.capitals))
                weight = chance * (candidate if ours else 1 - candidate)
                mean += weight * later.observe(ours - theirs / number)
        assert mean == pytest.approx(bet.evidence, rel=1e-12)


def test_bet_is_never_ruined_and_never_overflows():
    worst, best = Bet(Side.SAFE, 0.03), Bet(Side.WORSE, 0.03)
    for _ in range(5000):
        worst.observe(-1.0)
        best.observe(-1.0)
    assert worst.evidence >= 0
    assert 1e100 < best.evidence < math.inf


def test_worse_candidate_is_rolled_back_and_equal_ones_are_not():
    """The bar in small; the bench simulates it in full."""
    worse = [run(0.70, seed, 1500) for seed in range(60)]
    assert sum(move is Move.ROLL_BACK for move, _ in worse) >= 55
    equal = [run(0.80, seed, 1500) for seed in range(60)]
    assert sum(move is Move.ROLL_BACK for move, _ in equal) <= 3
    lonely = [run(0.70, seed, 1500, share=1 / 9) for seed in range(40)]
    assert sum(move is Move.ROLL_BACK for move, _ in lonely) >= 38


def test_blocks_take_every_outcome_at_most_once_and_never_look_at_values():
    blocks, used = Blocks(), 0
    generator = random.Random(1)
    for _ in range(2000):
        arm, waiting = generator.choice([*Arm, Arm.BASELINE, Arm.BASELINE]), len(blocks.waiting)
        other = bool(blocks.waiting) and arm is not blocks.arm
        found = blocks.add(arm, good=generator.random() < 0.5)
        assert (found is not None) == other
        if found is None:
            assert len(blocks.waiting) == min(waiting + 1, BLOCK_MAX)
        else:
            used += 1
            assert -1 <= found <= 1
            assert not blocks.waiting
    assert used > 100


def test_evidence_survives_the_store_bit_for_bit():
    generator, plan = random.Random(3), Plan(stages=default_stages(), metrics=default_metrics())
    kept, stored = fresh_evidence(plan)["feedback"], fresh_evidence(plan)["feedback"]
    for _ in range(500):
        arm, good = generator.choice(list(Arm)), generator.random() < 0.8
        kept.observe(arm, good=good)
        stored.observe(arm, good=good)
        stored = load(json.loads(json.dumps(dump(stored))))
    assert stored == kept


def test_stage_is_passed_when_its_harm_is_ruled_out_for_all_metrics_and_its_time_is_over():
    plan = Plan(stages=default_stages(), metrics=default_metrics())
    evidence = fresh_evidence(plan)

    def feed(metric, pairs):
        for _ in range(pairs):
            evidence[metric].observe(Arm.BASELINE, good=True)
            evidence[metric].observe(Arm.CANDIDATE, good=True)

    feed("success", 40)
    assert decide(plan, 0, evidence, 0.0).move is Move.ADVANCE, "nobody can rate what nobody sees"
    assert decide(plan, 1, evidence, 0.0).move is Move.STAY
    feed("feedback", 40)
    decision = decide(plan, 1, evidence, 0.0)
    assert decision.move is Move.ADVANCE
    assert "a loss of 20 points ruled out" in decision.reason
    patient = Plan(stages=[Stage(percent=1, harm=0.2, min_s=60), Stage(percent=50)], metrics=plan.metrics)
    evidence = fresh_evidence(patient)
    feed("success", 40)
    feed("feedback", 40)
    assert decide(patient, 0, evidence, 59.0).move is Move.STAY
    assert decide(patient, 0, evidence, 61.0).move is Move.ADVANCE
    assert decide(patient, 1, evidence, 1e6).move is Move.STAY
    feed("feedback", 400)
    feed("success", 2000)
    assert decide(patient, 1, evidence, 0.0).move is Move.PROMOTE


def test_guard_turns_back_but_is_not_waited_for():
    guard = Metric(id="ttft", signal=Signal.TTFT, margin=0.05, budget_s=1.0, guard_only=True)
    plan = Plan(stages=[Stage(percent=50)], metrics=[FEEDBACK, guard])
    evidence = fresh_evidence(plan)
    assert plan.worse_threshold == 40
    for _ in range(200):
        evidence["ttft"].observe(Arm.BASELINE, good=True)
        evidence["ttft"].observe(Arm.CANDIDATE, good=False)
        if (decision := decide(plan, 0, evidence, 0.0)).move is not Move.STAY:
            break
    assert decision.move is Move.ROLL_BACK
    assert decision.reason.startswith("ttft: 0.0 %")


def test_estimate_of_what_is_left_is_of_the_right_size():
    left = blocks_until([1000, 0.0, 320.0], threshold=20, margin=0.03, side=Side.SAFE, now=1.0)
    assert 1000 < left < 4000
    assert blocks_until([1000, -40.0, 320.0], threshold=20, margin=0.03, side=Side.SAFE, now=1.0) is None
    assert blocks_until([5, 0.0, 2.0], threshold=20, margin=0.03, side=Side.SAFE, now=1.0) is None
    assert blocks_until([1000, 0.0, 320.0], threshold=20, margin=0.03, side=Side.SAFE, now=21.0) == 0


@pytest.mark.parametrize(
    ("stages", "metrics", "says"),
    [
        ([Stage(percent=10), Stage(percent=10)], [FEEDBACK], "rise"),
        ([Stage(percent=60)], [FEEDBACK], "at most 50"),
        ([Stage(percent=100, shadow=True)], [FEEDBACK], "must show"),
        ([Stage(percent=1), Stage(percent=10, shadow=True), Stage(percent=50)], [FEEDBACK], "only the first"),
        ([Stage(percent=10, harm=0.1)], [FEEDBACK], "the last stage"),
        ([Stage(percent=10)], [FEEDBACK, FEEDBACK], "differ"),
        ([Stage(percent=10)], [Metric(id="t", signal=Signal.TTFT, margin=0.1)], "budget_s"),
        ([Stage(percent=10)], [Metric(id="f", signal=Signal.FEEDBACK, margin=0.1, guard_only=True)], "guard_only"),
    ],
)
def test_plan_that_cannot_be_carried_out_says_why(stages, metrics, says):
    problem = problem_of(Plan(stages=stages, metrics=metrics))
    assert problem is not None
    assert says in problem[1]
    assert problem_of(Plan(stages=default_stages(), metrics=default_metrics())) is None


def test_split_gives_each_its_share_and_users_theirs():
    traffic = [("new", 10.0), ("old", 90.0), ("standby", 0.0)]
    users = [f"user-{number}" for number in range(20_000)]
    chosen = [order_of(traffic, place_of("e", user)) for user in users]
    assert sum(order[0] == "new" for order in chosen) / len(users) == pytest.approx(0.1, abs=0.01)
    assert {len(order) for order in chosen} == {2}
    assert chosen == [order_of(traffic, place_of("e", user)) for user in users]


def test_share_that_grows_keeps_the_users_it_had():
    users = [place_of("rollout", f"user-{number}") for number in range(5000)]
    before = set()
    for percent, larger in pairwise([1.0, 10.0, 50.0, 100.0]):
        mine = {place for place in users if order_of([("new", percent), ("old", 100 - percent)], place)[0] == "new"}
        assert before <= mine
        assert mine <= {p for p in users if order_of([("new", larger), ("old", 100 - larger)], p)[0] == "new"}
        before = mine


def test_split_must_sum_to_a_hundred_and_name_nobody_twice():
    assert problem_of_traffic([("a", 50.0), ("b", 50.0), ("c", 0.0)]) is None
    assert "sum to 90" in problem_of_traffic([("a", 50.0), ("b", 40.0)])
    assert "twice" in problem_of_traffic([("a", 50.0), ("a", 50.0)])
    assert order_of([], 3.0) == []
