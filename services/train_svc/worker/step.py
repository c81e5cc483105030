"""One step of learning, blind to the algorithm: a weighted sum of components over packed rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from bessemer.modeling.language_model import LanguageModel
from bessemer.modeling.score import pack_positions, score
from bessemer.modeling.transformers_config import TransformersConfig
from torch import Tensor

from train_svc.worker.components import (
    PAIR_LOSSES,
    Answers,
    Losses,
    Tokens,
    policy_gradient,
    reference_kl,
    unpaired,
)
from train_svc.worker.images import read_pixels
from train_svc.worker.loss import logprob_gradients, token_logprobs
from train_svc.worker.rows import Document, Row

__all__ = [
    "MICRO_BATCH_TOKENS",
    "StepResult",
    "answer_logprobs",
    "backward",
    "baseline_of",
    "contrasts",
    "gradient_of",
    "micro_batches",
    "states_of",
]

# Rows are run together up to this many tokens: fewer, larger products; the result does not depend on grouping rows.
MICRO_BATCH_TOKENS = 1024


@dataclass(frozen=True)
class StepResult:
    """What a step saw; `seen` are means of what its components report, in nats.

    Pairs: `margin`, `accuracy`, `chosen_shift` (change per token of log p(chosen) against the reference) and
    `chosen_change` (the same per answer).
    Opinions: the same for liked answers, and the `baseline`.
    """

    loss: float
    lengths: tuple[int, ...]
    seen: Mapping[str, float] = field(default_factory=dict)


class _Shares(NamedTuple):
    """What one token, pair, opinion or liked answer counts within the step, and the baseline of opinions."""

    token: float
    pair: float
    opinion: float
    liked: float
    baseline: float


class _States(NamedTuple):
    """Of each token that counts: the hidden state before it, its id, its weight, its document, its place in the row."""

    hidden: Tensor
    targets: Tensor
    weights: Tensor
    owners: Tensor
    places: Tensor


def backward(
    model: LanguageModel,
    rows: Sequence[Row],
    losses: Losses,
    batches: Sequence[Row] | None = None,
    baseline: float | None = None,
) -> StepResult:
    """Gather the gradients of the step's loss over all rows and return what it saw.

    With `batches`, only over these micro-batches of the rows; those of several processes add up. The `baseline` of
    opinions is computed if it is not given.
    """
    if baseline is None:
        baseline = baseline_of(rows, answer_logprobs(model, contrasts(rows)))
    shares = _shares(rows, losses, baseline)
    loss, seen = 0.0, dict.fromkeys(_seen_of(rows), 0.0)
    for batch in micro_batches(rows) if batches is None else batches:
        states = states_of(model, batch)
        hidden, targets = states.hidden.detach(), states.targets
        scales = -shares.token * states.weights
        if batch.is_judged:  # how much a token counts depends on log-probabilities: look first
            logprobs = token_logprobs(hidden, model.head, targets).requires_grad_()
            part, sums = _judge(batch, states, logprobs, shares, losses)
            (scales,) = torch.autograd.grad(part, logprobs)
            seen = {key: seen.get(key, 0.0) + value for key, value in sums.items()}
        logprobs, gradient = logprob_gradients(hidden, model.head, targets, scales, gradient_of(model.head))
        if states.hidden.requires_grad:  # not where only the projector learns and a row has no image
            states.hidden.backward(gradient)  # type: ignore[no-untyped-call]
        loss += float(part.detach() if batch.is_judged else (scales * logprobs).sum())
    lengths = tuple(len(document.ids) for row in rows for document in row.documents)
    if any(row.opinions for row in rows):
        seen["baseline"] = shares.baseline
    return StepResult(loss, lengths, seen)


def answer_logprobs(model: LanguageModel, documents: Sequence[Document]) -> list[float]:
    """Return the log-probability of each document's weighted tokens."""
    starts = [max(1, int(document.weights.argmax())) for document in documents]
    logprobs = score(model, [document.ids.tolist() for document in documents], starts=starts)
    return [
        float((values.double() * torch.from_numpy(document.weights[start:]).double()).sum())
        for values, document, start in zip(logprobs, documents, starts, strict=True)
    ]


def contrasts(rows: Sequence[Row]) -> list[Document]:
    """Return the answers that nobody judged, by which it is seen how far the policy has moved."""
    return [opinion.contrast for row in rows for opinion in row.opinions]


def baseline_of(rows: Sequence[Row], now: Sequence[float]) -> float:
    """Return how far the policy has moved from the reference, at least 0; `now` are log-probabilities of contrasts."""
    before = [opinion.reference_contrast for row in rows for opinion in row.opinions]
    return max(0.0, (sum(now) - sum(before)) / len(before)) if before else 0.0


