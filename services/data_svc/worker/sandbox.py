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
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from data_svc.domain.formats import Format
from data_svc.domain.reasons import Reason, Rejection
from data_svc.worker.archives import SourceFile

__all__ = ["ParsedDocument", "Sandbox"]

_MEMORY_BYTES = 1536 << 20
_FACTOR_MAX = 20  # large files get more time, up to this much
_PACKED = {Format.PDF, Format.DOCX, Format.PPTX, Format.XLSX, Format.PARQUET, Format.WARC}  # hold more than their size
_WEAR_MAX = 5000  # PDFium and friends leak; a fresh process does not
_WEAR_PACKED = 10  # a packed file wears a child as much as ten others: 500 of them are its life


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
        out = scratch.resolve() / "parsed"
        self._out = str(out)
        self._texts, self._parts = out.with_suffix(".text"), out.with_suffix(".parts")
        self._timeout_s = timeout_s
        self._rows = rows
        self._child: subprocess.Popen[bytes] | None = None
        self._wear = 0

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
            "file": str(source.file.absolute()),
            "format": source.format,
            "rows": self._rows,
            "cpu_s": max(1, round(cpu_s)),
        }
        answer = self._ask(request, cpu_s * 2)
        self._wear += _WEAR_PACKED if source.format in _PACKED else 1
        if "reason" in answer:
            yield Rejection(source.path, Reason(answer["reason"]), answer["detail"], source.size_bytes)
            return
        yield from self._read(source, answer["parts"])
        if not answer["parts"]:
            yield Rejection(source.path, Reason.EMPTY, "nothing came out of it", source.size_bytes)

    def _read(self, source: SourceFile, num_parts: int) -> Iterator[ParsedDocument | Rejection]:
        with self._texts.open("rb") as texts, self._parts.open("rb") as parts:
            for line in islice(parts, num_parts):
                part = json.loads(line)
                text = texts.read(part["size"])
                path = (part["name"] or source.path) + part["suffix"]
                if part["reason"]:
                    yield Rejection(path, Reason(part["reason"]), part["detail"], part["size_bytes"])
                else:
                    yield ParsedDocument(path, part["format"], text, part["characters"], part["replaced"])

    def _ask(self, request: dict[str, Any], wall_s: float) -> dict[str, Any]:
        """Return the child's answer: the number of documents, or the reason why there are none."""
        child = self._running()
        assert child.stdin is not None
        assert child.stdout is not None
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
        result: dict[str, Any] = json.loads(answer)
        return result

    def _died(self, child: subprocess.Popen[bytes]) -> dict[str, Any]:
        child.wait(timeout=10)
        self._stop()
        if child.returncode == -signal.SIGXCPU:
            return {"reason": Reason.PARSE_TIMEOUT, "detail": "used up its processor time"}
        return {"reason": Reason.PARSE_FAILED, "detail": f"the parser process ended with status {child.returncode}"}

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is not None and (self._wear >= _WEAR_MAX or self._child.poll() is not None):
            self._stop()
        if self._child is None:
            self._wear = 0
            self._child = subprocess.Popen(
                [sys.executable, "-m", "data_svc.worker.parser_child", str(_MEMORY_BYTES), self._out],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=self._texts.parent,
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
