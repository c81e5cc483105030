"""Whether the Python that a model writes passes unit tests, in a process that can do nothing but calculate."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bessemer.api.eval.v1.evaluation_pb2 import PythonOptions
from bessemer.jobs import seccomp

from eval_svc.config import PYTHON_MEMORY_MIB, PYTHON_OUTPUT_BYTES, PYTHON_TIME_LIMIT_S
from eval_svc.domain.cases import Case
from eval_svc.domain.results import Mark

__all__ = ["mark_python", "program_of", "run_python"]

_CHILD = Path(__file__).with_name("python_child.py")
_FENCE = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)
_START_S = 10.0  # for the interpreter to begin; this is not the program's time
_WALL = 4  # seconds a busy machine may take for one of processor time; a score must not depend on the load
_END_S = 1.0  # between the end of the output and that of the process


def mark_python(output: str, case: Case, tests: str, options: PythonOptions) -> Mark:
    """Run the answer and then the tests: 1 if nothing raises, else 0 with the reason."""
    program = program_of(output)
    if options.prompt_first and isinstance(case.prompt, str):
        program = case.prompt + output
    return run_python(
        program,
        tests,
        time_limit_s=options.time_limit_s or PYTHON_TIME_LIMIT_S,
        memory_mib=options.memory_mib or PYTHON_MEMORY_MIB,
    )


def program_of(output: str) -> str:
    """Return the fenced blocks of an answer as one program, or all of it if it has none."""
    blocks = _FENCE.findall(output)
    return "\n".join(blocks) if blocks else output


def run_python(program: str, tests: str, *, time_limit_s: int, memory_mib: int) -> Mark:
    """Run a program with its tests in a process of its own; unscored where this machine cannot confine one.

    A program that ends the process, or says it passed without the word it never sees, has failed. One that is written
    against this very child could find the word in memory: scores are no defence against who reads the grader.
    """
    code = seccomp.calculation_only()
    if not code:
        return Mark(None, "this machine has no filter that confines a program; run the worker on Linux")
    word = secrets.token_hex(16)
    request = {
        "filter": code.hex(),
        "memory_bytes": memory_mib << 20,
        "cpu_s": time_limit_s,
        "program": program,
        "tests": tests,
        "word": word,
    }
    with tempfile.TemporaryDirectory(prefix="bessemer-") as folder:
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={"LANG": "C.UTF-8"},
            start_new_session=True,
        )
        try:
            output, cut = _talk(child, json.dumps(request).encode() + b"\n", limit_s=_START_S + _WALL * time_limit_s)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(0 if cut else _END_S)  # so that its own status is seen, not that of the kill
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            for stream in (child.stdin, child.stdout):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()
    if cut:
        return Mark(0.0, cut)
    return _read(output, word, child.returncode, time_limit_s)


def _talk(child: subprocess.Popen[bytes], request: bytes, *, limit_s: float) -> tuple[bytes, str]:
    """Return what the child wrote, and why it was cut off, empty if it was not."""
    assert child.stdin is not None
    assert child.stdout is not None
    deadline = time.monotonic() + limit_s
    with contextlib.suppress(BrokenPipeError):
        child.stdin.write(request)
        child.stdin.close()
    output = b""
    while True:
        if not select.select([child.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return b"", f"it did not end within {limit_s:g} s"
        piece = os.read(child.stdout.fileno(), 65_536)
        if not piece:
            return output, ""
        output += piece
        if len(output) > PYTHON_OUTPUT_BYTES:
            return b"", f"it wrote more than {PYTHON_OUTPUT_BYTES} bytes"


def _read(output: bytes, word: str, status: int, time_limit_s: int) -> Mark:
    _, found, answer = output.rpartition(b"\n" + word.encode())
    if found:
        result = json.loads(answer)
        if "broken" in result:
            return Mark(None, result["broken"])
        return Mark(0.0 if result["error"] else 1.0, result["error"])
    if status == -signal.SIGXCPU:
        return Mark(0.0, f"it used up {time_limit_s} s of processor time")
    return Mark(0.0, f"its process ended with status {status} before the tests were done")
