"""What to do with data: a ranked list of methods, each with the number that would change the judgement.

    advise(Evidence(unique_tokens=40_000_000, base_parameters=135_000_000, novelty_nats=0.5))[0].method

More data or more novelty never makes a method's light worse.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Advice", "Evidence", "Light", "Method", "advise", "effective_tokens", "in_words"]


class Method(StrEnum):
    """What can be done with data, in the order of the rule."""

    PRETRAIN = "PRETRAIN"
    CPT = "CPT"
    SFT = "SFT"
    PREFERENCE = "PREFERENCE"
    RL = "RL"
    COLLECT = "COLLECT"


class Light(StrEnum):
    """How good something is; unspecified is what nobody measured."""

    GREEN = "GREEN"
    AMBER = "AMBER"
    RED = "RED"
    UNSPECIFIED = "UNSPECIFIED"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known about the data and the base model; None is not measured, 0 base parameters is no base model."""

    unique_tokens: int
    base_parameters: int = 0
    target_parameters: int = 0
    novelty_nats: float | None = None
    pairs: int = 0
    derivable_pairs: int = 0
    preference_pairs: int = 0
    pass_at_8: float | None = None


@dataclass(frozen=True)
class Advice:
    """One method; `flip_value` is what is missing to a better light, or what a green one has to spare."""

    method: Method
    light: Light
    why: str
    flip: str
    flip_value: float | None
    flip_unit: str
    nearness: float = 0.0
    """Share of what is needed that is there."""


# Muennighoff et al. 2023, "Scaling Data-Constrained Language Models", section 5: R* of repeated data; up to four passes
# are nearly as good as fresh text.
REPETITION_CONSTANT = 15.387756
PASSES = 4
# Hoffmann et al. 2022, "Training Compute-Optimal Large Language Models", table 3: about 20 tokens per parameter; below
# 12 a smaller model learns more from the same text.
TOKENS_PER_PARAMETER, TOKENS_PER_PARAMETER_MIN = 20, 12
# The smallest general models in use have 100 to 150 million parameters; smaller ones do one narrow task.
MODEL_PARAMETERS_MIN = 100_000_000
# Judgement, to be overridden by a probe: less text is memorised rather than learned from; text that the base model
# predicts almost as well as any other teaches it little.
CPT_TOKENS_MIN = 10_000_000
CPT_NOVELTY_MIN_NATS = 0.3
# Zhou et al. 2023, "LIMA": a thousand good pairs teach a style; beyond a hundred thousand choosing beats adding.
SFT_PAIRS_MIN, SFT_PAIRS_MAX = 1_000, 100_000
PREFERENCE_PAIRS_MIN = 1_000
# A task that is never solved gives no reward to learn from.
RL_PASS_AT_8_MIN = 0.05

_RANK = {Light.GREEN: 0, Light.AMBER: 1, Light.RED: 2, Light.UNSPECIFIED: 2}
_ORDER = {method: number for number, method in enumerate(Method)}


def effective_tokens(unique_tokens: int, epochs: int) -> int:
    """Return how many unique tokens would teach as much as so many passes over these."""
    gained = REPETITION_CONSTANT * (1 - math.exp(-(epochs - 1) / REPETITION_CONSTANT))
    return round(unique_tokens * (1 + gained))


def advise(evidence: Evidence) -> list[Advice]:
    """Return all methods, the best first and the runner-up second.

    Green comes before amber, both in the order of `Method`; then whatever is nearest to what it needs.
    """
    found = [judge(evidence) for judge in _JUDGES]
    ranked = sorted([*found, _collect(found)], key=lambda a: (_RANK[a.light], -a.nearness, _ORDER[a.method]))
    return [advice for advice in ranked if advice.light is not Light.UNSPECIFIED] + [
        advice for advice in ranked if advice.light is Light.UNSPECIFIED
    ]


def in_words(number: float) -> str:
    """Return a count as people say it: 950, 12.3 k, 18.2 M, 1.5 G."""
    for limit, unit in ((999.5e6, " G"), (999.5e3, " M"), (9999.5, " k")):
        if abs(number) >= limit:
            scale = {" G": 1e9, " M": 1e6, " k": 1e3}[unit]
            return f"{number / scale:.3g}{unit}"
    return f"{number:,.0f}"


def _pretrain(evidence: Evidence) -> Advice:
    parameters = evidence.target_parameters or evidence.base_parameters or MODEL_PARAMETERS_MIN
    seen = PASSES * evidence.unique_tokens
    need, least = TOKENS_PER_PARAMETER * parameters, TOKENS_PER_PARAMETER_MIN * parameters
    affordable = seen // TOKENS_PER_PARAMETER
    why = (
        f"{PASSES} passes over {in_words(evidence.unique_tokens)} unique tokens feed a model of "
        f"{in_words(affordable)} parameters; one of {in_words(parameters)} wants {in_words(need / PASSES)}"
    )
    if seen < least:
        missing = math.ceil(least / PASSES) - evidence.unique_tokens
        flip = f"{in_words(missing)} more unique tokens would make it possible"
        return Advice(Method.PRETRAIN, Light.RED, why, flip, missing, "unique tokens", seen / least)
    if seen < need:
        missing = math.ceil(need / PASSES) - evidence.unique_tokens
        flip = f"{in_words(missing)} more unique tokens would feed the model in full"
        return Advice(Method.PRETRAIN, Light.AMBER, why, flip, missing, "unique tokens")
    spare = evidence.unique_tokens - need // PASSES
    if evidence.base_parameters:
        flip = "it would come first if the base model did not know the script or the kind of data"
        return Advice(Method.PRETRAIN, Light.AMBER, f"{why}; but a base model is at hand", flip, spare, "unique tokens")
    flip = f"with {in_words(spare)} unique tokens fewer it would be underfed"
    return Advice(Method.PRETRAIN, Light.GREEN, why, flip, spare, "unique tokens")


