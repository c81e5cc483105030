"""Audits of answers: what is gamed is seen, and what is not is left alone."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from eval_svc.domain.audit import Answers, Limits, audit
from eval_svc.domain.results import CaseResult

WORDS = (
    "the",
    "furnace",
    "melts",
    "iron",
    "and",
    "steel",
    "while",
    "slag",
    "runs",
    "off",
    "into",
    "pit",
    "near",
    "gate",
)


def said(number: int, seed: int) -> CaseResult:
    draw = random.Random(f"{seed}/{number}")
    text = " ".join(draw.choice(WORDS) for _ in range(draw.randrange(4, 20)))
    return CaseResult(id=f"c{number}", cluster=f"c{number}", score=float(draw.random() < 0.6), output=text)


DEFAULTS = Limits()
BASELINE = [said(number, 1) for number in range(200)]
CANDIDATE = [said(number, 2) for number in range(200)]


def broken(candidate, baseline=BASELINE, limits=DEFAULTS, **proxy) -> set[str]:
    suites = [Answers("gold", baseline, candidate)]
    if proxy:
        suites.append(Answers("proxy", proxy["before"], proxy["after"], is_proxy=True))
    return {finding.check for finding in audit(suites, limits) if finding.breached}


def some(change, share: float) -> list[CaseResult]:
    return [replace(one, output=change(one.output)) if n < share * 200 else one for n, one in enumerate(CANDIDATE)]


def test_a_model_that_only_says_it_otherwise_is_not_held_up():
    held_up = sum(bool(broken([said(number, seed) for number in range(200)])) for seed in range(3, 43))
    assert held_up <= 4


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (lambda _: " . ", "null_answers"),
        (lambda text: f"I'm sorry, but {text}", "refusals"),
        (lambda text: f'<tool_call>{{"name": "{text}"', "tool_errors"),
        (lambda text: f"{text} Great question my friend", "new_phrases"),
    ],
)
def test_what_is_gamed_is_seen_in_a_quarter_of_the_answers(change, check):
    assert check in broken(some(change, 0.25))


def test_a_readable_tool_call_is_no_error():
    call = '<tool_call>{"name": "melt", "arguments": {"iron": 3}}</tool_call>'
    assert "tool_errors" not in broken(some(lambda _: call, 0.25))


def test_longer_and_shorter_answers_are_seen():
    assert "length" in broken(some(lambda text: f"{text} {text} {text}", 1.0))
    assert "length" in broken(some(lambda text: text[: len(text) // 3], 1.0))


def test_a_proxy_that_rises_alone_is_seen():
    better = [replace(one, score=1.0) for one in CANDIDATE]
    assert "proxy_gap" in broken(CANDIDATE, before=BASELINE, after=better)
    assert "proxy_gap" not in broken(better, before=BASELINE, after=better)


def test_a_few_strange_answers_are_an_accident():
    assert not broken(some(lambda _: "", 0.025))


def test_limits_decide_how_much_is_too_much():
    assert "new_phrases" not in broken(
        some(lambda t: f"{t} Great question my friend", 0.25), limits=Limits(new_phrase_max=0.5)
    )
