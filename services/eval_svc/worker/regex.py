"""Whether a model's answer matches a regular expression."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from collections.abc import Sequence

from eval_svc.domain.cases import Case
from eval_svc.domain.results import CaseResult
from eval_svc.worker.answers import grade_answers
from eval_svc.worker.subject import Subject

__all__ = ["Searcher", "grade"]

TIME_LIMIT_S = 2.0

# A hostile pattern can keep the engine busy for ever, and nothing stops it from inside; hence a process to kill.
_PROGRAM = """
import json, re, sys
for line in sys.stdin:
    pattern, text = json.loads(line)
    try:
        verdict = bool(re.search(pattern, text))
    except Exception as error:
        verdict = f"the pattern is not valid: {error}"
    print(json.dumps(verdict), flush=True)
"""


class Searcher:
    """A process that searches; killed and started again when it takes too long."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def search(self, output: str, pattern: str) -> float | str:
        """Return whether the pattern is found as 0 or 1, or why that cannot be said."""
        if self._process is None:
            # The interpreter needs a moment to start; that moment is not the pattern's.
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            self._ask("", "", limit_s=30.0)
        return self._ask(output, pattern, limit_s=TIME_LIMIT_S)

    def close(self) -> None:
        """Stop the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _ask(self, output: str, pattern: str, *, limit_s: float) -> float | str:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        deadline = time.monotonic() + limit_s
        process.stdin.write(json.dumps([pattern, output]).encode() + b"\n")
        process.stdin.flush()
        if not select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
            self.close()
            return f"the pattern needed more than {limit_s:g} s"
        verdict = json.loads(process.stdout.readline() or '"the search ended without an answer"')
        return verdict if isinstance(verdict, str) else float(verdict)


def grade(subject: Subject, cases: Sequence[Case], max_tokens: int) -> list[CaseResult]:
    """Generate and search; a pattern that is wrong or too slow leaves its case unscored."""
    searcher = Searcher()
    try:
        return grade_answers(subject, cases, max_tokens, searcher.search)
    finally:
        searcher.close()
