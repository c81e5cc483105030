"""Log-probabilities of given texts: evaluation, perplexity and reference models need nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from bessemer.kernel.errors import InvalidRequest
from bessemer.modeling.transformer import Transformer

__all__ = ["pack_positions", "score", "token_logprobs"]


def token_logprobs(model: Transformer, ids: Sequence[int] | Tensor, *, chunk: int = 512) -> Tensor:
    """Return log p(ids[t] | ids[:t]) for t >= 1, [T - 1] in fp32; logits exist for `chunk` tokens at a time."""
    return score(model, [[int(i) for i in ids]], chunk=chunk)[0]


@torch.inference_mode()
def score(
    model: Transformer,
    sequences: Sequence[Sequence[int]],
    *,
    starts: Sequence[int] | None = None,
    batch_tokens: int = 1024,
    chunk: int = 512,
) -> list[Tensor]:
    """Return each sequence's log-probabilities from token max(1, start) on, each conditioned on all before it.

    Raises: InvalidRequest for a sequence longer than the model's context.
    """
    firsts = [1] * len(sequences) if starts is None else [max(1, s) for s in starts]
    longest = max(map(len, sequences), default=0)
    if longest > model.config.context_length:
        raise InvalidRequest(
            f"a sequence has {longest} tokens, the model's context holds {model.config.context_length}; shorten it",
            reason="CONTEXT_TOO_LONG",
        )
    results: list[Tensor] = [torch.empty(0)] * len(sequences)
    for batch in _batches(sequences, batch_tokens):
        lengths = [len(sequences[i]) for i in batch]
        ids = torch.tensor([t for i in batch for t in sequences[i]])
        hidden = model(ids, pack_positions(lengths), lengths)
        # The state at position t predicts token t + 1.
        offsets = [sum(lengths[:n]) for n in range(len(batch))]
        rows = [range(o + firsts[i] - 1, o + n - 1) for i, o, n in zip(batch, offsets, lengths, strict=True)]
        index = torch.tensor([r for run in rows for r in run], dtype=torch.long)
        values = _gather(model, hidden, index, ids[index + 1], chunk)
        for i, part in zip(batch, values.split_with_sizes([len(run) for run in rows]), strict=True):
            results[i] = part
    return results


def pack_positions(lengths: Sequence[int]) -> Tensor:
    """Return positions of packed documents: each counts from zero."""
    return torch.cat([torch.arange(n) for n in lengths]) if lengths else torch.empty(0, dtype=torch.long)


def _batches(sequences: Sequence[Sequence[int]], batch_tokens: int) -> Iterator[list[int]]:
    batch: list[int] = []
    tokens = 0
    for i, sequence in enumerate(sequences):
        if not sequence:
            continue
        if batch and tokens + len(sequence) > batch_tokens:
            yield batch
            batch, tokens = [], 0
        batch.append(i)
        tokens += len(sequence)
    if batch:
        yield batch


def _gather(model: Transformer, hidden: Tensor, index: Tensor, targets: Tensor, chunk: int) -> Tensor:
    parts = []
    for rows, wanted in zip(_chunks(index, chunk), _chunks(targets, chunk), strict=True):
        logits = model.logits(hidden[rows]).float()
        parts.append(logits.gather(1, wanted[:, None])[:, 0] - logits.logsumexp(1))
    return torch.cat(parts) if parts else torch.empty(0)


def _chunks(x: Tensor, size: int) -> list[Tensor]:
    return [x[i : i + size] for i in range(0, len(x), size)]
