"""Verdicts, and how often a gate is wrong at its limit."""

from __future__ import annotations

import random

import pytest
from eval_svc.domain.cases import Grader
from eval_svc.domain.compare import compare, flips, pair_up
from eval_svc.domain.effect import Effect, Gap, Relation, Rule, measure
from eval_svc.domain.gate import Outcome, Verdict, decide, decide_rules
from eval_svc.domain.judge import Anchors
from eval_svc.domain.results import CaseResult


def answers(scores, clusters=None):
    clusters = clusters or range(len(scores))
    return [
        CaseResult(id=f"c{i:04d}", cluster=str(cluster), score=float(score))
        for i, (score, cluster) in enumerate(zip(scores, clusters, strict=True))
    ]


def texts(nlls, tokens=100):
    return [
        CaseResult(id=f"c{i:04d}", cluster=str(i), score=1.0, nll=nll, tokens=tokens, bytes=4 * tokens)
        for i, nll in enumerate(nlls)
    ]


def rule(limit, *, blocking=True, **fields):
    return Rule(suite="projects/p/evaluationSuites/s", limit=limit, blocking=blocking, **fields)


def both(baseline, candidate, clusters=None):
    return answers(baseline, clusters), answers(candidate, clusters)


def correctness(baseline, candidate, clusters=None):
    return compare(pair_up(answers(baseline, clusters), answers(candidate, clusters)), Grader.EXACT)


def found(one, baseline, candidate, grader=Grader.EXACT, *, level=0.025):
    return measure(one, baseline, candidate, grader, confidence=1 - 2 * level)


def decided(one, baseline, candidate, grader=Grader.EXACT, *, level=0.025):
    (outcome,) = decide_rules(
        [one], [found(one, baseline, candidate, grader, level=level)], level=level, corrected=True
    )
    return outcome


def test_compare_of_right_or_wrong_counts_wins_and_losses():
    paired = correctness([1, 1, 0, 0, 0, 0] * 10, [1, 0, 1, 1, 1, 0] * 10)
    assert (paired.num_better, paired.num_worse, paired.num_pairs, paired.num_clusters) == (30, 10, 60, 60)
    assert paired.difference == pytest.approx(20 / 60)
    assert paired.p_value == pytest.approx(0.00222, abs=1e-5)
    assert paired.low > 0.1


def test_compare_of_unchanged_answers_still_leaves_doubt():
    paired = correctness([1, 0] * 10, [1, 0] * 10)
    assert paired.difference == 0
    assert paired.low < -0.05
    assert paired.p_value == 1


def test_compare_of_perplexity_is_the_relative_change():
    generator = random.Random(0)
    before = [300 + generator.gauss(0, 30) for _ in range(50)]
    after = [nll - 25 + generator.gauss(0, 3) for nll in before]
    paired = compare(pair_up(texts(before), texts(after)), Grader.PERPLEXITY)
    assert paired.difference == pytest.approx(paired.candidate / paired.baseline - 1)
    assert paired.low < paired.difference < paired.high < -0.2
    assert not paired.higher_is_better
    assert paired.num_better == 50


def test_compare_leaves_out_cases_that_one_model_has_no_score_for():
    baseline, candidate = answers([1, 1, 1]), answers([0, 1, 1])
    candidate[0] = CaseResult(id="c0000", cluster="0", score=None, unscored="too long")
    assert compare(pair_up(baseline, candidate), Grader.EXACT).num_pairs == 2


def test_flips_show_losses_first_and_no_more_than_asked():
    pairs = pair_up(answers([1] * 8 + [0] * 8), answers([0] * 8 + [1] * 8))
    chosen = flips(pairs, Grader.EXACT, num_max=10)
    assert [pair.candidate.score for pair in chosen] == [0] * 5 + [1] * 5
    few_losses = flips(pair_up(answers([1, *[0] * 20]), answers([0, *[1] * 20])), Grader.EXACT, num_max=10)
    assert [pair.candidate.score for pair in few_losses] == [0] + [1] * 9


