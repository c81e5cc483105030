"""`python -m serve_svc.engine FD`: serve one model over the inherited socket until the server goes away."""

from __future__ import annotations

import ctypes
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from bessemer.kernel.clock import SystemClock
from bessemer.kernel.errors import BessemerError, InvalidRequest
from bessemer.modeling.generate import open_cache, token_bytes
from bessemer.modeling.load import load_model
from bessemer.modeling.numerics import prepare
from bessemer.modeling.tokenizer import Tokenizer

from serve_svc.engine.loop import Arrival, Loop, answer_tokens
from serve_svc.engine.protocol import (
    Abort,
    Count,
    Counted,
    Generate,
    Load,
    Message,
    Ping,
    Prompt,
    Ready,
    decode,
    encode,
    failure,
)
from serve_svc.engine.slots import Slots

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(fd: int) -> None:
    """Load, say so, then answer until the other end of the socket closes."""
    _die_with_parent()
    connection = socket.socket(fileno=fd)
    lines = connection.makefile("rb")
    line = lines.readline()
    if not line:
        return  # the server ended while we were starting
    load = decode(line)
    assert isinstance(load, Load)
    send = _Sender(connection)
    try:
        loop, front, ready = _build(load, send)
    except BessemerError as error:
        send([failure("", error)])
        return
    send([ready])
    threading.Thread(target=front.read, args=(lines,), name="front", daemon=True).start()
    loop.run()


def _build(load: Load, send: _Sender) -> tuple[Loop, _Front, Ready]:
    prepare(load.threads, "fp32")
    folder = Path(load.folder)
    model = load_model(folder)
    tokenizer = Tokenizer.from_folder(folder)
    # Memory is taken as slots fill up, so short conversations never use the whole allowance.
    slot_tokens = load.kv_bytes_max // token_bytes(model) // load.num_slots
    context_length = min(model.config.context_length, slot_tokens)
    if context_length < 1:
        raise InvalidRequest(f"a cache of {load.kv_bytes_max} bytes cannot hold a token of this model in every slot")
    cache = open_cache(model, slots=load.num_slots, max_length=context_length)
    slots = Slots(
        num_slots=load.num_slots, num_waiting_max=load.num_waiting_max, prefill_tokens_max=load.prefill_tokens_max
    )
    loop = Loop(model, cache, slots, tokenizer, send=send, clock=SystemClock())
    return loop, _Front(tokenizer, context_length, loop, send), Ready(context_length)


class _Sender:
    """Writes whole messages from either thread."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def __call__(self, messages: Sequence[Message]) -> None:
        data = b"".join(encode(message) for message in messages)
        with self._lock:
            self._connection.sendall(data)


class _Front:
    """Reads messages and tokenises on a thread of its own, so that long prompts do not hold up running answers."""

    def __init__(self, tokenizer: Tokenizer, context_length: int, loop: Loop, send: _Sender) -> None:
        self._tokenizer = tokenizer
        self._context_length = context_length
        self._loop = loop
        self._send = send

    def read(self, lines: BinaryIO) -> None:
        """Take messages until the server closes its end."""
        try:
            for line in lines:
                self._take(decode(line))
        finally:
            self._loop.inbox.put(None)

    def _take(self, message: Message) -> None:
        if isinstance(message, Abort | Ping):
            self._loop.inbox.put(message)
            return
        assert isinstance(message, Generate | Count)
        try:
            ids = self._tokens(message.prompt)
            if isinstance(message, Count):
                self._send([Counted(message.id, len(ids))])
                return
            sampling = message.sampling
            num_answer_max = answer_tokens(len(ids), sampling.max_tokens, self._context_length)
            self._loop.inbox.put(Arrival(message.id, ids, sampling, num_answer_max))
        except BessemerError as error:
            self._send([failure(message.id, error)])

    def _tokens(self, prompt: Prompt) -> list[int]:
        if prompt.turns:
            turns = [{"role": turn.role, "content": turn.content} for turn in prompt.turns]
            return self._tokenizer.render_chat(turns, add_generation_prompt=True)
        ids = self._tokenizer.encode(prompt.text, special=True)
        if not ids:
            raise InvalidRequest("the prompt is empty; give messages or text", field="prompt")
        return ids


def _die_with_parent() -> None:
    """Have the kernel end this process when the server's thread that started it ends, however that happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
