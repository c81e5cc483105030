"""Tasks of a job: none twice, their results in order, made as elements of an array."""

from __future__ import annotations

import secrets
import shutil
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bessemer.jobs.array import ArrayLauncher, ArraySpec, ElementLost, run_array
from bessemer.jobs.array_local import LocalArrays
from bessemer.kernel.errors import BessemerError, FailedPrecondition, Internal

from data_svc.worker.elements import ENTRY
from data_svc.worker.handover import as_objects
from data_svc.worker.tasks import Tools
from data_svc.worker.work import Work

__all__ = ["Executor", "Task"]

_ENV = {
    "RAYON_NUM_THREADS": "1",  # there is one process per core
    "TOKENIZERS_PARALLELISM": "false",
}


@dataclass(frozen=True)
class Task:
    """`request` as of `tasks`, `key` of all that its result depends on; `inputs` is a folder to remove afterwards."""

    key: str
    request: dict[str, Any]
    out: Path
    inputs: Path | None = None


class Executor:
    """Has tasks carried out, by processes of this host if no launcher of arrays is given.

    `made` and `reused` count, by kind, the tasks that were carried out and those whose results were there.
    """

    def __init__(
        self, work: Work, scratch: Path, workers: int | None = None, arrays: ArrayLauncher | None = None
    ) -> None:
        self._work = work
        self._scratch = scratch
        self._opened = ExitStack()
        self._arrays = arrays or self._opened.enter_context(LocalArrays(work.objects.config, scratch, workers))
        self._stored: dict[str, str] = {}  # files of results, and their objects
        self.made: Counter[str] = Counter()
        self.reused: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, trace)

    def map(self, tasks: Iterable[Task], tick: Callable[[str], None]) -> Iterator[Task]:
        """Yield the tasks in their order once their results are there; `tick` hears twice a second where work is.

        A single task is carried out in this process. Raises: FailedPrecondition if processes die of a file; what
        `tick` raises, and ends all work.
        """
        tasks = iter(tasks)
        first = [*islice(tasks, 2)]
        if len(first) == 1 and self._arrays.shares_files:
            if not self._find(first[0]):
                self._perform(first[0], tick)
            yield first[0]
        elif first:
            yield from self._map(first[0].request["kind"], chain(first, tasks), tick)

    def _map(self, kind: str, tasks: Iterable[Task], tick: Callable[[str], None]) -> Iterator[Task]:
        under_way: deque[tuple[Task, bool]] = deque()  # and whether the result was found

        def requests() -> Iterator[Any]:
            for task in tasks:
                found = self._find(task)
                under_way.append((task, found))
                tick("")
                if not found:
                    yield self._request(task)

        array = f"{kind}-{secrets.token_hex(8)}"
        spec = ArraySpec(array, ENTRY, self._work.array_prefix(array), env=_ENV)
        try:
            for name in run_array(self._arrays, self._work.objects, spec, requests(), tick):
                while under_way[0][1]:
                    yield under_way.popleft()[0]
                task, _ = under_way.popleft()
                if not self._arrays.shares_files:
                    self._work.get(name, task.out)
                self._note(task, name, self.made)
                yield task
        except ElementLost as lost:
            raise _blame(lost) from lost
        for task, _ in under_way:
            yield task

    def _find(self, task: Task) -> bool:
        """Take the result from the store if it is there."""
        name = self._work.fetch(task.key, task.out)
        if name:
            self._note(task, name, self.reused)
        return bool(name)

    def _request(self, task: Task) -> Any:
        given, out = task.request, str(task.out)
        if not self._arrays.shares_files:
            given, out = as_objects(task.request, self._work, self._stored, self._scratch), ""
        return {"task": given, "project": self._work.project, "key": task.key, "out": out}

    def _perform(self, task: Task, tick: Callable[[str], None]) -> None:
        with Tools(self._scratch) as tools:
            tools.perform({**task.request, "out": str(task.out)}, tick)
        self._note(task, self._work.keep(task.key, task.out), self.made)

    def _note(self, task: Task, name: str, counter: Counter[str]) -> None:
        self._stored[str(task.out)] = name
        counter[task.request["kind"]] += 1
        if task.inputs is not None:
            shutil.rmtree(task.inputs, ignore_errors=True)


def _blame(lost: ElementLost) -> BessemerError:
    """Return the error of a task whose processes died in turn."""
    status = lost.status
    if not status.at:
        return Internal(f"processes for curation do not start: the last {status.ending}; see the worker's log")
    message = (
        f"two processes in turn {status.ending} at {status.at}; leave that file out, or give the worker more memory"
    )
    return FailedPrecondition(message, reason="SOURCE_INVALID", file=status.at)
