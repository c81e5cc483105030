"""Engines as child processes, one per deployment, spoken to over a socket pair."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias, TypeVar

from bessemer.kernel.errors import BessemerError, Internal, Unavailable
from bessemer.kernel.ids import id_of
from bessemer.svckit import log

from serve_svc.adapters.child_process import end_child, start_child
from serve_svc.adapters.lacking import Lacking
from serve_svc.config import EngineConfig
from serve_svc.engine.protocol import (
    LINE_BYTES_MAX,
    Abort,
    AdapterChanged,
    Count,
    Counted,
    Detokenize,
    Detokenized,
    Embed,
    Embedded,
    Failed,
    Generate,
    Load,
    LoadAdapter,
    Message,
    Piece,
    Ping,
    Pong,
    Prompt,
    Ready,
    Sampling,
    Score,
    Scored,
    Tokenize,
    Tokenized,
    UnloadAdapter,
    decode,
    encode,
)

__all__ = ["EngineProcess", "EngineProcesses"]

M = TypeVar("M", bound=Message)
_Question: TypeAlias = Count | Tokenize | Detokenize | Score | Embed | Ping | LoadAdapter | UnloadAdapter

# Engines need no settings and get no secrets, only two habits of their libraries are broken. Threads that wait for each
# other by spinning multiply the cost of a step by six once a training worker wants the same cores. Huge pages make the
# first tokens in a slot touch its whole memory: 3 s of work and 400 MB for a prompt of 20 tokens.
_ENVIRONMENT = {
    "PATH": os.defpath,
    "LANG": "C.UTF-8",
    "OMP_WAIT_POLICY": "PASSIVE",
    "NUMPY_MADVISE_HUGEPAGE": "0",
}


class EngineProcesses:
    """Starts engine processes."""

    def __init__(self, config: EngineConfig, logs_folder: Path) -> None:
        self._config = config
        self._logs_folder = logs_folder

    async def start(self, deployment: str, folder: Path, precision: str) -> EngineProcess:
        """Start a process and wait until it has loaded the model.

        Raises: the engine's own error; Internal if it ends or takes too long.
        """
        log_file = self._logs_folder / f"{id_of(deployment)}.log"
        child = await start_child("serve_svc.engine", log_file, _ENVIRONMENT, limit=LINE_BYTES_MAX)
        engine = EngineProcess(deployment, *child)
        try:
            async with asyncio.timeout(self._config.load_timeout_s):
                await engine.load(self._load(folder, precision))
        except TimeoutError:
            await engine.close()
            raise Internal(f"the engine did not load its model within {self._config.load_timeout_s:.0f} s") from None
        except BaseException:
            await engine.close()
            raise
        return engine

    def _load(self, folder: Path, precision: str) -> Load:
        config = self._config
        return Load(
            folder=str(folder),
            threads=config.threads,
            num_slots=config.num_slots,
            num_waiting_max=config.num_waiting_max,
            kv_bytes_max=config.kv_bytes_max,
            prefill_tokens_max=config.prefill_tokens_max,
            num_sequences=config.num_sequences,
            precision=precision,
        )


class EngineProcess(Lacking):
    """One engine; replies find their request by its id."""

    what = "this endpoint answers prompts and"

    def __init__(
        self,
        deployment: str,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.context_length = self.capacity = 0
        self.kind = self.precision = self.tool_format = ""
        self._deployment = deployment
        self._process = process
        self._reader = reader
        self._writer = writer
        self._replies: dict[str, asyncio.Queue[Message | None]] = {}  # None: the engine has ended
        self._numbers = itertools.count(1)
        self._listener: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    async def load(self, load: Load) -> None:
        """Send the first message and wait for the answer to it.

        Raises: the engine's own error; Internal if it ends.
        """
        await self._send(load)
        line = await self._reader.readline()
        if not line:
            code = await self._process.wait()
            raise Internal(f"the engine ended while it loaded the model, {_ending(code)}; its log says more")
        reply = decode(line)
        if isinstance(reply, Failed):
            raise reply.error()
        assert isinstance(reply, Ready)
        self.context_length, self.tool_format = reply.context_length, reply.tool_format
        self.kind, self.precision = reply.engine, reply.precision
        self.capacity = load.num_sequences if reply.engine == "openvino" else load.num_slots
        if reply.note:
            log.warning("engine_choice", deployment=self._deployment, engine=reply.engine, note=reply.note)
        self._listener = asyncio.create_task(self._listen())

    async def generate(
        self, prompt: Prompt, sampling: Sampling, request_id: str = "", adapter: str = ""
    ) -> AsyncGenerator[Piece, None]:
        """Yield pieces of the answer; closing the generator early frees the slot."""
        request_id, finished = request_id or self._next_id(), False
        replies = self._replies[request_id] = asyncio.Queue()
        try:
            await self._send(Generate(request_id, prompt, sampling, adapter))
            while not finished:
                piece = self._checked(await replies.get())
                assert isinstance(piece, Piece)
                finished = bool(piece.finish)
                yield piece
        except BessemerError:
            finished = True  # nothing is left to abort
            raise
        finally:
            del self._replies[request_id]
            if not finished and not self._writer.is_closing():
                self._writer.write(encode(Abort(request_id)))

    async def abort(self, request_id: str) -> None:
        """End an answer, whose last piece then finishes with `abort`; an unknown one is ignored."""
        await self._send(Abort(request_id))

    async def load_adapter(self, name: str, folder: str) -> None:
        """Take in low-rank adapters under a name; one of the same name is replaced."""
        await self._ask(LoadAdapter(self._next_id(), name, folder), AdapterChanged)

    async def unload_adapter(self, name: str) -> None:
        """Forget adapters; a name that is not loaded is ignored."""
        await self._ask(UnloadAdapter(self._next_id(), name), AdapterChanged)

    async def count_tokens(self, prompt: Prompt) -> int:
        """Return the number of tokens of a rendered prompt."""
        return (await self._ask(Count(self._next_id(), prompt), Counted)).tokens

    async def tokenize(self, prompt: Prompt) -> Tokenized:
        """Return the tokens of a rendered prompt."""
        return await self._ask(Tokenize(self._next_id(), prompt), Tokenized)

    async def detokenize(self, token_ids: Sequence[int]) -> str:
        """Return the text of tokens."""
        return (await self._ask(Detokenize(self._next_id(), tuple(token_ids)), Detokenized)).text

    async def score(self, prompt: Prompt, continuations: Sequence[str], logprobs: int) -> Scored:
        """Return the log-probabilities of continuations, with so many alternatives at each place."""
        return await self._ask(Score(self._next_id(), prompt, tuple(continuations), logprobs), Scored)

    async def embed(self, texts: Sequence[str]) -> Embedded:
        """Return one vector per text."""
        return await self._ask(Embed(self._next_id(), tuple(texts)), Embedded)

    async def responds(self, timeout_s: float) -> bool:
        """Say whether the engine's loop answers in time; an engine that has ended does not."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._ask(Ping(self._next_id()), Pong)
                return True
        except (TimeoutError, Unavailable):
            return False

    async def ended(self, timeout_s: float) -> bool:
        """Wait until the engine has ended, at most so long, and say whether it has."""
        assert self._listener is not None
        await asyncio.wait([self._listener], timeout=timeout_s)
        return self._listener.done()

    async def close(self) -> None:
        """End the process by force: it has nothing to save."""
        await end_child(self._process, self._writer, self._listener)

    async def _listen(self) -> None:
        try:
            with suppress(ConnectionError):
                while line := await self._reader.readline():
                    message = decode(line)
                    assert not isinstance(message, Load | Ready)
                    if message.id in self._replies:
                        self._replies[message.id].put_nowait(message)
        finally:
            self._writer.close()
            for replies in self._replies.values():
                replies.put_nowait(None)

    async def _ask(self, message: _Question, kind: type[M]) -> M:
        """Send a message and wait for its one reply; a caller that goes away meanwhile gives its place free."""
        replies, answered = self._replies.setdefault(message.id, asyncio.Queue()), False
        try:
            await self._send(message)
            reply = await replies.get()
            answered = True
        finally:
            del self._replies[message.id]
            if not answered and not self._writer.is_closing():
                self._writer.write(encode(Abort(message.id)))
        reply = self._checked(reply)
        assert isinstance(reply, kind)
        return reply

    async def _send(self, message: Message) -> None:
        if self._writer.is_closing():
            raise self._gone()
        self._writer.write(encode(message))
        try:
            await self._writer.drain()
        except ConnectionError:
            raise self._gone() from None

    def _checked(self, message: Message | None) -> Message:
        if message is None:
            raise self._gone()
        if isinstance(message, Failed):
            raise message.error()
        return message

    def _gone(self) -> Unavailable:
        text = f"the engine of {self._deployment} ended and is started again; repeat the request in some seconds"
        return Unavailable(text, reason="MODEL_LOADING", resource=self._deployment, retry_after_s=2)

    def _next_id(self) -> str:
        return str(next(self._numbers))


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    name = signal.Signals(-code).name
    return f"{name}, perhaps for want of memory" if -code == signal.SIGKILL else name
