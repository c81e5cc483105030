"""One step of learning, blind to the algorithm: weighted cross-entropy plus pairwise preference over packed rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from bessemer.modeling.score import pack_positions, score
from bessemer.modeling.transformer import Transformer
from torch import Tensor

from train_svc.worker.loss import cross_entropy, dpo, token_logprobs
from train_svc.worker.rows import Document, Row

__all__ = ["Losses", "StepResult", "answer_logprobs", "backward"]

# Rows are run together up to this many tokens: fewer, larger products; the result does not depend on grouping rows.
_MICRO_BATCH_TOKENS = 1024


@dataclass(frozen=True)
class Losses:
    """Weights of the components: mean cross-entropy per weighted token, mean preference loss per pair."""

    cross_entropy: float = 1.0
    beta: float = 0.0


@dataclass(frozen=True)
class StepResult:
    """What a step saw; the three preference numbers are means over pairs, in nats.

    `chosen_shift` is the change per token of log p(chosen) against the reference.
    """

    loss: float
    lengths: tuple[int, ...]
    num_pairs: int = 0
    margin: float = 0.0
    accuracy: float = 0.0
    chosen_shift: float = 0.0


def backward(model: Transformer, rows: Sequence[Row], losses: Losses) -> StepResult:
    """Gather the gradients of the step's loss over all rows and return what it saw."""
    tokens = float(sum(row.num_counted for row in rows))
    num_pairs = sum(len(row.pairs) for row in rows)
    loss, pair_sums = 0.0, np.zeros(3)
    for batch in _micro_batches(rows):
        if batch.pairs:
            part, sums = _pair_loss(model, batch, losses, token_weight=losses.cross_entropy / tokens, pairs=num_pairs)
            pair_sums += sums
        else:
            part = _token_loss(model, batch, token_weight=losses.cross_entropy / tokens)
        part.backward()  # type: ignore[no-untyped-call]
        loss += float(part.detach())
    lengths = tuple(len(document.ids) for row in rows for document in row.documents)
    margin, accuracy, shift = pair_sums / max(1, num_pairs)
    return StepResult(loss, lengths, num_pairs, float(margin), float(accuracy), float(shift))


def answer_logprobs(model: Transformer, documents: Sequence[Document]) -> list[float]:
    """Return the log-probability of each document's weighted tokens."""
    starts = [int(document.weights.argmax()) for document in documents]
    logprobs = score(model, [document.ids.tolist() for document in documents], starts=starts)
    return [
        float((values.double() * torch.from_numpy(document.weights[start:]).double()).sum())
        for values, document, start in zip(logprobs, documents, starts, strict=True)
    ]


def _micro_batches(rows: Sequence[Row]) -> list[Row]:
    batches = [rows[0]]
    for row in rows[1:]:
        if batches[-1].num_tokens + row.num_tokens <= _MICRO_BATCH_TOKENS:
            batches[-1] = batches[-1].merge(row)
        else:
            batches.append(row)
    return batches


def _states(model: Transformer, row: Row) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return hidden states before, ids of, weights of, and the document of each token that counts."""
    lengths = [len(document.ids) for document in row.documents]
    ids = torch.from_numpy(np.concatenate([document.ids for document in row.documents]))
    weights = torch.from_numpy(np.concatenate([document.weights for document in row.documents]))
    owners = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    counted = weights.nonzero()[:, 0]  # never the first of a document, so the state before lies in the same one
    hidden = model(ids, pack_positions(lengths), lengths)
    return hidden.index_select(0, counted - 1), ids[counted], weights[counted], owners[counted]


def _token_loss(model: Transformer, row: Row, *, token_weight: float) -> Tensor:
    hidden, targets, weights, _ = _states(model, row)
    return cross_entropy(hidden, model.head, targets, weights * token_weight)


def _pair_loss(
    model: Transformer, row: Row, losses: Losses, *, token_weight: float, pairs: int
) -> tuple[Tensor, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    hidden, targets, weights, owners = _states(model, row)
    logprobs = token_logprobs(hidden, model.head, targets)
    # One-hot by product rather than scatter: its backward is a plain gather.
    totals = torch.zeros(len(row.documents)).index_add(0, owners, logprobs)
    counts = torch.zeros(len(row.documents)).index_add(0, owners, torch.ones_like(weights))
    chosen, rejected, chosen_before, rejected_before = (torch.tensor(column) for column in zip(*row.pairs, strict=True))
    margin, margin_before = totals[chosen] - totals[rejected], chosen_before - rejected_before
    is_chosen = torch.zeros(len(row.documents)).index_fill(0, chosen, 1.0)
    anchor = -(weights * is_chosen[owners] * logprobs).sum() * token_weight
    with torch.no_grad():
        gain = margin - margin_before
        shift = (totals[chosen] - chosen_before) / counts[chosen]
        sums = np.array([float(gain.sum()), float((gain > 0).sum()), float(shift.sum())])
    return anchor + dpo(margin, margin_before, losses.beta) / pairs, sums