def test_decide_rules_with_interval_above_limit_passes():
    outcome = decided(rule(0.1), *both([0] * 60 + [1] * 40, [1] * 50 + [0] * 10 + [1] * 40))
    assert outcome.verdict is Verdict.PASS
    assert "50.0% better" in outcome.explanation


def test_decide_rules_with_interval_below_limit_fails():
    outcome = decided(rule(-0.03), *both([1] * 100, [0] * 30 + [1] * 70))
    assert outcome.verdict is Verdict.FAIL
    assert outcome.num_cases_needed == 0


def test_decide_rules_with_limit_inside_interval_is_inconclusive_and_says_how_many_cases():
    outcome = decided(rule(-0.03), *both([1, 0] * 100, [1, 0] * 95 + [0, 1] * 5))
    assert outcome.verdict is Verdict.INCONCLUSIVE
    assert 200 < outcome.num_cases_needed < 2000


def test_decide_rules_for_perplexity_counts_less_as_better():
    generator = random.Random(0)
    before = [300 + generator.gauss(0, 30) for _ in range(50)]
    after = [nll - 25 + generator.gauss(0, 3) for nll in before]
    assert decided(rule(0.2), texts(before), texts(after), Grader.PERPLEXITY).verdict is Verdict.PASS
    assert decided(rule(0.25), texts(before), texts(after), Grader.PERPLEXITY).verdict is Verdict.FAIL
    assert decided(rule(-0.03), texts(after), texts(before), Grader.PERPLEXITY).verdict is Verdict.FAIL


def test_decide_rules_with_few_clusters_is_inconclusive_whatever_the_interval():
    outcome = decided(rule(0.0), *both([0] * 90, [1] * 90, [i % 9 for i in range(90)]))
    assert outcome.verdict is Verdict.INCONCLUSIVE
    assert outcome.num_cases_needed == 100


def test_decide_rules_without_evidence_is_missing():
    (missing, invalid) = decide_rules(
        [rule(0.0)] * 2, [Gap("No run."), Gap("3 of 100 unscored.", invalid=True)], level=0.05, corrected=True
    )
    assert (missing.verdict, missing.explanation) == (Verdict.MISSING, "No run.")
    assert invalid.verdict is Verdict.INVALID


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([(Verdict.PASS, True), (Verdict.PASS, True)], Verdict.PASS),
        ([(Verdict.PASS, True), (Verdict.FAIL, False)], Verdict.PASS),
        ([(Verdict.PASS, True), (Verdict.MISSING, True)], Verdict.INCONCLUSIVE),
        ([(Verdict.PASS, True), (Verdict.INCONCLUSIVE, True)], Verdict.INCONCLUSIVE),
        ([(Verdict.MISSING, True), (Verdict.FAIL, True)], Verdict.FAIL),
    ],
)
def test_decide_over_rules_lets_through_only_when_all_blocking_ones_pass(verdicts, expected):
    outcomes = [Outcome(rule=rule(0, blocking=b), verdict=v, explanation="") for v, b in verdicts]
    assert decide(outcomes) is expected


def test_gate_at_the_limit_passes_at_most_six_in_a_hundred():
    """A model that is exactly 3 points worse, 500 cases, a fifth of the answers changed."""
    generator = random.Random(4)
    better, worse, passes = 0.085, 0.115, 0
    for _ in range(600):
        draws = [generator.random() for _ in range(500)]
        baseline = [float(d >= better) for d in draws]
        candidate = [0.0 if better <= d < better + worse else 1.0 for d in draws]
        passes += decided(rule(-0.03), *both(baseline, candidate)).verdict is Verdict.PASS
    assert passes / 600 <= 0.06
    assert passes > 0