def _seen_of(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return what will be seen of rows, which a process that has none of them has to know too."""
    if any(row.pairs for row in rows):
        return "margin", "accuracy", "chosen_shift", "chosen_change"
    return ("margin", "chosen_change", "chosen_shift") if any(row.opinions for row in rows) else ()


def _shares(rows: Sequence[Row], losses: Losses, baseline: float) -> _Shares:
    """Count over the whole step, so that every component is a mean over all of it."""
    counted = sum(row.num_counted for row in rows)
    opinions = [opinion for row in rows for opinion in row.opinions]
    return _Shares(
        token=losses.cross_entropy / counted if counted else 0.0,
        pair=1.0 / max(1, sum(len(row.pairs) for row in rows)),
        opinion=1.0 / max(1, len(opinions)),
        liked=1.0 / max(1, sum(opinion.is_desirable for opinion in opinions)),
        baseline=baseline,
    )


def micro_batches(rows: Sequence[Row], limit: int = MICRO_BATCH_TOKENS) -> list[Row]:
    """Merge neighbouring rows up to so many tokens."""
    groups: list[list[Row]] = []
    room = 0
    for row in rows:
        room -= row.num_tokens
        if room < 0 or not groups:
            groups.append([])
            room = limit - row.num_tokens
        groups[-1].append(row)
    return [Row.joined(group) for group in groups]


def states_of(model: LanguageModel, row: Row) -> _States:
    """Run a row through the model."""
    lengths = [len(document.ids) for document in row.documents]
    ids = torch.from_numpy(np.concatenate([document.ids for document in row.documents]))
    weights = torch.from_numpy(np.concatenate([document.weights for document in row.documents]))
    owners = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    counted = weights.nonzero()[:, 0]  # never the first of a document, so the state before lies in the same one
    files = [image.path for document in row.documents for image in document.images]
    if files:
        assert isinstance(model.config, TransformersConfig)
        assert model.config.image is not None
        shape = model.config.image
        hidden = model(ids, pack_positions(lengths), lengths, torch.stack([read_pixels(f, shape) for f in files]))
    else:
        hidden = model(ids, pack_positions(lengths), lengths)
    return _States(hidden.index_select(0, counted - 1), ids[counted], weights[counted], owners[counted], counted)


def _judge(
    row: Row, states: _States, logprobs: Tensor, shares: _Shares, losses: Losses
) -> tuple[Tensor, dict[str, float]]:
    """Return the loss of a row as a function of its log-probabilities, and its shares in what the step reports."""
    imitated = torch.zeros(len(row.documents)).index_fill(0, torch.tensor(row.imitated, dtype=torch.long), 1.0)
    loss = -shares.token * (states.weights * imitated[states.owners] * logprobs).sum()
    seen: dict[str, float] = {}
    if row.pairs or row.opinions:
        totals = torch.zeros(len(row.documents)).index_add(0, states.owners, logprobs)
        counts = torch.zeros(len(row.documents)).index_add(0, states.owners, torch.ones_like(logprobs))
        part, seen = (_pairs if row.pairs else _opinions)(row, totals, counts, shares, losses)
        loss += part
    if row.rollouts:
        loss += _rollouts(row, states, logprobs, losses)
    return loss, seen


def _pairs(
    row: Row, totals: Tensor, counts: Tensor, shares: _Shares, losses: Losses
) -> tuple[Tensor, dict[str, float]]:
    columns = tuple(torch.tensor(column) for column in zip(*row.pairs, strict=True))
    chosen = Answers(totals[columns[0]], columns[2], counts[columns[0]])
    rejected = Answers(totals[columns[1]], columns[3], counts[columns[1]])
    with torch.no_grad():
        margin = chosen.gain - rejected.gain
        seen = {"margin": margin, "accuracy": (margin > 0).float(), "chosen_shift": chosen.gain / chosen.tokens}
        seen |= {"chosen_change": chosen.gain}
    part = shares.pair * PAIR_LOSSES[losses.pair](chosen, rejected, losses).sum()
    return part, {key: shares.pair * float(values.sum()) for key, values in seen.items()}


def _opinions(
    row: Row, totals: Tensor, counts: Tensor, shares: _Shares, losses: Losses
) -> tuple[Tensor, dict[str, float]]:
    documents = torch.tensor([opinion.document for opinion in row.opinions])
    is_desirable = torch.tensor([opinion.is_desirable for opinion in row.opinions])
    reference = torch.tensor([opinion.reference for opinion in row.opinions])
    answers = Answers(totals[documents], reference, counts[documents])
    part = shares.opinion * unpaired(answers, is_desirable, shares.baseline, losses).sum()
    with torch.no_grad():
        gain = answers.gain
        liked = torch.where(is_desirable, gain, 0.0)
        seen = {
            "margin": shares.opinion * float(torch.where(is_desirable, gain, -gain).sum()),
            "chosen_change": shares.liked * float(liked.sum()),
            "chosen_shift": shares.liked * float((liked / answers.tokens).sum()),
        }
    return part, seen


def _rollouts(row: Row, states: _States, logprobs: Tensor, losses: Losses) -> Tensor:
    streams = np.zeros((4, row.num_tokens), np.float32)
    ends = np.cumsum([len(document.ids) for document in row.documents])
    for rollout in row.rollouts:
        end = ends[rollout.document]
        place = slice(end - len(rollout.behaviour), end)
        streams[:, place] = rollout.behaviour, rollout.reference, rollout.advantages, rollout.weights
    tokens = Tokens(*torch.from_numpy(streams)[:, states.places])
    loss = policy_gradient(logprobs, tokens, losses)
    if losses.kl:
        loss = loss + losses.kl * tokens.weights * reference_kl(logprobs, tokens)
    return loss.sum()


def gradient_of(parameter: Tensor) -> Tensor | None:
    """Return the gradient to add to, zero at first; None for a frozen parameter."""
    if parameter.requires_grad and parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad
