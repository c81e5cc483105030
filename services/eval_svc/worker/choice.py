"""Which of several answers a model finds likeliest."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bessemer.kernel.errors import InvalidRequest
from bessemer.modeling.score import score

from eval_svc.domain.cases import Case
from eval_svc.domain.results import CaseResult
from eval_svc.worker.subject import Subject, preview, unscored

__all__ = ["grade"]


def grade(subject: Subject, cases: Sequence[Case], _max_tokens: int) -> list[CaseResult]:
    """Score each choice after the prompt by log-likelihood per byte; the likeliest is the answer.

    Source: `acc_norm` of Gao et al., A framework for few-shot language model evaluation.
    """
    results: dict[str, CaseResult] = {}
    asked: list[tuple[Case, list[list[int]], list[int]]] = []
    for case in cases:
        try:
            sequences, starts = encode_choices(subject, case)
        except InvalidRequest as error:
            results[case.id] = unscored(case, error.message)
            continue
        if max(map(len, sequences)) > subject.context_length:
            results[case.id] = unscored(case, f"the question is longer than the context of {subject.context_length}")
        else:
            asked.append((case, sequences, starts))
    values = score(
        subject.model,
        [ids for _, sequences, _ in asked for ids in sequences],
        starts=[start for _, _, starts in asked for start in starts],
    )
    logprobs = iter(float(value.double().sum()) for value in values)
    for case, sequences, _ in asked:
        likelihoods = [next(logprobs) for _ in sequences]
        results[case.id] = _result(case, likelihoods, tokens=sum(map(len, sequences)))
    return [results[case.id] for case in cases]


def encode_choices(subject: Subject, case: Case) -> tuple[list[list[int]], list[int]]:
    """Return the ids of the prompt with each choice, and where the choice begins in each.

    A plain prompt and its choice are encoded as one text, because a tokenizer may join them across the seam.
    """
    if not isinstance(case.prompt, str):
        prompt = subject.encode_prompt(case)
        return [[*prompt, *subject.tokenizer.encode(choice)] for choice in case.choices], [len(prompt)] * len(
            case.choices
        )
    text = case.prompt.rstrip()
    prompt = subject.encode(text)
    sequences = [subject.encode(f"{text} {choice}") for choice in case.choices]
    return sequences, [_common(prompt, ids) for ids in sequences]


def _common(prompt: list[int], ids: list[int]) -> int:
    pairs = enumerate(zip(prompt, ids, strict=False))
    return next((index for index, (left, right) in pairs if left != right), min(len(prompt), len(ids)))


def _result(case: Case, likelihoods: Sequence[float], *, tokens: int) -> CaseResult:
    if not all(map(math.isfinite, likelihoods)):
        return unscored(case, "the model's numbers are not finite")
    per_byte = [value / len(choice.encode()) for value, choice in zip(likelihoods, case.choices, strict=True)]
    answer = per_byte.index(max(per_byte))
    return CaseResult(
        id=case.id,
        cluster=case.cluster,
        score=float(answer == case.target_index),
        output=case.choices[answer],
        target=case.target,
        prompt_preview=preview(case),
        nll=-likelihoods[case.target_index],
        tokens=tokens,
        bytes=len(case.target.encode()),
    )