def test_gate_on_perplexity_at_the_limit_passes_at_most_six_in_a_hundred():
    """Perplexity exactly 3 % worse, 60 texts of unequal length, changes that depend on the text."""
    generator = random.Random(5)
    passes = 0
    for _ in range(1000):
        lengths = [generator.randint(20, 400) for _ in range(60)]
        change = 0.0295588  # log 1.03 per token
        before = [
            CaseResult(id=str(i), cluster=str(i), score=1.0, nll=3.0 * n, tokens=n) for i, n in enumerate(lengths)
        ]
        after = [
            CaseResult(id=str(i), cluster=str(i), score=1.0, nll=(3 + generator.gauss(change, 0.05)) * n, tokens=n)
            for i, n in enumerate(lengths)
        ]
        passes += decided(rule(-0.03), before, after, Grader.PERPLEXITY).verdict is Verdict.PASS
    assert passes / 1000 <= 0.06


def test_decide_rules_of_a_policy_shares_the_level_by_holm():
    """Two rules, each with a p-value between level / 2 and level: alone both pass, together neither does."""
    effect = found(rule(0.0), *both([1] * 50 + [0] * 50, [1] * 43 + [0] * 7 + [1] * 16 + [0] * 34), level=0.05)
    assert 0.025 < effect.p_above < 0.05
    for corrected, expected in ((False, Verdict.PASS), (True, Verdict.INCONCLUSIVE)):
        outcomes = decide_rules([rule(0.0)] * 2, [effect] * 2, level=0.05, corrected=corrected)
        assert {outcome.verdict for outcome in outcomes} == {expected}
    advisory = decide_rules([rule(0.0), rule(0.0, blocking=False)], [effect] * 2, level=0.05, corrected=True)
    assert [outcome.verdict for outcome in advisory] == [Verdict.PASS, Verdict.PASS]
    missing = decide_rules([rule(0.0)] * 2, [effect, Gap("No run.")], level=0.05, corrected=True)
    assert [outcome.verdict for outcome in missing] == [Verdict.INCONCLUSIVE, Verdict.MISSING]


def test_measure_agrees_with_the_interval_it_shows():
    effect = found(rule(-0.03), *both([1, 0] * 100, [1, 0] * 95 + [0, 1] * 5), level=0.05)
    at_bound = found(rule(effect.low), *both([1, 0] * 100, [1, 0] * 95 + [0, 1] * 5), level=0.05)
    # The interval knows of the two invented cases, the test of two groups fewer.
    assert at_bound.p_above == pytest.approx(0.05, abs=1e-3)


def test_measure_of_a_floor_is_wilsons_bound_turned_round():
    results = answers([1] * 81 + [0] * 182)
    one = rule(0.2593, relation=Relation.FLOOR)
    effect = found(one, None, results, level=0.05)
    assert effect.p_above < 0.05
    assert found(rule(effect.low, relation=Relation.FLOOR), None, results, level=0.05).p_above == pytest.approx(0.05)
    assert decided(rule(0.25, relation=Relation.FLOOR), None, results).verdict is Verdict.PASS
    assert decided(rule(0.5, relation=Relation.FLOOR), None, results).verdict is Verdict.FAIL
    assert decided(rule(1.5, relation=Relation.FLOOR), None, results).verdict is Verdict.INVALID


def test_measure_of_a_floor_on_perplexity_asks_for_less():
    generator = random.Random(1)
    results = texts([300 + generator.gauss(0, 10) for _ in range(50)])
    assert decided(rule(22.0, relation=Relation.FLOOR), None, results, Grader.PERPLEXITY).verdict is Verdict.PASS
    assert decided(rule(19.0, relation=Relation.FLOOR), None, results, Grader.PERPLEXITY).verdict is Verdict.FAIL


def test_measure_of_a_slice_takes_its_clusters_only():
    clusters = [f"{'faq' if i < 50 else 'contracts'}/{i}" for i in range(100)]
    sides = answers([0] * 100, clusters), answers([1] * 50 + [0] * 50, clusters)
    assert decided(rule(0.5, slice="faq/*"), *sides).verdict is Verdict.PASS
    assert decided(rule(0.5, slice="contracts/*"), *sides).verdict is Verdict.FAIL
    assert decided(rule(0.5, slice="manuals/*"), *sides).verdict is Verdict.MISSING


