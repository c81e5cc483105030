"""How surprised a model is by a text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bessemer.modeling.score import score

from eval_svc.domain.cases import Case
from eval_svc.domain.results import CaseResult, safe_exp
from eval_svc.worker.subject import Subject, preview, unscored

__all__ = ["grade"]

# Longer windows cost memory and change little: few tokens depend on text so far back.
WINDOW_TOKENS_MAX = 2_048


def grade(subject: Subject, cases: Sequence[Case]) -> list[CaseResult]:
    """Score texts: every token but the first once, each with at least half a window before it, or all there is.

    Source: sliding windows as in the Hugging Face guide "Perplexity of fixed-length models".
    """
    window = min(subject.context_length, WINDOW_TOKENS_MAX)
    encoded = [subject.encode(case.text) for case in cases]
    pieces = [(index, begin, start) for index, ids in enumerate(encoded) for begin, start in windows(len(ids), window)]
    values = score(
        subject.model,
        [encoded[index][begin : begin + window] for index, begin, _ in pieces],
        starts=[start for _, _, start in pieces],
    )
    nlls, counts = [0.0] * len(cases), [0] * len(cases)
    for (index, _, _), logprobs in zip(pieces, values, strict=True):
        nlls[index] -= float(logprobs.double().sum())
        counts[index] += len(logprobs)
    return [
        _result(subject, case, nll=nll, tokens=count, first=ids[0] if ids else 0)
        for case, nll, count, ids in zip(cases, nlls, counts, encoded, strict=True)
    ]


def windows(length: int, window: int) -> list[tuple[int, int]]:
    """Return `(begin, start)` of half-overlapping windows; scores count from `start` on, relative to `begin`."""
    if length < 2:
        return []
    step = window // 2
    overlap = window - step
    later = range(step, length - overlap, step) if length > window else range(0)
    return [(0, 1), *((begin, overlap) for begin in later)]


def _result(subject: Subject, case: Case, *, nll: float, tokens: int, first: int) -> CaseResult:
    if tokens == 0:
        return unscored(case, "the text has fewer than two tokens")
    if not math.isfinite(nll):
        return unscored(case, "the model's numbers are not finite")
    skipped = 0 if subject.opening else len(subject.tokenizer.decode([first]).encode())
    return CaseResult(
        id=case.id,
        cluster=case.cluster,
        score=min(safe_exp(nll / tokens), 1e300),
        prompt_preview=preview(case),
        nll=nll,
        tokens=tokens,
        bytes=max(1, len(case.text.encode()) - skipped),
    )
