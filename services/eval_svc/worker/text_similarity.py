"""How much of a reference text a model's answer shares."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Sequence

from bessemer.api.eval.v1.evaluation_pb2 import TEXT_MEASURE_TOKEN_F1, TextMeasure

from eval_svc.domain.results import Mark

__all__ = ["chrf", "mark_text", "token_f1"]

_ORDER = 6
_BETA = 2.0
_ARTICLES = {"a", "an", "the"}
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def mark_text(output: str, target: str, measure: TextMeasure) -> Mark:
    """Score an answer from 0 to 1."""
    return Mark(token_f1(output, target) if measure == TEXT_MEASURE_TOKEN_F1 else chrf(output, target))


def chrf(output: str, target: str) -> float:
    """Return the F score of character n-grams of 1 to 6, recall weighing twice; white space does not count.

    Orders for which one of the texts is too short are left out. Source: Popović 2015, chrF.
    """
    left, right = "".join(output.split()), "".join(target.split())
    precision = recall = 0.0
    orders = min(_ORDER, len(left), len(right))
    for order in range(1, orders + 1):
        shared, written, wanted = _overlap(
            [left[i : i + order] for i in range(len(left) - order + 1)],
            [right[i : i + order] for i in range(len(right) - order + 1)],
        )
        precision += shared / written / orders
        recall += shared / wanted / orders
    weight = _BETA**2
    below = weight * precision + recall
    return (1 + weight) * precision * recall / below if below else 0.0


def token_f1(output: str, target: str) -> float:
    """Return the F1 of words without case, punctuation and articles. Source: Rajpurkar et al. 2016, SQuAD."""
    left, right = _words(output), _words(target)
    if not left or not right:
        return float(left == right)
    shared, written, wanted = _overlap(left, right)
    return 2 * shared / (written + wanted)


def _words(text: str) -> list[str]:
    return [word for word in text.lower().translate(_WITHOUT_PUNCTUATION).split() if word not in _ARTICLES]


def _overlap(left: Sequence[str], right: Sequence[str]) -> tuple[int, int, int]:
    return sum((Counter(left) & Counter(right)).values()), len(left), len(right)
