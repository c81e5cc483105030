"""The parent's side of the parser: one child for many files, a new one after a crash, a kill after the time limit."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from data_svc.domain.formats import Format
from data_svc.domain.reasons import Reason, Rejection
from data_svc.worker.archives import SourceFile

__all__ = ["ParsedDocument", "Sandbox"]

_MEMORY_BYTES = 1536 << 20
_FACTOR_MAX = 20  # large files get more time, up to this much
_PACKED = {Format.PDF, Format.DOCX, Format.PPTX, Format.XLSX, Format.PARQUET}  # hold much more than their size
_FILES_PER_CHILD = 500  # PDFium and friends leak; a fresh process does not


@dataclass(frozen=True)
class ParsedDocument:
    """One document as the child returned it; `text` is normalised UTF-8."""

    source: str
    format: str
    text: bytes
    characters: int
    replaced: int


class Sandbox:
    """Parses files in a child process that can neither take the worker down nor run for ever."""

    def __init__(self, scratch: Path, *, timeout_s: float = 30.0, rows: bool = False) -> None:
        self._out = scratch / "parsed"
        self._timeout_s = timeout_s
        self._rows = rows
        self._child: subprocess.Popen[bytes] | None = None
        self._num_files = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def parse(self, source: SourceFile) -> Iterator[ParsedDocument | Rejection]:
        """Yield the documents of a file and what was refused; one crash makes one rejection."""
        factor = 1 + source.size_bytes / (3e6 if source.format in _PACKED else 60e6)
        cpu_s = self._timeout_s * min(factor, _FACTOR_MAX)
        request = {
            "file": str(source.file.resolve()),
            "format": source.format,
            "rows": self._rows,
            "out": str(self._out.resolve()),
            "cpu_s": max(1, round(cpu_s)),
        }
        failure = self._ask(request, cpu_s * 2)
        if failure:
            yield Rejection(source.path, Reason(failure["reason"]), failure["detail"], source.size_bytes)
            return
        empty = True
        for part in self._parts(source):
            empty = False
            yield part
        if empty:
            yield Rejection(source.path, Reason.EMPTY, "nothing came out of it", source.size_bytes)

    def _parts(self, source: SourceFile) -> Iterator[ParsedDocument | Rejection]:
        with self._out.with_suffix(".text").open("rb") as texts, self._out.with_suffix(".parts").open() as parts:
            for line in parts:
                part = json.loads(line)
                text = texts.read(part["size"])
                path = source.path + part["suffix"]
                if part["reason"]:
                    yield Rejection(path, Reason(part["reason"]), part["detail"], part["size_bytes"])
                else:
                    yield ParsedDocument(path, part["format"], text, part["characters"], part["replaced"])

    def _ask(self, request: dict[str, Any], wall_s: float) -> dict[str, str]:
        """Return the child's answer; empty if the files are there."""
        child = self._running()
        assert child.stdin is not None
        assert child.stdout is not None
        self._num_files += 1
        try:
            child.stdin.write(json.dumps(request).encode() + b"\n")
            child.stdin.flush()
        except BrokenPipeError:
            return self._died(child)
        deadline = time.monotonic() + wall_s
        answer = b""
        while not answer.endswith(b"\n"):
            left = deadline - time.monotonic()
            ready, _, _ = select.select([child.stdout], [], [], max(left, 0))
            if not ready:
                self._stop()
                return {"reason": Reason.PARSE_TIMEOUT, "detail": f"no result after {wall_s:.0f} s"}
            piece = child.stdout.read1(65536)  # type: ignore[attr-defined]
            if not piece:
                return self._died(child)
            answer += piece
        result: dict[str, str] = json.loads(answer)
        return result

    def _died(self, child: subprocess.Popen[bytes]) -> dict[str, str]:
        child.wait(timeout=10)
        self._stop()
        if child.returncode == -signal.SIGXCPU:
            return {"reason": Reason.PARSE_TIMEOUT, "detail": "used up its processor time"}
        return {"reason": Reason.PARSE_FAILED, "detail": f"the parser process ended with status {child.returncode}"}

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is not None and (self._num_files >= _FILES_PER_CHILD or self._child.poll() is not None):
            self._stop()
        if self._child is None:
            self._num_files = 0
            self._child = subprocess.Popen(
                [sys.executable, "-m", "data_svc.worker.parser_child", str(_MEMORY_BYTES)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=self._out.parent,
                env={
                    "PATH": "/usr/bin:/bin",
                    "LANG": "C.UTF-8",
                    "PYTHONPATH": ":".join(p for p in sys.path if p),
                    "ARROW_DEFAULT_MEMORY_POOL": "system",  # the others reserve a gigabyte of addresses
                },
            )
        return self._child

    def _stop(self) -> None:
        if self._child is None:
            return
        child, self._child = self._child, None
        child.kill()
        child.wait(timeout=10)
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                stream.close()
