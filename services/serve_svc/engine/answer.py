"""One request while it is answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from serve_svc.engine.constraint import Matcher
from serve_svc.engine.protocol import Piece, Sampling, TokenLogprob
from serve_svc.engine.sampler import Sampler
from serve_svc.engine.text import TextStream

__all__ = ["Answer"]

COALESCE_S = 0.02  # one message costs as much as several tokens; 20 ms is below what a reader notices
COALESCE_TOKENS = 8  # beyond that a message costs little more per token


class Answer:
    """A request and what was generated for it; `token_ids` leave out the token that ends an answer."""

    def __init__(
        self,
        request_id: str,
        prompt_ids: Sequence[int],
        sampling: Sampling,
        *,
        num_tokens_max: int,
        decode: Callable[[list[int]], str],
        matcher: Matcher | None = None,
        adapter: str = "",
        arrived_s: float = 0.0,
    ) -> None:
        self.id = request_id
        self.adapter = adapter
        self.prompt_ids = list(prompt_ids)
        self.sampler = Sampler(sampling, prompt_ids=self.prompt_ids, matcher=matcher)
        self.token_ids: list[int] = []
        self._logprobs: list[TokenLogprob] = []
        self._num_tokens_max = num_tokens_max
        self._text = TextStream(decode, sampling.stop)
        self._fresh_text = ""
        self._num_sent = 0
        self._sent_s: float | None = None
        self._finish = ""
        self._arrived_s = arrived_s
        self._queued_s: float | None = None

    @property
    def num_tokens_max(self) -> int:
        """Tokens of the prompt and the longest answer together."""
        return len(self.prompt_ids) + self._num_tokens_max

    def start(self, now_s: float) -> None:
        """Note that the request waits no longer."""
        self._queued_s = now_s - self._arrived_s

    def take(self, token: int, eos_ids: frozenset[int], *, logprob: TokenLogprob | None, ended: bool) -> bool:
        """Append a chosen token and say whether the answer has ended; `ended` if nothing may follow the token."""
        if token in eos_ids:
            self._finish = "stop"
        else:
            self.token_ids.append(token)
            if logprob is not None:
                self._logprobs.append(logprob)
            self._fresh_text += self._text.push(token)
            if ended:
                self._finish = "stop"
            elif self._text.stopped or len(self.token_ids) >= self._num_tokens_max:
                self._finish = "length"
        if self._finish:
            self._fresh_text += self._text.finish()
            if self._text.stopped:
                self._finish = "stop"
        return bool(self._finish)

    def abort(self) -> None:
        """End the answer where it is."""
        self._fresh_text += self._text.finish()
        self._finish = "abort"

    def piece(self, now_s: float) -> Piece | None:
        """Return what to send now: the first token and the end at once, the rest together, as told above."""
        recent = self._sent_s is not None and now_s - self._sent_s < COALESCE_S
        if recent and not self._finish and len(self.token_ids) - self._num_sent < COALESCE_TOKENS:
            return None
        fresh = tuple(self.token_ids[self._num_sent :])
        logprobs = tuple(self._logprobs[self._num_sent :])
        text, self._fresh_text = self._fresh_text, ""
        self._num_sent, self._sent_s = len(self.token_ids), now_s
        if not self._finish:
            return Piece(self.id, text, fresh, logprobs=logprobs)
        queued_s = now_s - self._arrived_s if self._queued_s is None else self._queued_s
        return Piece(self.id, text, fresh, self._finish, len(self.prompt_ids), len(self.token_ids), logprobs, queued_s)
