"""Reads what the server asks and makes tokens of it, on a thread of its own: long prompts hold up no running answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from bessemer.kernel.errors import BessemerError, InvalidRequest
from bessemer.modeling.language_model import LanguageModel
from bessemer.modeling.tokenizer import Tokenizer

from serve_svc.engine import tools
from serve_svc.engine.constraint import Grammars
from serve_svc.engine.loop import Arrival, Inbox, Work, answer_tokens
from serve_svc.engine.protocol import (
    Abort,
    Count,
    Counted,
    Detokenize,
    Detokenized,
    Embed,
    Generate,
    LoadAdapter,
    Message,
    Ping,
    Prompt,
    Score,
    Tokenize,
    Tokenized,
    UnloadAdapter,
    decode,
    failure,
)
from serve_svc.engine.text import TokenBytes
from serve_svc.engine.work import embed, score

__all__ = ["Front", "prompt_tokens"]


class Front:
    """Answers what needs no model at once, and hands the rest to the loop."""

    def __init__(
        self,
        model: Callable[[], LanguageModel],
        tokenizer: Tokenizer,
        grammars: Grammars,
        *,
        context_length: int,
        inbox: Inbox,
        send: Callable[[Sequence[Message]], None],
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._grammars = grammars
        self._names = TokenBytes(tokenizer.token_bytes)
        self._context_length = context_length
        self._inbox = inbox
        self._send = send

    def read(self, lines: BinaryIO) -> None:
        """Take messages until the server closes its end."""
        try:
            for line in lines:
                self.take(decode(line))
        finally:
            self._inbox.put(None)

    def take(self, message: Message) -> None:
        """Act on one message."""
        if isinstance(message, Abort | Ping | LoadAdapter | UnloadAdapter):
            self._inbox.put(message)
            return
        assert isinstance(message, Generate | Count | Tokenize | Detokenize | Score | Embed)
        try:
            self._answer(message)
        except BessemerError as error:
            self._send([failure(message.id, error)])

    def _answer(self, message: Generate | Count | Tokenize | Detokenize | Score | Embed) -> None:
        match message:
            case Generate():
                self._inbox.put(self._arrival(message))
            case Count():
                self._send([Counted(message.id, len(prompt_tokens(self._tokenizer, message.prompt)))])
            case Tokenize():
                ids = prompt_tokens(self._tokenizer, message.prompt)
                self._send([Tokenized(message.id, tuple(ids), tuple(map(self._names.hex, ids)))])
            case Detokenize():
                known = range(self._tokenizer.vocab_size)
                if unknown := [token for token in message.token_ids if token not in known]:
                    raise InvalidRequest(f"there is no token {unknown[0]} in this vocabulary", field="token_ids")
                self._send([Detokenized(message.id, self._tokenizer.decode(message.token_ids))])
            case Score():
                self._inbox.put(Work(message.id, self._score(message)))
            case Embed():
                texts = [self._text(text, f"texts[{index}]") for index, text in enumerate(message.texts)]
                self._inbox.put(Work(message.id, embed(self._model(), message.id, texts)))

    def _arrival(self, message: Generate) -> Arrival:
        ids, sampling = prompt_tokens(self._tokenizer, message.prompt), message.sampling
        num_answer_max = answer_tokens(len(ids), sampling.max_tokens, self._context_length)
        constraint, matcher = sampling.constraint, None
        if constraint is not None:
            matcher = self._grammars.matcher(constraint, message.prompt.tools)
        return Arrival(message.id, ids, sampling, num_answer_max, matcher, message.adapter)

    def _score(self, message: Score) -> Iterator[Message | None]:
        empty = not (message.prompt.turns or message.prompt.text)
        ids = self._tokenizer.encode("", special=True) if empty else prompt_tokens(self._tokenizer, message.prompt)
        continuations = [
            self._text(text, f"continuations[{index}]") for index, text in enumerate(message.continuations)
        ]
        return score(self._model(), message.id, ids, continuations, num_top=message.logprobs, names=self._names)

    def _text(self, text: str, field: str) -> list[int]:
        ids = self._tokenizer.encode(text)
        if not ids:
            raise InvalidRequest(f"{field} is empty", field=field)
        return ids


def prompt_tokens(tokenizer: Tokenizer, prompt: Prompt) -> list[int]:
    """Return the tokens of a prompt.

    Raises: InvalidRequest if it is empty, or if the chat template refuses it; FailedPrecondition without a template.
    """
    if not prompt.turns:
        ids = tokenizer.encode(prompt.text, special=True)
        if not ids:
            raise InvalidRequest("the prompt is empty; give messages or text", field="prompt")
        return ids
    template = tokenizer.template
    if template is not None and not template.reads_tools:
        return tokenizer.render_chat(tools.to_messages(tools.described(prompt.turns, prompt.tools)))
    return tokenizer.render_chat(tools.to_messages(prompt.turns), tools=tools.schemas(prompt.tools))
