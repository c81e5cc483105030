"""The reward model: a linear head on the last token of an answer (Ouyang et al. 2022, equation 1)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from bessemer.modeling.language_model import LanguageModel
from bessemer.modeling.load import REWARD_HEAD
from bessemer.modeling.score import pack_positions
from safetensors.torch import load_file, save_file
from torch import Tensor

from train_svc.worker.rows import Document, Row
from train_svc.worker.step import StepResult, micro_batches

__all__ = ["backward_scores", "calibration", "load_head", "save_head", "scores"]

_BINS = 10


def scores(model: LanguageModel, head: Tensor, documents: Sequence[Document]) -> Tensor:
    """Return the reward of each document at its last weighted token, [N] in fp32.

    Shapes: head [hidden].
    """
    lengths = [len(document.ids) for document in documents]
    ids = torch.cat([torch.from_numpy(document.ids) for document in documents])
    lasts = [int(document.weights.nonzero()[0][-1]) if document.weights.any() else 0 for document in documents]
    begins = torch.tensor([0, *lengths[:-1]]).cumsum(0)
    hidden = model(ids, pack_positions(lengths), lengths)
    return torch.mv(hidden.index_select(0, begins + torch.tensor(lasts)).float(), head)


def backward_scores(model: LanguageModel, head: Tensor, rows: Sequence[Row], batches: Sequence[Row]) -> StepResult:
    """Gather the gradients of micro-batches of the mean of -log sigmoid(chosen - rejected); return what was seen."""
    num_pairs = sum(len(row.pairs) for row in rows)
    loss, seen = 0.0, {"margin": 0.0, "accuracy": 0.0}
    for batch in batches:
        margins = _margins(model, head, batch)
        part = -F.logsigmoid(margins).sum() / num_pairs
        part.backward()  # type: ignore[no-untyped-call]
        loss += float(part.detach())
        seen["margin"] += float(margins.detach().sum()) / num_pairs
        seen["accuracy"] += float((margins.detach() > 0).sum()) / num_pairs
    return StepResult(loss, tuple(len(d.ids) for row in rows for d in row.documents), seen)


def _margins(model: LanguageModel, head: Tensor, row: Row) -> Tensor:
    """Return what each pair's chosen answer scores above the rejected one, [pairs]."""
    rewards = scores(model, head, row.documents)
    chosen, rejected = (torch.tensor([pair[place] for pair in row.pairs], dtype=torch.long) for place in (0, 1))
    return rewards[chosen] - rewards[rejected]


@torch.inference_mode()
def calibration(model: LanguageModel, head: Tensor, rows: Sequence[Row]) -> tuple[float, float]:
    """Return accuracy and expected calibration error on pairs: mean gap of confidence and accuracy over ten bins.

    The confidence of a pair is the probability of the answer that the model prefers (Guo et al. 2017, equation 3).
    """
    margin = torch.cat([_margins(model, head, batch) for batch in micro_batches(rows)])
    confidence, is_right = margin.abs().sigmoid(), (margin > 0).float()
    bins = ((confidence - 0.5) * 2 * _BINS).long().clamp(max=_BINS - 1)
    gaps = torch.zeros(_BINS).index_add(0, bins, confidence - is_right)
    return float(is_right.mean()), float(gaps.abs().sum() / len(margin))


def save_head(head: Tensor, folder: Path) -> None:
    """Write the head beside the model it belongs to."""
    save_file({"score.weight": head.detach().float().contiguous()[None]}, folder / REWARD_HEAD)


def load_head(folder: Path) -> Tensor:
    """Return the head of a reward model, [hidden]."""
    return load_file(folder / REWARD_HEAD)["score.weight"][0]
