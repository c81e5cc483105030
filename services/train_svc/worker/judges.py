"""Reward models as judges of drawn answers: several of them, believed as far as they agree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from bessemer.kernel.errors import FailedPrecondition
from bessemer.modeling.load import REWARD_HEAD, load_model

from train_svc.worker.reward import load_head, scores
from train_svc.worker.rows import Document, Row
from train_svc.worker.step import micro_batches

__all__ = ["RewardModels", "pessimistic"]

Floats = npt.NDArray[np.float64]


def pessimistic(rewards: Floats, pessimism: float) -> Floats:
    """Return one reward per answer, [N], from those of several models to the same prompt, [models, N].

    It is their mean less `pessimism` standard deviations. What a model gives all answers alike says nothing, as it is
    learned from differences only, so each is centred on the answers before its deviation is taken.
    Source: Coste et al. 2023, section 3.3, with the deviation in place of the variance, which has the rewards' unit.
    """
    centred = rewards - rewards.mean(1, keepdims=True)
    judged: Floats = rewards.mean(0) - pessimism * centred.std(0)
    return judged


class RewardModels:
    """Reward models of one tokenizer, frozen, in fp32."""

    def __init__(self, folders: Sequence[Path], pessimism: float) -> None:
        """Load them.

        Raises: FailedPrecondition for a model without a head that scores.
        """
        for number, folder in enumerate(folders):
            if not (folder / REWARD_HEAD).is_file():
                raise FailedPrecondition(
                    f"reward model {number} has no {REWARD_HEAD}; name versions that `train reward-model` made"
                )
        self._models = [(load_model(f).requires_grad_(requires_grad=False), load_head(f)) for f in folders]
        self._pessimism = pessimism

    @torch.no_grad()
    def __call__(self, answers: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[float]:
        """Return the rewards of answers to one prompt, each ids of the prompt and of the answer."""
        batches = micro_batches([Row((_document(prompt, ids),)) for prompt, ids in answers])
        given = [[scores(model, head, batch.documents) for batch in batches] for model, head in self._models]
        each = np.stack([torch.cat(parts).double().numpy() for parts in given])
        return [float(reward) for reward in pessimistic(each, self._pessimism)]


def _document(prompt: Sequence[int], ids: Sequence[int]) -> Document:
    weights = np.zeros(len(prompt) + len(ids), np.float32)
    weights[len(prompt) :] = 1.0
    return Document(np.array([*prompt, *ids], np.int64), weights)
