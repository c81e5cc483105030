"""The token that ends a document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["end_of_text"]

_USUAL = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|im_end|>", "<|eot_id|>", "[EOS]", "<|end|>")


def end_of_text(added_tokens: Mapping[str, int], stated: str = "") -> tuple[str, int] | None:
    """Return the end-of-text token and its id: the stated one, else a usual one, else one that is called like it."""
    candidates: Sequence[str] = [stated, *_USUAL, *(token for token in sorted(added_tokens) if _sounds_like_end(token))]
    return next(((token, added_tokens[token]) for token in candidates if token in added_tokens), None)


def _sounds_like_end(token: str) -> bool:
    word = token.lower().strip("<>[]|_/ ")
    return word in {"eos", "end", "endoftext", "eot", "eod", "end_of_turn", "s"} and not token.startswith("<s")
