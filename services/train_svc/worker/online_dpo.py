"""Pairs out of the model's own answers: to each prompt the best graded one and the worst.

Source: Guo et al. 2024 (Direct Language Model Alignment from Online AI Feedback), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from train_svc.worker.rollouts import Answer, Groups
from train_svc.worker.rows import Document, Pair, Row

__all__ = ["best_and_worst"]


def best_and_worst(groups: Groups) -> list[Row]:
    """Return a pair for each group with rewards that differ; answers that reached the limit are neither.

    Of equal rewards the answer that was drawn first counts.
    """
    rows = []
    for group in groups:
        whole = [answer for answer in group if not answer.is_cut]
        if len({answer.reward for answer in whole}) > 1:
            rows.append(_pair(max(whole, key=_reward), min(whole, key=_reward)))
    return rows


def _reward(answer: Answer) -> float:
    return answer.reward


def _pair(chosen: Answer, rejected: Answer) -> Row:
    both: Sequence[Answer] = (chosen, rejected)
    pair = Pair(0, 1, *(float(answer.reference.sum(dtype=np.float64)) for answer in both))
    return Row(tuple(_document(answer) for answer in both), pairs=(pair,))


def _document(answer: Answer) -> Document:
    weights = np.zeros(len(answer.prompt) + len(answer.ids), np.float32)
    weights[len(answer.prompt) :] = 1.0
    return Document(np.concatenate([answer.prompt, answer.ids]), weights)