def _cpt(evidence: Evidence) -> Advice:
    have, novelty = evidence.unique_tokens, evidence.novelty_nats
    missing = CPT_TOKENS_MIN - have
    enough = f"{in_words(have)} unique tokens, where {in_words(CPT_TOKENS_MIN)} are needed"
    if missing > 0:
        flip = f"{in_words(missing)} more unique tokens would make continued pre-training worthwhile"
        return Advice(Method.CPT, Light.RED, enough, flip, missing, "unique tokens", have / CPT_TOKENS_MIN)
    if not evidence.base_parameters:
        return Advice(Method.CPT, Light.RED, "there is no base model to continue", "a base model", None, "", 0.9)
    if novelty is None:
        flip = f"a novelty above {CPT_NOVELTY_MIN_NATS} nats, which is not measured, would decide for it"
        return Advice(Method.CPT, Light.AMBER, enough, flip, None, "nats")
    gap = CPT_NOVELTY_MIN_NATS - novelty
    why = f"{enough}, and {novelty:.2f} nats harder for the base model than general text"
    if gap >= 0:
        why = f"the base model predicts it almost as well as general text: {novelty:.2f} nats apart"
        flip = f"text that is {max(gap, 0.01):.2f} nats more novel would teach it something"
        return Advice(Method.CPT, Light.RED, why, flip, gap, "nats", max(novelty, 0) / CPT_NOVELTY_MIN_NATS)
    flip = f"with {in_words(-missing)} unique tokens fewer, or {-gap:.2f} nats less novelty, it would not be worthwhile"
    return Advice(Method.CPT, Light.GREEN, why, flip, -missing, "unique tokens")


def _sft(evidence: Evidence) -> Advice:
    have, all_pairs = evidence.pairs, evidence.pairs + evidence.derivable_pairs
    why = f"{in_words(have)} questions with answers stand in the text, {in_words(evidence.derivable_pairs)} more "
    why += "can be derived from what the documents state about themselves"
    if all_pairs < SFT_PAIRS_MIN:
        missing = SFT_PAIRS_MIN - all_pairs
        flip = f"{in_words(missing)} more pairs would make fine-tuning possible"
        return Advice(Method.SFT, Light.RED, why, flip, missing, "pairs", all_pairs / SFT_PAIRS_MIN)
    if have < SFT_PAIRS_MIN:
        flip = f"{in_words(SFT_PAIRS_MIN - have)} pairs written by people; derived ones teach little but looking up"
        return Advice(Method.SFT, Light.AMBER, why, flip, SFT_PAIRS_MIN - have, "pairs")
    flip = f"with {in_words(have - SFT_PAIRS_MIN)} pairs fewer there would be too few"
    if have > SFT_PAIRS_MAX:
        why += f"; choose the best {in_words(SFT_PAIRS_MAX)}"
    return Advice(Method.SFT, Light.GREEN, why, flip, have - SFT_PAIRS_MIN, "pairs")


def _preference(evidence: Evidence) -> Advice:
    have = evidence.preference_pairs
    why = f"{in_words(have)} pairs of a better and a worse answer"
    if have < PREFERENCE_PAIRS_MIN:
        missing = PREFERENCE_PAIRS_MIN - have
        flip = f"{in_words(missing)} more pairs, such as from feedback on a deployed model"
        return Advice(Method.PREFERENCE, Light.RED, why, flip, missing, "pairs", have / PREFERENCE_PAIRS_MIN)
    spare = have - PREFERENCE_PAIRS_MIN
    return Advice(Method.PREFERENCE, Light.GREEN, why, f"{in_words(spare)} pairs to spare", spare, "pairs")


def _rl(evidence: Evidence) -> Advice:
    solved = evidence.pass_at_8
    if solved is None:
        why = "it is not known whether the base model ever solves a task of yours that a program can check"
        flip = f"a suite of such tasks of which it solves more than {RL_PASS_AT_8_MIN:.0%} within eight tries"
        return Advice(Method.RL, Light.UNSPECIFIED, why, flip, None, "share")
    why = f"the base model solves {solved:.1%} of the tasks within eight tries"
    gap = RL_PASS_AT_8_MIN - solved
    if gap >= 0:
        flip = f"more than {RL_PASS_AT_8_MIN:.0%} solved would give enough rewards to learn from"
        return Advice(Method.RL, Light.RED, why, flip, gap, "share", solved / RL_PASS_AT_8_MIN)
    return Advice(Method.RL, Light.GREEN, why, f"{-gap:.1%} to spare", -gap, "share")


def _collect(others: list[Advice]) -> Advice:
    nearest = min(others, key=lambda a: (_RANK[a.light], -a.nearness, _ORDER[a.method]))
    if nearest.light is Light.GREEN:
        why = "there is enough for another goal"
        return Advice(Method.COLLECT, Light.RED, why, "no more data is needed for the first goal", None, "")
    light = Light.AMBER if nearest.light is Light.AMBER else Light.GREEN
    why = f"the nearest goal is {nearest.method}, and it is not reached"
    return Advice(Method.COLLECT, light, why, nearest.flip, nearest.flip_value, nearest.flip_unit)


_JUDGES: tuple[Callable[[Evidence], Advice], ...] = (_pretrain, _cpt, _sft, _preference, _rl)
