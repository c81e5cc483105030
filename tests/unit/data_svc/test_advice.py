from __future__ import annotations

from dataclasses import replace

import pytest
from data_svc.domain.advice import (
    CPT_NOVELTY_MIN_NATS,
    CPT_TOKENS_MIN,
    PREFERENCE_PAIRS_MIN,
    RL_PASS_AT_8_MIN,
    SFT_PAIRS_MIN,
    Advice,
    Evidence,
    Light,
    Method,
    advise,
    effective_tokens,
    in_words,
)
from hypothesis import given
from hypothesis import strategies as st

BASE = 135_000_000
NOTHING = Evidence(unique_tokens=0)
RANK = {Light.RED: 0, Light.UNSPECIFIED: 0, Light.AMBER: 1, Light.GREEN: 2}


def of(method: Method, evidence: Evidence) -> Advice:
    return next(advice for advice in advise(evidence) if advice.method is method)


def test_repetition_is_worth_what_was_published():
    worth = [effective_tokens(1_000_000, epochs) / 1e6 for epochs in (1, 2, 4, 8, 16)]
    assert worth == pytest.approx([1, 1.97, 3.73, 6.62, 10.6], abs=0.03)


def test_pretrain_turns_at_twelve_and_twenty_tokens_per_parameter_in_four_passes():
    without_base = Evidence(unique_tokens=3 * BASE - 1, target_parameters=BASE)
    red = of(Method.PRETRAIN, without_base)
    assert (red.light, red.flip_value) == (Light.RED, 1)
    assert of(Method.PRETRAIN, replace(without_base, unique_tokens=3 * BASE)).light is Light.AMBER
    amber = of(Method.PRETRAIN, replace(without_base, unique_tokens=5 * BASE - 1))
    assert (amber.light, amber.flip_value) == (Light.AMBER, 1)
    assert of(Method.PRETRAIN, replace(without_base, unique_tokens=5 * BASE)).light is Light.GREEN


def test_pretrain_with_a_base_model_at_hand_is_never_green():
    assert of(Method.PRETRAIN, Evidence(unique_tokens=10**12, base_parameters=BASE)).light is Light.AMBER


def test_cpt_needs_tokens_novelty_and_a_base_model():
    enough = Evidence(unique_tokens=CPT_TOKENS_MIN, base_parameters=BASE, novelty_nats=0.31)
    assert of(Method.CPT, enough).light is Light.GREEN
    short = of(Method.CPT, replace(enough, unique_tokens=CPT_TOKENS_MIN - 1_820_000))
    assert (short.light, short.flip_value) == (Light.RED, 1_820_000)
    assert short.flip == "1.82 M more unique tokens would make continued pre-training worthwhile"
    assert of(Method.CPT, replace(enough, novelty_nats=CPT_NOVELTY_MIN_NATS)).light is Light.RED
    assert of(Method.CPT, replace(enough, novelty_nats=None)).light is Light.AMBER
    assert of(Method.CPT, replace(enough, base_parameters=0)).light is Light.RED


def test_sft_takes_written_pairs_and_only_considers_derived_ones():
    assert of(Method.SFT, replace(NOTHING, pairs=SFT_PAIRS_MIN)).light is Light.GREEN
    assert of(Method.SFT, replace(NOTHING, pairs=SFT_PAIRS_MIN - 1)).light is Light.RED
    derived = of(Method.SFT, replace(NOTHING, pairs=1, derivable_pairs=SFT_PAIRS_MIN - 1))
    assert (derived.light, derived.flip_value) == (Light.AMBER, SFT_PAIRS_MIN - 1)


def test_preference_and_rl_turn_at_their_thresholds():
    assert of(Method.PREFERENCE, replace(NOTHING, preference_pairs=PREFERENCE_PAIRS_MIN - 1)).light is Light.RED
    assert of(Method.PREFERENCE, replace(NOTHING, preference_pairs=PREFERENCE_PAIRS_MIN)).light is Light.GREEN
    assert of(Method.RL, NOTHING).light is Light.UNSPECIFIED
    assert of(Method.RL, replace(NOTHING, pass_at_8=RL_PASS_AT_8_MIN)).light is Light.RED
    assert of(Method.RL, replace(NOTHING, pass_at_8=0.051)).light is Light.GREEN


def test_advice_of_too_little_data_is_to_collect_what_is_nearest():
    first, second = advise(Evidence(unique_tokens=8_000_000, base_parameters=BASE))[:2]
    assert (first.method, second.method) == (Method.COLLECT, Method.CPT)
    assert (first.flip_value, first.flip_unit) == (2_000_000, "unique tokens")


def test_advice_of_enough_novel_text_is_cpt_before_sft():
    ranked = advise(Evidence(unique_tokens=40_000_000, base_parameters=BASE, novelty_nats=0.5, pairs=5000))
    assert [advice.method for advice in ranked[:2]] == [Method.CPT, Method.SFT]
    assert of(Method.COLLECT, Evidence(unique_tokens=0, pairs=5000)).light is Light.RED


evidences = st.builds(
    Evidence,
    unique_tokens=st.integers(0, 10**12),
    base_parameters=st.sampled_from([0, BASE, 8 * 10**9]),
    target_parameters=st.sampled_from([0, 10**6, BASE]),
    novelty_nats=st.none() | st.floats(-1, 3),
    pairs=st.integers(0, 200_000),
    derivable_pairs=st.integers(0, 200_000),
    preference_pairs=st.integers(0, 10_000),
    pass_at_8=st.none() | st.floats(0, 1),
)


@given(evidences, st.integers(0, 10**12), st.integers(0, 10**6), st.floats(0, 3), st.floats(0, 1))
def test_advice_never_gets_worse_with_more(evidence, tokens, pairs, novelty, solved):
    more = replace(
        evidence,
        unique_tokens=evidence.unique_tokens + tokens,
        pairs=evidence.pairs + pairs,
        derivable_pairs=evidence.derivable_pairs + pairs,
        preference_pairs=evidence.preference_pairs + pairs,
        novelty_nats=None if evidence.novelty_nats is None else evidence.novelty_nats + novelty,
        pass_at_8=None if evidence.pass_at_8 is None else min(1.0, evidence.pass_at_8 + solved),
    )
    for method in set(Method) - {Method.COLLECT}:
        assert RANK[of(method, more).light] >= RANK[of(method, evidence).light]


@given(evidences)
def test_advice_ranks_every_method_and_always_says_what_flips_it(evidence):
    ranked = advise(evidence)
    assert {advice.method for advice in ranked} == set(Method)
    assert all(advice.why and advice.flip for advice in ranked)
    lights = [RANK[advice.light] for advice in ranked]
    assert lights == sorted(lights, reverse=True)
    assert ranked[0].light in {Light.GREEN, Light.AMBER}


@given(evidences)
def test_advice_missing_tokens_are_just_enough(evidence):
    advice = of(Method.CPT, evidence)
    if advice.light is Light.RED and advice.flip_unit == "unique tokens":
        filled = replace(evidence, unique_tokens=evidence.unique_tokens + int(advice.flip_value or 0))
        assert of(Method.CPT, filled).flip_unit != "unique tokens" or of(Method.CPT, filled).light is not Light.RED


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0"), (950, "950"), (9_999, "9,999"), (12_345, "12.3 k"), (999_600, "1 M"), (18_200_000, "18.2 M")],
)
def test_in_words_keeps_three_digits(number, words):
    assert in_words(number) == words
