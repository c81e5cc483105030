"""What an engine computes besides answers: how likely given texts are, and vectors of texts.

Both go in steps of bounded size, so that running answers pause no longer than for a piece of a long prompt.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence

import torch
from bessemer.kernel.errors import InvalidRequest
from bessemer.modeling.language_model import LanguageModel
from bessemer.modeling.score import score_branches
from torch import Tensor

from serve_svc.engine.protocol import Embedded, Message, Scored, TokenLogprob
from serve_svc.engine.text import TokenBytes

__all__ = ["embed", "score"]

_ROWS = 256  # logits are made for so many positions at a time


def score(
    model: LanguageModel,
    request_id: str,
    prompt_ids: Sequence[int],
    continuations: Sequence[Sequence[int]],
    *,
    num_top: int,
    names: TokenBytes,
) -> Iterator[Message | None]:
    """Yield None for each continuation, then the reply.

    Shapes: prompt_ids [P]; continuations [T] each, T > 0; with P = 0 a first token has no log-probability.
    """
    scored = []
    for ids in continuations:
        entries: list[TokenLogprob] = []
        context, rest = (list(prompt_ids), list(ids)) if prompt_ids else (list(ids[:1]), list(ids[1:]))
        if not prompt_ids:
            entries.append(TokenLogprob(ids[0], names.hex(ids[0]), None))
        for token, (value, top) in zip(rest, _after(model, context, rest, num_top), strict=True):
            entries.append(names.logprob(token, value, top))
        scored.append(tuple(entries))
        yield None
    yield Scored(request_id, len(prompt_ids), tuple(scored))


def embed(model: LanguageModel, request_id: str, texts: Sequence[Sequence[int]]) -> Iterator[Message | None]:
    """Yield None for each text, then the reply: the mean of the last layer's states, of length 1.

    Shapes: texts [T] each, T > 0. Source: mean pooling, Reimers and Gurevych 2019, section 3.
    """
    vectors = []
    for ids in texts:
        vectors.append(base64.b64encode(_mean_state(model, ids).numpy().astype("<f4").tobytes()).decode())
        yield None
    yield Embedded(request_id, tuple(vectors), sum(map(len, texts)))


@torch.inference_mode()
def _mean_state(model: LanguageModel, ids: Sequence[int]) -> Tensor:
    _check_length(model, len(ids))
    hidden = model(torch.tensor(ids), torch.arange(len(ids)), [len(ids)]).double().mean(0)
    unit: Tensor = (hidden / hidden.norm().clamp_min(1e-12)).float()
    return unit


@torch.inference_mode()
def _after(
    model: LanguageModel, context: list[int], ids: list[int], num_top: int
) -> Iterator[tuple[float, list[tuple[int, float]]]]:
    """Yield the log-probability of each token after what is before it, and the likeliest tokens there."""
    if not ids:
        return
    _check_length(model, len(context) + len(ids))
    if not num_top:
        yield from ((value, []) for value in score_branches(model, [(context, [ids])])[0][0].tolist())
        return
    tokens = torch.tensor(context + ids)
    hidden = model(tokens, torch.arange(len(tokens)), [len(tokens)])[len(context) - 1 : -1]
    for start in range(0, len(ids), _ROWS):
        logprobs = model.logits(hidden[start : start + _ROWS]).float().log_softmax(1)
        values, likeliest = logprobs.topk(min(num_top, logprobs.shape[1]))
        wanted = logprobs.gather(1, tokens[len(context) + start :][: len(logprobs), None])[:, 0]
        for value, row, others in zip(wanted.tolist(), values.tolist(), likeliest.tolist(), strict=True):
            yield value, list(zip(others, row, strict=True))


def _check_length(model: LanguageModel, length: int) -> None:
    if length > model.config.context_length:
        raise InvalidRequest(
            f"prompt and text have {length} tokens, the context is {model.config.context_length}; shorten them",
            reason="CONTEXT_TOO_LONG",
            field="prompt",
        )
