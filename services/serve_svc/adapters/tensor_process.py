"""ONNX models as child processes, one per deployment, spoken to over a socket pair."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bessemer.kernel.errors import Internal, LimitReached, Unavailable
from bessemer.kernel.ids import id_of

from serve_svc.adapters.child_process import end_child, start_child
from serve_svc.adapters.lacking import Lacking
from serve_svc.config import EngineConfig
from serve_svc.engine.tensor_protocol import HEAD, Spec, Tensor, error_of, frame, pack, unpack

__all__ = ["TensorProcess", "TensorProcesses"]

_ENVIRONMENT = {"PATH": os.defpath, "LANG": "C.UTF-8", "OMP_WAIT_POLICY": "PASSIVE"}


class TensorProcesses:
    """Starts engines for tensors."""

    def __init__(self, config: EngineConfig, logs_folder: Path) -> None:
        self._config = config
        self._logs_folder = logs_folder

    async def start(self, deployment: str, folder: Path) -> TensorProcess:
        """Start a process and wait until it has loaded the model.

        Raises: FailedPrecondition if ONNX Runtime does not take it; Internal if the process ends or takes too long.
        """
        log_file = self._logs_folder / f"{id_of(deployment)}.log"
        child = await start_child("serve_svc.engine.tensors", log_file, _ENVIRONMENT, limit=1 << 16)
        engine = TensorProcess(deployment, *child, config=self._config)
        try:
            async with asyncio.timeout(self._config.load_timeout_s):
                await engine.load(folder)
        except TimeoutError:
            await engine.close()
            raise Internal(f"the model did not load within {self._config.load_timeout_s:.0f} s") from None
        except BaseException:
            await engine.close()
            raise
        return engine


class TensorProcess(Lacking):
    """One model; requests are computed one after the other."""

    kind, precision, tool_format, what = "onnxruntime", "", "hermes", "this endpoint serves tensors and"
    context_length, capacity = 0, 1

    def __init__(
        self,
        deployment: str,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        config: EngineConfig,
    ) -> None:
        self._deployment = deployment
        self._process = process
        self._reader = reader
        self._writer = writer
        self._config = config
        self._specs: tuple[Sequence[Spec], Sequence[Spec]] = ((), ())
        self._replies: dict[int, asyncio.Future[tuple[Mapping[str, Any], bytes]]] = {}
        self._numbers = itertools.count(1)
        self._listener: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    async def load(self, folder: Path) -> None:
        """Send the first frame and wait for the answer to it.

        Raises: the engine's own error; Internal if it ends.
        """
        self._writer.write(frame({"folder": str(folder), "threads": self._config.threads}))
        try:
            header, _ = await self._read()
        except (asyncio.IncompleteReadError, ConnectionError):
            raise Internal("the engine ended while it loaded the model; its log says more") from None
        if "error" in header:
            raise error_of(header["error"])
        inputs, outputs = (
            tuple(Spec(one["name"], one["datatype"], tuple(one["shape"])) for one in header[side])
            for side in ("inputs", "outputs")
        )
        self._specs = inputs, outputs
        self._listener = asyncio.create_task(self._listen())

    def tensors(self) -> tuple[Sequence[Spec], Sequence[Spec]]:
        """Return what the model takes and gives."""
        return self._specs

    async def infer(self, tensors: Sequence[Tensor], wanted: Sequence[str]) -> Sequence[Tensor]:
        """Compute tensors."""
        if len(self._replies) >= self._config.num_waiting_max:
            raise LimitReached("too many requests wait for this model; try again in some seconds", retry_after_s=2)
        number, specs, body = next(self._numbers), *pack(tensors)
        reply = self._replies[number] = asyncio.get_running_loop().create_future()
        try:
            if self._writer.is_closing():
                raise self._gone()
            self._writer.write(frame({"id": number, "tensors": specs, "wanted": list(wanted)}, body))
            await self._writer.drain()
            header, data = await reply
        except ConnectionError:
            raise self._gone() from None
        finally:
            del self._replies[number]
        if "error" in header:
            raise error_of(header["error"])
        return unpack(header["tensors"], data)

    async def responds(self, timeout_s: float) -> bool:
        """Say whether the process lives: a long request is no sign of a fault, and nothing else runs in it."""
        del timeout_s
        return self._process.returncode is None

    async def ended(self, timeout_s: float) -> bool:
        """Wait until the engine has ended, at most so long, and say whether it has."""
        assert self._listener is not None
        await asyncio.wait([self._listener], timeout=timeout_s)
        return self._listener.done()

    async def close(self) -> None:
        """End the process by force: it has nothing to save."""
        await end_child(self._process, self._writer, self._listener)

    async def _read(self) -> tuple[Mapping[str, Any], bytes]:
        header, body = HEAD.unpack(await self._reader.readexactly(HEAD.size))
        return json.loads(await self._reader.readexactly(header)), await self._reader.readexactly(body)

    async def _listen(self) -> None:
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while True:
                    header, body = await self._read()
                    reply = self._replies.get(header["id"])  # whoever asked may have left
                    if reply is not None and not reply.done():
                        reply.set_result((header, body))
        finally:
            self._writer.close()
            for reply in self._replies.values():
                if not reply.done():
                    reply.set_exception(self._gone())

    def _gone(self) -> Unavailable:
        text = f"the engine of {self._deployment} ended and is started again; repeat the request in some seconds"
        return Unavailable(text, reason="MODEL_LOADING", resource=self._deployment, retry_after_s=2)
