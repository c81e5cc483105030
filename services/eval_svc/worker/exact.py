"""Whether a model's answer is the target, but for case, spaces and punctuation."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from eval_svc.domain.cases import Case
from eval_svc.domain.results import CaseResult
from eval_svc.worker.answers import grade_answers
from eval_svc.worker.subject import Subject

__all__ = ["grade", "normalise"]

# Inside numbers these carry meaning: 3.5 is not 35, -5 is not 5; thousands separators do not.
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
_PUNCTUATION = re.compile(r"(?!(?<=\d)[.,:/](?=\d))(?!(?<!\w)[-\u2212](?=\d))[^\w\s]|_")


def grade(subject: Subject, cases: Sequence[Case], max_tokens: int) -> list[CaseResult]:
    """Generate and compare."""
    return grade_answers(
        subject, cases, max_tokens, lambda output, target: float(normalise(output) == normalise(target))
    )


def normalise(text: str) -> str:
    """Return a text without what must not decide: case, width of characters, punctuation, runs of spaces."""
    folded = _THOUSANDS.sub("", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(_PUNCTUATION.sub(" ", folded).split())
