"""Log-probabilities of given texts: evaluation, perplexity and reference models need nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from torch import Tensor

from bessemer.kernel.errors import InvalidRequest
from bessemer.modeling.attention import document_attention
from bessemer.modeling.language_model import LanguageModel
from bessemer.modeling.transformer import Attend
from bessemer.modeling.transformers_model import TransformersModel

__all__ = ["pack_positions", "score", "score_branches", "token_logprobs"]

Branches = tuple[Sequence[int], Sequence[Sequence[int]]]


def token_logprobs(model: LanguageModel, ids: Sequence[int] | Tensor, *, chunk: int = 512) -> Tensor:
    """Return log p(ids[t] | ids[:t]) for t >= 1, [T - 1] in fp32; logits exist for `chunk` tokens at a time."""
    return score(model, [[int(i) for i in ids]], chunk=chunk)[0]


@torch.no_grad()  # not inference mode, in which sharded models would keep buffers that training cannot write
def score(
    model: LanguageModel,
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


@torch.no_grad()
def score_branches(model: LanguageModel, groups: Sequence[Branches], *, batch_tokens: int = 1024) -> list[list[Tensor]]:
    """Return the log-probabilities of each group's branches, each after the group's prefix, which is read once.

    Shapes: a group is a prefix [P], P >= 1, with branches [T]; its results are [T] in fp32, one for each branch.
    Raises: InvalidRequest for a prefix with branch longer than the model's context.
    """
    longest = max((len(prefix) + max(map(len, branches)) for prefix, branches in groups), default=0)
    if longest > model.config.context_length:
        raise InvalidRequest(
            f"a sequence has {longest} tokens, the model's context holds {model.config.context_length}; shorten it",
            reason="CONTEXT_TOO_LONG",
        )
    if isinstance(model, TransformersModel):  # its attention knows no branches
        return [
            score(model, [[*prefix, *branch] for branch in branches], starts=[len(prefix)] * len(branches))
            for prefix, branches in groups
        ]
    flat = [[*prefix, *(token for branch in branches for token in branch)] for prefix, branches in groups]
    results: list[list[Tensor]] = [[] for _ in groups]
    for batch in _batches(flat, batch_tokens):
        ids = torch.tensor([token for i in batch for token in flat[i]])
        positions = torch.cat([_branch_positions(groups[i]) for i in batch])
        hidden = model.hidden(ids, positions, _branching([groups[i] for i in batch]))
        begin = 0
        for i in batch:
            results[i] = _branch_logprobs(model, hidden[begin : begin + len(flat[i])], groups[i])
            begin += len(flat[i])
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


def _gather(model: LanguageModel, hidden: Tensor, index: Tensor, targets: Tensor, chunk: int) -> Tensor:
    parts = []
    for rows, wanted in zip(_chunks(index, chunk), _chunks(targets, chunk), strict=True):
        logits = model.logits(hidden[rows]).float()
        parts.append(logits.gather(1, wanted[:, None])[:, 0] - logits.logsumexp(1))
    return torch.cat(parts) if parts else torch.empty(0)


def _chunks(x: Tensor, size: int) -> list[Tensor]:
    return [x[i : i + size] for i in range(0, len(x), size)]


def _branch_positions(group: Branches) -> Tensor:
    prefix, branches = group
    begin = len(prefix)
    return torch.cat([torch.arange(begin), *(torch.arange(begin, begin + len(branch)) for branch in branches)])


def _branching(groups: Sequence[Branches]) -> Attend:
    """Return attention in which a branch sees the prefix and itself, and never its siblings."""
    sizes = [len(prefix) + sum(map(len, branches)) for prefix, branches in groups]
    masks = []
    for prefix, branches in groups:
        branch = torch.repeat_interleave(torch.arange(len(branches)), torch.tensor([len(b) for b in branches]))
        own = (branch[:, None] == branch) & torch.ones(len(branch), len(branch), dtype=torch.bool).tril()
        masks.append(torch.cat([torch.ones(len(branch), len(prefix), dtype=torch.bool), own], 1))

    def attend(_layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        parts = []
        for (prefix, _), mask, qs, ks, vs in zip(
            groups, masks, *(x.split_with_sizes(sizes) for x in (q, k, v)), strict=True
        ):
            cut = len(prefix)
            parts.append(document_attention(qs[:cut], ks[:cut], vs[:cut], [cut]))
            rows, keys, values = (x.transpose(0, 1)[None] for x in (qs[cut:], ks, vs))
            out = F.scaled_dot_product_attention(rows, keys, values, attn_mask=mask, enable_gqa=True)
            parts.append(out[0].transpose(0, 1).flatten(1))
        return torch.cat(parts)

    return attend


def _branch_logprobs(model: LanguageModel, hidden: Tensor, group: Branches) -> list[Tensor]:
    prefix, branches = group
    logits = model.logits(hidden[len(prefix) - 1 :]).float()
    totals = logits.logsumexp(1)
    results, begin = [], 1
    for branch in branches:
        # The state of the prefix's last token predicts every branch's first, those of a branch its later ones.
        rows = torch.tensor([0, *range(begin, begin + len(branch) - 1)])
        results.append(logits[rows, torch.tensor(branch)] - totals[rows])
        begin += len(branch)
    return results
