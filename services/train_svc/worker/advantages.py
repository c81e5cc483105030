"""What graded answers are worth beside the other answers to the same prompt, and how much each token counts.

A group is counted only if its rewards differ; an answer cut off at the limit is not counted, neither as a loss nor in
the normaliser, but its reward stays part of what the others are compared with.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from bessemer.api.train.v1.training_job_pb2 import GrpoMethod

from train_svc.worker.rollouts import Answer, Choose, Groups
from train_svc.worker.rows import Document, Rollout, Row

__all__ = ["VARIANTS", "Share", "compared", "shares"]

Floats = npt.NDArray[np.float64]
_STD_FLOOR = 1e-4


class Share(NamedTuple):
    """Of each answer, [groups, answers] each: the advantage, and the weight of one of its tokens; zero: not counted."""

    advantages: Floats
    weights: Floats


def _mean(rewards: Floats) -> Floats:
    """Source: Liu et al. 2025 (Dr. GRPO), section 3.2; dividing by the spread would favour easy and hard prompts."""
    centred: Floats = rewards - rewards.mean(1, keepdims=True)
    return centred


def _standard(rewards: Floats) -> Floats:
    """Source: Shao et al. 2024, section 4.1.2."""
    scaled: Floats = _mean(rewards) / (rewards.std(1, ddof=1, keepdims=True) + _STD_FLOOR)
    return scaled


def _leave_one_out(rewards: Floats) -> Floats:
    """Source: Ahmadian et al. 2024, equation 8: the mean of the other answers is the baseline."""
    scaled: Floats = _mean(rewards) * (rewards.shape[1] / (rewards.shape[1] - 1))
    return scaled


def _per_limit(lengths: Floats, counted: npt.NDArray[np.bool_], limit: int) -> Floats:
    """Weigh all tokens alike, divided by a constant: long wrong answers gain nothing by their length."""
    return np.full(lengths.shape, 1.0 / (max(1, counted.sum()) * limit))


def _per_token(lengths: Floats, counted: npt.NDArray[np.bool_], limit: int) -> Floats:
    """Weigh all tokens of the step alike (Yu et al. 2025, section 3.3)."""
    del limit
    return np.full(lengths.shape, 1.0 / max(1.0, (lengths * counted).sum()))


def _per_answer(lengths: Floats, counted: npt.NDArray[np.bool_], limit: int) -> Floats:
    """Sum over the tokens of an answer: its log-probability as a whole counts."""
    del limit
    return np.full(lengths.shape, 1.0 / max(1, counted.sum()))


_Weigh = Callable[[Floats, npt.NDArray[np.bool_], int], Floats]
VARIANTS: dict[str, tuple[Callable[[Floats], Floats], _Weigh]] = {
    "dr_grpo": (_mean, _per_limit),
    "dapo": (_standard, _per_token),
    "rloo": (_leave_one_out, _per_answer),
}


def shares(variant: str, rewards: Floats, lengths: Floats, is_cut: npt.NDArray[np.bool_], *, limit: int) -> Share:
    """Return what the tokens of each answer count.

    Shapes: rewards, lengths (tokens of each answer) and is_cut [groups, answers]; `limit` is the longest answer.
    """
    advantage, weigh = VARIANTS[variant]
    counted = (np.ptp(rewards, axis=1, keepdims=True) > 0) & ~is_cut
    return Share(advantage(rewards) * counted, weigh(lengths, counted, limit) * counted)


def compared(method: GrpoMethod) -> Choose:
    """Return what makes rows of graded answers: one for each that counts."""
    return partial(_rows, variant=method.variant, limit=method.max_new_tokens)


def _rows(groups: Groups, *, variant: str, limit: int) -> list[Row]:
    rewards, lengths, is_cut = (
        np.array([[value(answer) for answer in group] for group in groups])
        for value in (lambda a: a.reward, lambda a: float(len(a.ids)), lambda a: a.is_cut)
    )
    share = shares(variant, rewards, lengths, is_cut, limit=limit)
    answers = [answer for group in groups for answer in group]
    columns = zip(answers, share.advantages.ravel(), share.weights.ravel(), strict=True)
    return [_row(answer, advantage, weight) for answer, advantage, weight in columns if weight > 0]


def _row(answer: Answer, advantage: float, weight: float) -> Row:
    opening = len(answer.prompt)

    def stream(values: npt.ArrayLike) -> npt.NDArray[np.float32]:
        out = np.zeros(opening + len(answer.ids), np.float32)
        out[opening:] = np.asarray(values, np.float32)
        return out

    document = Document(np.concatenate([answer.prompt, answer.ids]), stream(1.0))
    rollout = Rollout(0, stream(answer.behaviour), stream(answer.reference), stream(advantage), stream(weight))
    return Row((document,), rollouts=(rollout,))
