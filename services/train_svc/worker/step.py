"""One step of learning, blind to the algorithm: weighted cross-entropy plus pairwise preference over packed rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from bessemer.modeling.score import pack_positions, score
from bessemer.modeling.transformer import Transformer
from torch import Tensor

from train_svc.worker.loss import dpo, logprob_gradients, token_logprobs
from train_svc.worker.rows import Document, Row

__all__ = ["Losses", "StepResult", "answer_logprobs", "backward"]

# Rows are run together up to this many tokens: fewer, larger products; the result does not depend on grouping rows.
_MICRO_BATCH_TOKENS = 1024


@dataclass(frozen=True)
class Losses:
    """Weights of the components: mean cross-entropy per weighted token, mean preference loss per pair."""

    cross_entropy: float = 1.0
    beta: float = 0.0


_Sums = npt.NDArray[np.float64]


class _StepLosses(NamedTuple):
    """Weights of the components within one step."""

    per_token: float
    per_pair: float
    beta: float


class _States(NamedTuple):
    """Of each token that counts: the hidden state before it, its id, its weight, its document."""

    hidden: Tensor
    targets: Tensor
    weights: Tensor
    owners: Tensor


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
    num_pairs = sum(len(row.pairs) for row in rows)
    per_token = losses.cross_entropy / sum(row.num_counted for row in rows)
    shares = _StepLosses(per_token, 1.0 / max(1, num_pairs), losses.beta)
    loss, pair_sums = 0.0, np.zeros(3)
    for batch in _micro_batches(rows):
        states = _states(model, batch)
        hidden, targets = states.hidden.detach(), states.targets
        scales = -per_token * states.weights
        if batch.pairs:  # how much a token counts depends on all tokens of its pair: look first
            logprobs = token_logprobs(hidden, model.head, targets).requires_grad_()
            part, sums = _pair_loss(batch, states, logprobs, shares)
            (scales,) = torch.autograd.grad(part, logprobs)
            pair_sums += sums
        logprobs, gradient = logprob_gradients(hidden, model.head, targets, scales, _gradient_of(model.head))
        states.hidden.backward(gradient)  # type: ignore[no-untyped-call]
        loss += float(part.detach() if batch.pairs else (scales * logprobs).sum())
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


def _states(model: Transformer, row: Row) -> _States:
    """Run a row through the model."""
    lengths = [len(document.ids) for document in row.documents]
    ids = torch.from_numpy(np.concatenate([document.ids for document in row.documents]))
    weights = torch.from_numpy(np.concatenate([document.weights for document in row.documents]))
    owners = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    counted = weights.nonzero()[:, 0]  # never the first of a document, so the state before lies in the same one
    hidden = model(ids, pack_positions(lengths), lengths)
    return _States(hidden.index_select(0, counted - 1), ids[counted], weights[counted], owners[counted])


def _pair_loss(row: Row, states: _States, logprobs: Tensor, losses: _StepLosses) -> tuple[Tensor, _Sums]:
    """Return the loss of a row of pairs as a function of its log-probabilities, and three sums to report."""
    totals = torch.zeros(len(row.documents)).index_add(0, states.owners, logprobs)
    counts = torch.zeros(len(row.documents)).index_add(0, states.owners, torch.ones_like(logprobs))
    chosen, rejected, chosen_before, rejected_before = (torch.tensor(column) for column in zip(*row.pairs, strict=True))
    margin, margin_before = totals[chosen] - totals[rejected], chosen_before - rejected_before
    is_chosen = torch.zeros(len(row.documents)).index_fill(0, chosen, 1.0)
    anchor = -(states.weights * is_chosen[states.owners] * logprobs).sum()
    with torch.no_grad():
        gain = margin - margin_before
        shift = (totals[chosen] - chosen_before) / counts[chosen]
        sums = np.array([float(gain.sum()), float((gain > 0).sum()), float(shift.sum())])
    return losses.per_token * anchor + losses.per_pair * dpo(margin, margin_before, losses.beta), sums


def _gradient_of(parameter: Tensor) -> Tensor | None:
    """Return the gradient to add to, zero at first; None for a frozen parameter."""
    if parameter.requires_grad and parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad
