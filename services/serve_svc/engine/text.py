"""From tokens to text that is certain: whole characters, nothing of a stop string; and tokens as bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from serve_svc.engine.protocol import Alternative, TokenLogprob

__all__ = ["TextStream", "TokenBytes", "keeping"]

_UNKNOWN = "\ufffd"  # what a tokenizer writes for bytes that are not (yet) a character


class TextStream:
    """Text of one answer, piece by piece; the pieces together do not depend on how tokens cut the text."""

    def __init__(self, decode: Callable[[list[int]], str], stop: Sequence[str] = ()) -> None:
        self._decode = decode
        self._stop = tuple(stop)
        self._window: list[int] = []  # tokens that may still change how the next ones read
        self._context = 0  # of them, tokens whose text was handed to the stop search already
        self._seen = 0  # characters of the window handed on
        self._held = ""  # may turn out to be the beginning of a stop string
        self.stopped = False

    def push(self, token: int) -> str:
        """Take a token and return the text that became certain; sets `stopped` when a stop string is complete."""
        self._window.append(token)
        text = self._decode(self._window)
        whole = text.rstrip(_UNKNOWN)
        fresh = whole[self._seen :]
        self._seen = max(self._seen, len(whole))
        if whole == text and fresh:
            # Tokenizers that mark words by a leading space read a token differently at the start, so the
            # tokens of the last piece stay in front as context.
            self._window = self._window[self._context :]
            self._context = len(self._window)
            self._seen = len(self._decode(self._window))
        return self._search(fresh)

    def finish(self) -> str:
        """Return what was held back; call once, when no token follows."""
        if self.stopped:
            return ""
        rest = self._decode(self._window)[self._seen :]
        return self._search(rest) + self._held

    def _search(self, fresh: str) -> str:
        text = self._held + fresh
        # The match that ends first wins, as if characters came one by one.
        ends = [(start + len(stop), start) for stop in self._stop if (start := text.find(stop)) >= 0]
        if ends:
            self.stopped = True
            self._held = ""
            return text[: min(ends)[1]]
        held = max((_overlap(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]


def _overlap(text: str, stop: str) -> int:
    """Return how many of the last characters of `text` begin `stop` without completing it."""
    return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)


class TokenBytes:
    """The bytes that tokens stand for, remembered once asked for."""

    def __init__(self, token_bytes: Callable[[int], bytes]) -> None:
        self.hex = lru_cache(maxsize=65_536)(lambda token: token_bytes(token).hex())

    def logprob(self, token: int, logprob: float | None, top: Sequence[tuple[int, float]]) -> TokenLogprob:
        """Return a token with its log-probability and the likeliest tokens."""
        likeliest = tuple(Alternative(other, self.hex(other), value) for other, value in top)
        return TokenLogprob(token, self.hex(token), logprob, likeliest)


def keeping(decode: Callable[[list[int]], str], markers: Mapping[int, str]) -> Callable[[list[int]], str]:
    """Return a decoder that writes some special tokens out, where `decode` leaves all of them out."""
    if not markers:
        return decode

    def decode_all(tokens: list[int]) -> str:
        first = next((index for index, token in enumerate(tokens) if token in markers), None)
        if first is None:
            return decode(tokens)
        return decode(tokens[:first]) + markers[tokens[first]] + decode_all(tokens[first + 1 :])

    return decode_all
