"""The engine's loop: take what arrived, compute one step, send what became certain."""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bessemer.kernel.clock import Clock
from bessemer.kernel.errors import InvalidRequest, LimitReached
from bessemer.modeling.generate import Cache, decode_step, prefill
from bessemer.modeling.language_model import LanguageModel
from bessemer.modeling.tokenizer import Tokenizer
from torch import Tensor

from serve_svc.engine.answer import Answer
from serve_svc.engine.protocol import Abort, Message, Ping, Pong, Sampling, failure
from serve_svc.engine.sampler import choose
from serve_svc.engine.slots import Slots

__all__ = ["Arrival", "Loop", "answer_tokens"]

ANSWER_TOKENS_DEFAULT = 256  # as SamplingParams.max_tokens promises


@dataclass(frozen=True, slots=True)
class Arrival:
    """A tokenised request; its prompt and its longest answer fit into a slot."""

    id: str
    prompt_ids: Sequence[int]
    sampling: Sampling
    num_tokens_max: int


class Loop:
    """Runs on one thread; others reach it through its inbox only."""

    def __init__(
        self,
        model: LanguageModel,
        cache: Cache,
        slots: Slots,
        tokenizer: Tokenizer,
        *,
        send: Callable[[Sequence[Message]], None],
        clock: Clock,
    ) -> None:
        self.inbox: queue.SimpleQueue[Arrival | Abort | Ping | None] = queue.SimpleQueue()
        self._model = model
        self._cache = cache
        self._slots = slots
        self._decode = tokenizer.decode
        self._eos_ids = tokenizer.eos_ids | model.config.eos_ids
        self._send = send
        self._clock = clock

    def run(self) -> None:
        """Turn until None arrives."""
        while True:
            try:
                message = self.inbox.get(block=not self._slots.busy)
            except queue.Empty:
                self.step()
                continue
            if message is None:
                return
            self.take(message)

    def take(self, message: Arrival | Abort | Ping) -> None:
        """Act on one message."""
        match message:
            case Abort(id=request_id):
                self._slots.remove(request_id)
            case Ping(id=request_id):
                self._send([Pong(request_id)])
            case Arrival(id=request_id) if self._slots.full:
                text = "too many requests wait for this model; try again in some seconds"
                self._send([failure(request_id, LimitReached(text, retry_after_s=2))])
            case Arrival(id=request_id, prompt_ids=ids, sampling=sampling, num_tokens_max=limit):
                self._slots.add(Answer(request_id, ids, sampling, num_tokens_max=limit, decode=self._decode))

    def step(self) -> None:
        """Prefill a budget of prompt tokens and continue every answer by one token."""
        while (place := self._slots.admit()) is not None:
            self._cache.reset(place.slot, place.num_shared)
            if place.source != place.slot:
                self._cache.copy_prefix(place.source, place.slot, place.num_shared)
        step = self._slots.plan()
        if step.prefill:
            slots = [chunk.slot for chunk in step.prefill]
            prompts = [self._slots.answer(chunk.id).prompt_ids[chunk.start : chunk.stop] for chunk in step.prefill]
            logits = prefill(self._model, self._cache, slots, prompts)
            last = [index for index, chunk in enumerate(step.prefill) if chunk.last]
            self._advance([step.prefill[index].id for index in last], logits[last])
        if step.decode:
            slots = [self._slots.slot(request_id) for request_id in step.decode]
            tokens = [self._slots.answer(request_id).token_ids[-1] for request_id in step.decode]
            self._advance(step.decode, decode_step(self._model, self._cache, slots, tokens))

    def _advance(self, request_ids: Sequence[str], logits: Tensor) -> None:
        answers = [self._slots.answer(request_id) for request_id in request_ids]
        tokens = choose([answer.sampler for answer in answers], logits)
        now_s = self._clock.monotonic()
        pieces = []
        for answer, token in zip(answers, tokens, strict=True):
            if answer.take(token, self._eos_ids):
                self._slots.remove(answer.id)
            piece = answer.piece(now_s)
            if piece is not None:
                pieces.append(piece)
        if pieces:
            self._send(pieces)


def answer_tokens(num_prompt: int, max_tokens: int | None, context_length: int) -> int:
    """Return how long the answer may get.

    Raises: InvalidRequest CONTEXT_TOO_LONG if the prompt, or the prompt with the tokens asked for, does not fit.
    """
    room = context_length - num_prompt
    wanted = 1 if max_tokens is None else max_tokens
    if wanted > room:
        raise InvalidRequest(
            f"the prompt has {num_prompt} tokens and the answer may have {wanted}, but this model's context is "
            f"{context_length} tokens; shorten the prompt or ask for at most {max(room, 0)} tokens",
            reason="CONTEXT_TOO_LONG",
            field="prompt" if room < 1 else "sampling.max_tokens",
        )
    return min(ANSWER_TOKENS_DEFAULT, room) if max_tokens is None else max_tokens
