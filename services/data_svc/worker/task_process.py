"""The parent's side of a process that carries out tasks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bessemer.kernel.errors import Internal

__all__ = ["ProcessDied", "TaskProcess"]


class ProcessDied(Exception):
    """The process is gone; the message says how, `at` where it was."""

    def __init__(self, status: int, at: str) -> None:
        super().__init__(f"ended with status {status}")
        self.at = at


class TaskProcess:
    """A fresh interpreter, never a fork: the libraries it loads have threads of their own."""

    def __init__(self, scratch: Path) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "data_svc.worker.task_child", str(scratch)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={
                **os.environ,
                "PYTHONPATH": ":".join(path for path in sys.path if path),
                "RAYON_NUM_THREADS": "1",  # there is one process per core
                "TOKENIZERS_PARALLELISM": "false",
            },
        )

    def perform(self, task: Mapping[str, Any], say: Callable[[str], None]) -> None:
        """Have a task carried out.

        Raises: ProcessDied; OSError and Internal as the task ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        at = ""
        try:
            self._process.stdin.write(json.dumps(task).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise ProcessDied(self._process.wait(), at) from error
        for line in self._process.stdout:
            answer = json.loads(line)
            if "at" in answer:
                at = answer["at"]
                say(at)
            elif "error" not in answer:
                return
            elif answer["errno"]:
                raise OSError(answer["errno"], answer["error"], at)
            else:
                raise Internal(f"{task['kind']} failed at {at}: {answer['error']}", file=at)
        raise ProcessDied(self._process.wait(), at)

    def kill(self) -> None:
        """End the process; whoever waits for its answer hears so."""
        self._process.kill()

    def stop(self) -> None:
        """End the process and give back what it held."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
