"""A small program in a process of its own that answers questions, and is killed when it takes too long.

A hostile pattern can keep its engine busy for ever, and nothing stops it from inside.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from types import TracebackType
from typing import Any, Self

__all__ = ["TIME_LIMIT_S", "Child", "TooSlow"]

TIME_LIMIT_S = 2.0


class TooSlow(Exception):
    """The child had no answer in time, or ended without one."""


class Child:
    """Runs `program`, which reads a line of JSON and writes one; started at the first question and after every kill."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ask(self, question: Any) -> Any:
        """Return the answer to a question.

        Raises: TooSlow.
        """
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", self._program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            # The interpreter needs a moment to start; that moment is not the question's.
            self._ask(None, limit_s=30.0)
        return self._ask(question, limit_s=TIME_LIMIT_S)

    def close(self) -> None:
        """Stop the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _ask(self, question: Any, *, limit_s: float) -> Any:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        deadline = time.monotonic() + limit_s
        process.stdin.write(json.dumps(question).encode() + b"\n")
        process.stdin.flush()
        if not select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
            self.close()
            raise TooSlow(f"needed more than {limit_s:g} s")
        line = process.stdout.readline()
        if not line:
            self.close()
            raise TooSlow("ended without an answer")
        return json.loads(line)
