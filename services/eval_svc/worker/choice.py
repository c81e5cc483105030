"""Which of several answers a model finds likeliest."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bessemer.api.eval.v1.evaluation_pb2 import CHOICE_LENGTH_CHARACTERS, CHOICE_LENGTH_NONE, ChoiceLength
from bessemer.kernel.errors import InvalidRequest
from bessemer.modeling.score import score_branches

from eval_svc.domain.cases import Case
from eval_svc.domain.results import CaseResult
from eval_svc.worker.subject import Subject, preview, unscored

__all__ = ["choose", "grade"]


def grade(subject: Subject, cases: Sequence[Case], length: ChoiceLength) -> list[CaseResult]:
    """Score each choice after the prompt by log-likelihood over its length; the likeliest is the answer.

    Source: `acc` and `acc_norm` of Gao et al., A framework for few-shot language model evaluation.
    """
    results: dict[str, CaseResult] = {}
    asked: list[tuple[Case, tuple[list[int], list[list[int]]], list[int]]] = []
    for case in cases:
        try:
            sequences, starts = encode_choices(subject, case)
        except InvalidRequest as error:
            results[case.id] = unscored(case, error.message)
            continue
        if max(map(len, sequences)) > subject.context_length:
            results[case.id] = unscored(case, f"the question is longer than the context of {subject.context_length}")
        elif min(starts) < 1:
            results[case.id] = unscored(case, "the prompt has no tokens")
        else:
            shared = _shared(sequences, starts)
            group = (sequences[0][:shared], [ids[shared:] for ids in sequences])
            asked.append((case, group, [start - shared for start in starts]))
    scored = score_branches(subject.model, [group for _, group, _ in asked])
    for (case, (prefix, branches), starts), values in zip(asked, scored, strict=True):
        sums = [float(value[start:].double().sum()) for value, start in zip(values, starts, strict=True)]
        results[case.id] = choose(case, sums, length, tokens=len(prefix) + sum(map(len, branches)))
    return [results[case.id] for case in cases]


def encode_choices(subject: Subject, case: Case) -> tuple[list[list[int]], list[int]]:
    """Return the ids of the prompt with each choice, and where the choice begins in each.

    A plain prompt and its choice are encoded as one text, because a tokenizer may join them across the seam; white
    space at the seam counts as the choice's, and a space is put there where neither has any.
    """
    if not isinstance(case.prompt, str):
        prompt = subject.encode_prompt(case)
        return [[*prompt, *subject.tokenizer.encode(choice)] for choice in case.choices], [len(prompt)] * len(
            case.choices
        )
    text = case.prompt.rstrip()
    gap = case.prompt[len(text) :]
    prompt = subject.encode(text)
    joined = [gap + choice if gap or choice[:1].isspace() else f" {choice}" for choice in case.choices]
    sequences = [subject.encode(text + choice) for choice in joined]
    return sequences, [_common(prompt, ids) for ids in sequences]


def _common(prompt: list[int], ids: list[int]) -> int:
    pairs = enumerate(zip(prompt, ids, strict=False))
    return next((index for index, (left, right) in pairs if left != right), min(len(prompt), len(ids)))


def _shared(sequences: Sequence[list[int]], starts: Sequence[int]) -> int:
    """Return how many first tokens are the same everywhere and belong to no choice; at least one."""
    most = min(*starts, *(len(ids) - 1 for ids in sequences))
    first = sequences[0]
    return max(1, next((at for at in range(most) if any(ids[at] != first[at] for ids in sequences)), most))


def choose(case: Case, likelihoods: Sequence[float], length: ChoiceLength, *, tokens: int) -> CaseResult:
    """Return the result of a case from the log-likelihood of each of its choices, in nats."""
    if not all(map(math.isfinite, likelihoods)):
        return unscored(case, "the model's numbers are not finite")
    weighed = [value / _length(choice, length) for value, choice in zip(likelihoods, case.choices, strict=True)]
    answer = weighed.index(max(weighed))
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


def _length(choice: str, length: ChoiceLength) -> int:
    if length == CHOICE_LENGTH_NONE:
        return 1
    return len(choice) if length == CHOICE_LENGTH_CHARACTERS else len(choice.encode())
