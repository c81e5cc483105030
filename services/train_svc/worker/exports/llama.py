"""A GGUF file as llama.cpp runs it."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import llama_cpp
import numpy as np
from bessemer.kernel.errors import FailedPrecondition
from bessemer.modeling.chat import ChatTemplate, Message
from bessemer.modeling.parity.compare import Array, Special

__all__ = ["LlamaSubject"]

_F16, _F32 = 1, 0  # ggml types of the cache
_BATCH = 512


class LlamaSubject:
    """llama.cpp with everything it takes from the file: tokenizer, template, special tokens.

    Prompts go the way of its server: the template's text is read with special tokens recognised, and with the begin
    token in front if the file asks for one.
    """

    def __init__(self, path: Path, precision: str, *, threads: int = 1) -> None:
        self.runtime = f"llama.cpp (llama-cpp-python {version('llama-cpp-python')})"
        kind = _F32 if precision == "fp32" else _F16
        try:
            self._llama = llama_cpp.Llama(
                str(path), n_ctx=_BATCH, n_batch=_BATCH, n_ubatch=_BATCH, logits_all=True, verbose=False, seed=0,
                n_threads=threads, n_threads_batch=threads, type_k=kind, type_v=kind,
            )  # fmt: skip
        except ValueError as error:
            raise FailedPrecondition(f"llama.cpp does not load the file: {error}", reason="PARITY_FAILED") from None
        self._vocab = llama_cpp.llama_model_get_vocab(self._llama.model)
        self._size = int(llama_cpp.llama_vocab_n_tokens(self._vocab))
        source = self._llama.metadata.get("tokenizer.chat_template")
        begin, end = (self._text(i) for i in (self._llama.token_bos(), self._llama.token_eos()))
        self._template = None if source is None else ChatTemplate(source, {"bos_token": begin, "eos_token": end})

    def vocabulary(self) -> Sequence[str]:
        """Return the token of every id, those that only fill up left out."""
        unused = llama_cpp.LLAMA_TOKEN_ATTR_UNUSED
        used = [i for i in range(self._size) if not llama_cpp.llama_vocab_get_attr(self._vocab, i) & unused]
        return [self._text(i) for i in used]

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text and nothing around it."""
        return self._tokenize(text, around=False)

    def prompt(self, text: str) -> list[int]:
        """Return the ids of a text with what the file wants in front."""
        return self._tokenize(text, around=True)

    def chat(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> list[int]:
        """Return the ids of a conversation.

        Raises: FailedPrecondition without a template; InvalidRequest if it refuses the conversation.
        """
        if self._template is None:
            raise FailedPrecondition("the file has no chat template", reason="PARITY_FAILED")
        return self._tokenize(self._template.render(messages, add_generation_prompt=add_generation_prompt), around=True)

    def special(self) -> Special:
        """Return the special tokens as the file states them; sampling settings are not part of it."""
        keys = ("eos", "eot", "eom")
        stated = (self._llama.metadata.get(f"tokenizer.ggml.{key}_token_id") for key in keys)
        begin = self._llama.metadata.get("tokenizer.ggml.bos_token_id")
        ends = frozenset(int(i) for i in stated if i is not None)
        control = llama_cpp.LLAMA_TOKEN_ATTR_CONTROL
        stops = (i for i in range(self._size) if llama_cpp.llama_vocab_is_eog(self._vocab, i))
        also = frozenset(i for i in stops if llama_cpp.llama_vocab_get_attr(self._vocab, i) & control) - ends
        return Special(None if begin is None else int(begin), ends, None, also)

    def logits(self, ids: Sequence[int]) -> Array:
        """Return the logits after each token, [T, V]."""
        self._llama.n_tokens = 0
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._llama.ctx), True)
        self._llama.eval(list(ids))
        return np.array(self._llama.scores[: len(ids)])

    def generate(self, ids: Sequence[int], new_tokens: int) -> list[int]:
        """Return the greedy continuation, up to the first token at which llama.cpp stops."""
        logits = self.logits(ids)
        written: list[int] = []
        while True:
            written.append(int(logits[-1].argmax()))
            if len(written) == new_tokens or llama_cpp.llama_vocab_is_eog(self._vocab, written[-1]):
                return written
            self._llama.eval(written[-1:])
            logits = self._llama.scores[self._llama.n_tokens - 1 : self._llama.n_tokens]

    def _tokenize(self, text: str, *, around: bool) -> list[int]:
        data = text.encode()
        room = len(data) + 8
        buffer = (ctypes.c_int32 * room)()
        count = llama_cpp.llama_tokenize(self._vocab, data, len(data), buffer, room, around, True)
        assert count >= 0
        return list(buffer[:count])

    def _text(self, token: int) -> str:
        if token < 0:
            return ""
        return str(llama_cpp.llama_vocab_get_text(self._vocab, token).decode("utf-8", "replace"))
