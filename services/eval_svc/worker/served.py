"""Cases asked of an endpoint instead of the model's own files."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from bessemer.api.eval.v1.evaluation_pb2 import ChoiceLength
from bessemer.kernel.errors import BessemerError, InvalidRequest

from eval_svc.domain.cases import Case
from eval_svc.domain.results import CaseResult, Mark, safe_exp
from eval_svc.worker.choice import choose
from eval_svc.worker.endpoint import Endpoint
from eval_svc.worker.subject import marked, preview, unscored

__all__ = ["grade_served_answers", "grade_served_choices", "grade_served_texts"]


def grade_served_answers(
    endpoint: Endpoint,
    cases: Sequence[Case],
    max_tokens: int,
    mark: Callable[[str, Case], Mark],
    *,
    ends: Sequence[str] = (),
) -> list[CaseResult]:
    """Let the endpoint answer and mark what it says; a prompt that it refuses is unscored."""

    def ask(case: Case) -> tuple[str, int] | CaseResult:
        try:
            said = endpoint.generate(case.prompt, max_tokens=max_tokens, stop=ends)
        except InvalidRequest as error:
            return _refused(case, error)
        return said.text, said.prompt_tokens + len(said.token_ids)

    answers = endpoint.each(ask, cases)
    return [
        said if isinstance(said, CaseResult) else marked(case, said[0], mark(said[0], case), tokens=said[1])
        for case, said in zip(cases, answers, strict=True)
    ]


def grade_served_choices(endpoint: Endpoint, cases: Sequence[Case], length: ChoiceLength) -> list[CaseResult]:
    """Ask the endpoint how likely it finds each choice; the likeliest is the answer.

    The endpoint makes tokens of a choice by itself, where a run of our own makes them of prompt and choice together.
    """

    def ask(case: Case) -> CaseResult:
        prompt, choices = case.prompt, list(case.choices)
        if isinstance(prompt, str):
            text = prompt.rstrip()
            gap = prompt[len(text) :]
            choices = [gap + each if gap or each[:1].isspace() else f" {each}" for each in choices]
            prompt = text
        try:
            scored = endpoint.score(prompt, choices)
        except InvalidRequest as error:
            return _refused(case, error)
        return choose(case, [each.logprob for each in scored], length, tokens=sum(len(each.tokens) for each in scored))

    return endpoint.each(ask, cases)


def grade_served_texts(endpoint: Endpoint, cases: Sequence[Case]) -> list[CaseResult]:
    """Ask the endpoint how surprised it is by texts; one longer than its context is unscored."""

    def ask(case: Case) -> CaseResult:
        try:
            [scored] = endpoint.score(None, [case.text])
        except InvalidRequest as error:
            return _refused(case, error)
        known = [each for each in scored.tokens if each.HasField("logprob")]
        if not known:
            return unscored(case, "the text has fewer than two tokens")
        nll = -math.fsum(each.logprob for each in known)
        if not math.isfinite(nll):
            return unscored(case, "the endpoint's numbers are not finite")
        return CaseResult(
            id=case.id,
            cluster=case.cluster,
            score=min(safe_exp(nll / len(known)), 1e300),
            prompt_preview=preview(case),
            nll=nll,
            tokens=len(known),
            bytes=max(1, sum(len(each.token) for each in known)),
        )

    return endpoint.each(ask, cases)


def _refused(case: Case, error: BessemerError) -> CaseResult:
    return unscored(case, f"the endpoint refused it at {error.fields.get('field') or 'its door'}")