def test_measure_with_more_than_two_in_a_hundred_unscored_is_invalid():
    baseline, candidate = both([1] * 100, [1] * 100)
    for at in range(3):
        candidate[at] = CaseResult(id=candidate[at].id, cluster=candidate[at].cluster, score=None, unscored="cut off")
    outcome = decided(rule(-0.5), baseline, candidate)
    assert (outcome.verdict, outcome.num_cases_needed) == (Verdict.INVALID, 0)
    assert "3 of 100" in outcome.explanation
    assert "cut off" in outcome.explanation
    candidate[0] = baseline[0]
    assert decided(rule(-0.5), baseline, candidate).verdict is Verdict.PASS


def test_measure_of_a_relative_loss_bootstraps_clusters():
    sides = both([1] * 80 + [0] * 20, [1] * 76 + [0] * 24)
    effect = found(rule(-0.12, relative=True), *sides, level=0.05)
    assert isinstance(effect, Effect)
    assert effect.value == pytest.approx(76 / 80 - 1)
    assert effect.low < effect.value < effect.high < 0
    assert decided(rule(-0.12, relative=True), *sides, level=0.05).verdict is Verdict.PASS
    assert decided(rule(-0.04, relative=True), *sides, level=0.05).verdict is Verdict.INCONCLUSIVE
    few = both([1] * 40, [1] * 40)
    assert decided(rule(-0.5, relative=True), *few).verdict is Verdict.MISSING
    nothing = both([0] * 60, [1] * 60)
    assert decided(rule(-0.5, relative=True), *nothing).verdict is Verdict.MISSING


def test_measure_by_a_judge_counts_what_people_would_have_said():
    sides = both([1] * 60 + [0] * 140, [1] * 95 + [0] * 105)
    anchors = Anchors(num_right=200, num_right_agreed=180, num_wrong=200, num_wrong_agreed=160)
    raw, corrected = (found(rule(0.0, anchors=a), *sides) for a in (None, anchors))
    assert corrected.value == pytest.approx(raw.value / 0.7)
    assert corrected.high - corrected.low > (raw.high - raw.low) / 0.7
    few = Anchors(num_right=20, num_right_agreed=18, num_wrong=200, num_wrong_agreed=160)
    assert decided(rule(0.0, anchors=few), *sides).verdict is Verdict.INVALID
    poor = Anchors(num_right=200, num_right_agreed=120, num_wrong=200, num_wrong_agreed=120)
    assert decided(rule(0.0, anchors=poor), *sides).verdict is Verdict.INVALID


def test_policy_at_the_margin_on_dependent_cases_passes_near_its_level_and_covers():
    """Forty documents of eight questions, 3 points worse, each document with a rate of changes of its own."""
    generator = random.Random(6)
    passes, naive_passes, covered, runs = 0, 0, 0, 400
    for _ in range(runs):
        baseline, candidate, clusters = [], [], []
        for cluster in range(40):
            changed, worse = generator.betavariate(0.47, 1.87), generator.betavariate(1.34, 0.99)
            for _ in range(8):
                draw, direction = generator.random(), generator.random()
                baseline.append(float(draw >= changed or direction < worse))
                candidate.append(float(draw >= changed or direction >= worse))
                clusters.append(cluster)
        # Means of the two Beta distributions: .2009 of the cases change, .5751 of those for the worse.
        limit = 0.2009 * (1 - 2 * 0.5751)
        results = both(baseline, candidate, clusters)
        effect = found(rule(limit), *results, level=0.05)
        passes += decide_rules([rule(limit)], [effect], level=0.05, corrected=True)[0].verdict is Verdict.PASS
        covered += effect.low <= limit <= effect.high
        naive_passes += decided(rule(limit), *both(baseline, candidate), level=0.05).verdict is Verdict.PASS
    assert passes / runs <= 0.08
    assert 0.86 <= covered / runs <= 0.94
    assert naive_passes / runs > 0.08
