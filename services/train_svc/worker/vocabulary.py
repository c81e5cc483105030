"""More tokens for a model: the rows of new tokens are the mean of those of the old tokens they stand for.

The old rows stay, so the model computes with old tokens what it did; only new tokens take part in the softmax too.
What that costs is measured in bits per byte, which compares across tokenizers where perplexity does not.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from bessemer.artifacts.manifest import JSON
from bessemer.kernel.errors import FailedPrecondition, InvalidRequest
from bessemer.modeling.config import ModelConfig
from bessemer.modeling.score import pack_positions, score
from bessemer.modeling.tokenizer import Tokenizer
from bessemer.modeling.transformer import Transformer
from torch import Tensor

__all__ = ["Initialisation", "add_tokens", "bits_per_byte", "check_extension", "read_initialisation"]

_FIELD = "model_job.extend_vocabulary"
_PROBE_TOKENS_MAX = 512
_LOGIT_TOLERANCE = 1e-4  # fp32; the product is blocked differently for another number of rows
# SmolLM2-135M with 2,000 tokens more needs 1.07 times the bits; beyond this the new rows cannot be right.
_BITS_RATIO_MAX = 1.25


@dataclass(frozen=True)
class Initialisation:
    """Which old tokens each new one stands for, between tokenizers of these digests, and texts to measure on."""

    base_sha256: str
    tokenizer_sha256: str
    tokens: Mapping[int, Sequence[int]]
    probe: Sequence[str]


def read_initialisation(data: bytes) -> Initialisation:
    """Read what the job that trained the tokenizer wrote.

    Raises: InvalidRequest.
    """
    try:
        value = json.loads(data)
        tokens = {int(new): [int(one) for one in old] for new, old in value["tokens"]}
        found = Initialisation(
            str(value["base_sha256"]), str(value["tokenizer_sha256"]), tokens, [str(text) for text in value["probe"]]
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidRequest(
            f"initialisation is not what a tokenizer job writes: {error}"[:300],
            field=f"{_FIELD}.initialisation",
        ) from error
    return found


@torch.no_grad()
def add_tokens(model: Transformer, tokens: Mapping[int, Sequence[int]]) -> Transformer:
    """Return a model with rows for the ids of `tokens`; a model may have unused rows there already.

    Raises: InvalidRequest if an id stands for no token, for one that is not older, or leaves a gap.
    """
    old = model.config.vocab_size
    size = max(old, max(tokens, default=0) + 1)
    first = min(tokens, default=old)
    parts = [part for stands_for in tokens.values() for part in stands_for]
    if not all(tokens.values()) or not all(0 <= part < min(first, old) for part in parts) or first > old:
        raise InvalidRequest(
            f"every new token must stand for tokens below {min(first, old)}, and follow on the model's {old}",
            field=f"{_FIELD}.initialisation",
        )
    if sorted(tokens) != list(range(first, first + len(tokens))):
        raise InvalidRequest("the new ids must be consecutive", field=f"{_FIELD}.initialisation")
    with torch.device("meta"):
        grown = Transformer(ModelConfig.from_json({**model.config.raw, "vocab_size": size}))
    state = dict(model.named_parameters())
    for name in ("embedding", "untied_head"):
        if name in state:
            rows = state[name].new_zeros(size, state[name].shape[1])
            rows[:old] = state[name]
            for new, stands_for in tokens.items():
                rows[new] = state[name][list(stands_for)].float().mean(0).to(rows.dtype)
            state[name] = torch.nn.Parameter(rows)
    grown.load_state_dict(state, assign=True)
    grown.inverse_frequencies = model.inverse_frequencies
    return grown.eval()


def check_extension(
    models: tuple[Transformer, Transformer], tokenizers: tuple[Tokenizer, Tokenizer], given: Initialisation
) -> dict[str, JSON]:
    """Check a model and its tokenizer against the extended ones, and return the bits per byte of both.

    Raises: InvalidRequest if the files do not belong together; FailedPrecondition if the model got worse than it may.
    """
    _check_tokenizers(*tokenizers, given)
    facts: dict[str, JSON] = {"added_tokens": len(given.tokens)}
    texts = [text for text in given.probe if text]
    if not texts:
        return facts
    for text in texts[:2]:
        ids = tokenizers[0].encode(text)[:_PROBE_TOKENS_MAX]
        apart = float((_logits(models[1], ids)[:, : models[0].config.vocab_size] - _logits(models[0], ids)).abs().max())
        if not apart <= _LOGIT_TOLERANCE:
            raise FailedPrecondition(f"logits of old tokens moved by {apart:.2g}", reason="SOURCE_INVALID")
    before, after = (bits_per_byte(*pair, texts) for pair in zip(models, tokenizers, strict=True))
    if not after <= before * _BITS_RATIO_MAX:
        raise FailedPrecondition(
            f"the held-out texts need {after:.3f} bits per byte with the new tokens and {before:.3f} without; "
            f"more than {_BITS_RATIO_MAX} times as many are refused: add fewer tokens",
            reason="SOURCE_INVALID",
        )
    return {**facts, "bits_per_byte_before": round(before, 4), "bits_per_byte_after": round(after, 4)}


def bits_per_byte(model: Transformer, tokenizer: Tokenizer, texts: Sequence[str]) -> float:
    """Return the bits that the model needs for each byte of the texts, each begun after an end of text.

    A text is cut after so many tokens; its bytes are counted up to there.
    """
    start = min(tokenizer.eos_ids, default=0)
    most = min(_PROBE_TOKENS_MAX, model.config.context_length) - 1
    cut = [tokenizer.encode(text)[:most] for text in texts]
    size = sum(len(tokenizer.decode(ids).encode()) for ids in cut)
    bits = -sum(float(values.sum()) for values in score(model, [[start, *ids] for ids in cut])) / math.log(2)
    return bits / max(size, 1)


def _check_tokenizers(old: Tokenizer, new: Tokenizer, given: Initialisation) -> None:
    if old.sha256 != given.base_sha256:
        raise InvalidRequest(
            "the tokenizer does not extend this version's own",
            reason="TOKENIZER_MISMATCH",
            field=f"{_FIELD}.model_version",
        )
    if new.sha256 != given.tokenizer_sha256:
        raise InvalidRequest(
            "the initialisation is for another tokenizer", reason="TOKENIZER_MISMATCH", field=f"{_FIELD}.tokenizer"
        )
    before, after = (one.backend.get_vocab() for one in (old, new))
    names = {number: token for token, number in after.items()}
    kept = all(after.get(token) == number for token, number in before.items())
    fits = all(names.get(n) == "".join(names.get(o, "?") for o in parts) for n, parts in given.tokens.items())
    if not kept or not fits or len(after) != len(before) + len(given.tokens):
        raise InvalidRequest(
            "the initialisation does not say what the tokenizer's new tokens are",
            reason="TOKENIZER_MISMATCH",
            field=_FIELD,
        )


@torch.inference_mode()
def _logits(model: Transformer, ids: Sequence[int]) -> Tensor:
    return model.logits(model(torch.tensor(ids), pack_positions([len(ids)]), [len(ids)])).float()
