"""A process that carries out tasks; run as `python -m data_svc.worker.task_child SCRATCH`.

One task per line on standard input. Lines on standard output: `{"at"}` where it is, then `{}` or `{"error", "errno"}`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from bessemer.jobs.seccomp import die_with_parent

from data_svc.worker.heap import give_memory_back
from data_svc.worker.tasks import Tools


def main() -> None:
    """Carry out tasks until standard input ends."""
    die_with_parent()
    give_memory_back()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not look like an answer

    def answer(**fields: Any) -> None:
        answers.write(json.dumps(fields) + "\n")
        answers.flush()

    with Tools(Path(sys.argv[1])) as tools:
        for line in sys.stdin:
            try:
                tools.perform(json.loads(line), lambda place: answer(at=place))
            except BrokenPipeError:
                return  # the parent is gone
            except Exception as error:  # noqa: BLE001 - the parent tells whose fault it is
                answer(error=f"{type(error).__name__}: {error}"[:500], errno=getattr(error, "errno", None))
            else:
                answer()


if __name__ == "__main__":
    main()
