"""`python -m serve_svc.engine FD`: serve one model over the inherited socket until the server goes away."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from bessemer.kernel.clock import SystemClock
from bessemer.kernel.errors import BessemerError
from bessemer.kernel.processes import die_with_parent
from bessemer.modeling.numerics import prepare
from bessemer.modeling.tokenizer import Tokenizer

from serve_svc.engine.assemble import assemble
from serve_svc.engine.constraint import Grammars
from serve_svc.engine.front import Front
from serve_svc.engine.loop import Loop
from serve_svc.engine.protocol import Load, Message, Ready, decode, encode, failure
from serve_svc.engine.tools import MARKERS, format_of


def main(fd: int) -> None:
    """Load, say so, then answer until the other end of the socket closes."""
    die_with_parent()
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


def _build(load: Load, send: _Sender) -> tuple[Loop, Front, Ready]:
    numerics = prepare(load.threads)
    tokenizer = Tokenizer.from_folder(Path(load.folder))
    engine = assemble(load, tokenizer, fastest=numerics.name)
    eos_ids = tokenizer.eos_ids | engine.config.eos_ids
    loop = Loop(engine.decoder, engine.slots, tokenizer, eos_ids=eos_ids, send=send, clock=SystemClock())
    tool_format = format_of(tokenizer.template.source if tokenizer.template else "")
    grammars = Grammars(
        tokenizer.backend.to_str(),
        vocab_size=engine.config.vocab_size,
        eos_ids=eos_ids,
        tool_format=tool_format,
        marker_ids={text: token for token, text in tokenizer.special_among(MARKERS).items()},
    )
    length, choice = engine.context_length, engine.choice
    front = Front(engine.model, tokenizer, grammars, context_length=length, inbox=loop.inbox, send=send)
    return loop, front, Ready(length, tool_format, choice.engine, choice.precision, choice.note)


class _Sender:
    """Writes whole messages from either thread."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def __call__(self, messages: Sequence[Message]) -> None:
        data = b"".join(encode(message) for message in messages)
        with self._lock:
            self._connection.sendall(data)


if __name__ == "__main__":
    main(int(sys.argv[1]))
