"""The engine's loop: take what arrived, compute one step, send what became certain."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bessemer.kernel.clock import Clock
from bessemer.kernel.errors import BessemerError, FailedPrecondition, InvalidRequest, LimitReached, NotFound
from bessemer.modeling.tokenizer import Tokenizer
from torch import Tensor

from serve_svc.engine.answer import Answer
from serve_svc.engine.constraint import Matcher
from serve_svc.engine.decoder import Decoder, Run
from serve_svc.engine.protocol import (
    Abort,
    AdapterChanged,
    LoadAdapter,
    Message,
    Ping,
    Pong,
    Sampling,
    UnloadAdapter,
    failure,
)
from serve_svc.engine.sampler import choose
from serve_svc.engine.slots import Slots
from serve_svc.engine.text import TokenBytes, keeping
from serve_svc.engine.tools import MARKERS

__all__ = ["Arrival", "Inbox", "Loop", "Work", "answer_tokens"]

ANSWER_TOKENS_DEFAULT = 256  # as SamplingParams.max_tokens promises
WORK_MAX = 128  # requests that are no answers and wait


@dataclass(frozen=True, slots=True)
class Arrival:
    """A tokenised request; its prompt and its longest answer fit into a slot."""

    id: str
    prompt_ids: Sequence[int]
    sampling: Sampling
    num_tokens_max: int
    matcher: Matcher | None = None
    adapter: str = ""


@dataclass(frozen=True, slots=True)
class Work:
    """A request that is no answer: each step of `steps` is computed between two steps of the answers."""

    id: str
    steps: Iterator[Message | None]  # the reply last


Inbox = queue.SimpleQueue[Arrival | Work | LoadAdapter | UnloadAdapter | Abort | Ping | None]


class Loop:
    """Runs on one thread; others reach it through its inbox only."""

    def __init__(
        self,
        decoder: Decoder,
        slots: Slots,
        tokenizer: Tokenizer,
        *,
        eos_ids: frozenset[int],
        send: Callable[[Sequence[Message]], None],
        clock: Clock,
    ) -> None:
        self.inbox: Inbox = queue.SimpleQueue()
        self._work: deque[Work] = deque()
        self._adapters: dict[str, str] = {}  # what the decoder calls those that requests name
        self._num_adapters = 0
        self._decoder = decoder
        self._slots = slots
        self._decode = keeping(tokenizer.decode, tokenizer.special_among(MARKERS))
        self._logprob = TokenBytes(tokenizer.token_bytes).logprob
        self._eos_ids = eos_ids
        self._send = send
        self._clock = clock

    def run(self) -> None:
        """Turn until None arrives."""
        while True:
            try:
                message = self.inbox.get(block=not (self._slots.busy or self._work))
            except queue.Empty:
                self.step()
                continue
            if message is None:
                return
            self.take(message)

    def take(self, message: Arrival | Work | LoadAdapter | UnloadAdapter | Abort | Ping) -> None:
        """Act on one message."""
        match message:
            case Abort(id=request_id):
                self._abort(request_id)
            case Ping(id=request_id):
                self._send([Pong(request_id)])
            case Arrival(id=request_id) | Work(id=request_id) if self._slots.full or len(self._work) >= WORK_MAX:
                text = "too many requests wait for this model; try again in some seconds"
                self._send([failure(request_id, LimitReached(text, retry_after_s=2))])
            case Work():
                self._work.append(message)
            case LoadAdapter() | UnloadAdapter():
                self._change(message)
            case Arrival(id=request_id, adapter=adapter) if adapter and adapter not in self._adapters:
                self._send([failure(request_id, NotFound(f"no adapter {adapter} is loaded", field="adapter"))])
            case Arrival(id=request_id, prompt_ids=ids, sampling=sampling, num_tokens_max=limit, matcher=matcher):
                answer = Answer(
                    request_id,
                    ids,
                    sampling,
                    num_tokens_max=limit,
                    decode=self._decode,
                    matcher=matcher,
                    adapter=self._adapters.get(message.adapter, ""),
                    arrived_s=self._clock.monotonic(),
                )
                self._slots.add(answer)

    def _abort(self, request_id: str) -> None:
        self._work = deque(work for work in self._work if work.id != request_id)
        answer = self._slots.remove(request_id)
        if answer is not None:
            answer.abort()
            self._send([piece for piece in (answer.piece(self._clock.monotonic()),) if piece is not None])

    def step(self) -> None:
        """Prefill a budget of prompt tokens, continue every answer by one token, do one step of other work."""
        if self._work:
            self._do(self._work.popleft())
        while (place := self._slots.admit()) is not None:
            self._decoder.place(place)
            self._slots.holder(place.slot).start(self._clock.monotonic())
        step = self._slots.plan()
        runs, advanced = [], []
        for chunk in step.prefill:
            tokens = self._slots.answer(chunk.id).prompt_ids[chunk.start : chunk.stop]
            runs.append(Run(chunk.slot, tokens, chunk.last, self._slots.answer(chunk.id).adapter))
            advanced += [chunk.id] if chunk.last else []
        for request_id in step.decode:
            answer = self._slots.answer(request_id)
            runs.append(Run(self._slots.slot(request_id), answer.token_ids[-1:], True, answer.adapter))
        if runs:
            self._advance([*advanced, *step.decode], self._decoder.step(runs))

    def _change(self, message: LoadAdapter | UnloadAdapter) -> None:
        """Load or forget an adapter; keys are never used again, as cached text was computed with what they meant."""
        try:
            held = self._adapters.get(message.name)
            if held is not None and self._slots.uses(held):
                text = f"answers are being given with adapter {message.name}; wait for their end"
                raise FailedPrecondition(text, reason="RESOURCE_IN_USE")
            if isinstance(message, LoadAdapter):
                self._num_adapters += 1
                key = f"{message.name}#{self._num_adapters}"
                self._decoder.load_adapter(key, Path(message.folder))
                self._adapters[message.name] = key
            else:
                self._adapters.pop(message.name, None)
            if held is not None:
                self._decoder.drop_adapter(held)
            self._send([AdapterChanged(message.id)])
        except BessemerError as error:
            self._send([failure(message.id, error)])

    def _do(self, work: Work) -> None:
        try:
            reply = next(work.steps)
        except BessemerError as error:
            reply = failure(work.id, error)
        if reply is None:
            self._work.append(work)
        else:
            self._send([reply])

    def _advance(self, request_ids: Sequence[str], logits: Tensor) -> None:
        answers = [self._slots.answer(request_id) for request_id in request_ids]
        choices = choose([answer.sampler for answer in answers], logits)
        now_s = self._clock.monotonic()
        pieces: list[Message] = []
        for answer, choice in zip(answers, choices, strict=True):
            if isinstance(choice, BessemerError):
                self._slots.remove(answer.id)
                pieces.append(failure(answer.id, choice))
                continue
            token, found, ended = choice
            logprob = None if found is None else self._logprob(token, *found)
            if answer.take(token, self._eos_ids, logprob=logprob, ended=ended):
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
