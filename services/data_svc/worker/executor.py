"""Tasks in processes of this host: as many at once as there are cores, none twice, results in order."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from itertools import chain, count, islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bessemer.kernel.errors import BessemerError, FailedPrecondition, Internal

from data_svc.worker.task_process import ProcessDied, TaskProcess
from data_svc.worker.tasks import Tools
from data_svc.worker.work import Work

__all__ = ["Executor", "Task"]

TICK_S = 0.5
_TRIES = 2


@dataclass(frozen=True)
class Task:
    """`request` as of `tasks`, `key` of all that its result depends on; `inputs` is a folder to remove afterwards."""

    key: str
    request: dict[str, Any]
    out: Path
    inputs: Path | None = None


class Executor:
    """Carries out tasks. Each of its threads waits for one process at a time, which starts with the first task.

    `made` and `reused` count, by kind, the tasks that were carried out and those whose results were there.
    """

    def __init__(self, work: Work, scratch: Path, workers: int | None = None) -> None:
        self._work = work
        self._scratch = scratch
        self._workers = workers or os.cpu_count() or 1
        self._threads = ThreadPoolExecutor(self._workers, "tasks")
        self._idle: queue.SimpleQueue[TaskProcess] = queue.SimpleQueue()
        self._processes: set[TaskProcess] = set()
        self._lock = threading.Lock()
        self._numbers = count()
        self._closed = False
        self._at = ""
        self.made: Counter[str] = Counter()
        self.reused: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._closed = True
            for process in self._processes:
                process.kill()
        self._threads.shutdown(cancel_futures=True)
        for process in self._processes:
            process.stop()

    def map(self, tasks: Iterable[Task], tick: Callable[[str], None]) -> Iterator[Task]:
        """Yield the tasks in their order once their results are there; `tick` hears twice a second where work is.

        A single task is carried out in this process. Raises: FailedPrecondition if processes die of a file; what
        `tick` raises, and ends all work.
        """
        tasks = iter(tasks)
        first = [*islice(tasks, 2)]
        if len(first) == 1:
            self._finish(first[0], partial(self._perform_here, first[0], tick))
            yield first[0]
            return
        waiting: deque[tuple[Task, Future[None]]] = deque()
        for task in chain(first, tasks):
            if len(waiting) >= 2 * self._workers:  # so that a reader far ahead does not fill the disk
                yield self._next(waiting, tick)
            waiting.append((task, self._threads.submit(self._finish, task, partial(self._perform, task))))
            tick(self._at)
        while waiting:
            yield self._next(waiting, tick)

    def _next(self, waiting: deque[tuple[Task, Future[None]]], tick: Callable[[str], None]) -> Task:
        task, future = waiting.popleft()
        while not wait([future], TICK_S).done:
            tick(self._at)
        tick(self._at)
        future.result()
        return task

    def _finish(self, task: Task, perform: Callable[[], None]) -> None:
        """Take the result from the store, or make it and put it there."""
        found = self._work.fetch(task.key, task.out)
        if not found:
            perform()
            self._work.keep(task.key, task.out)
        with self._lock:
            (self.reused if found else self.made)[task.request["kind"]] += 1
        if task.inputs is not None:
            shutil.rmtree(task.inputs, ignore_errors=True)

    def _perform_here(self, task: Task, tick: Callable[[str], None]) -> None:
        with Tools(self._scratch) as tools:
            tools.perform({**task.request, "out": str(task.out)}, tick)

    def _perform(self, task: Task) -> None:
        for left in reversed(range(_TRIES)):
            process = self._take()
            try:
                process.perform({**task.request, "out": str(task.out)}, self._say)
            except ProcessDied as died:
                with self._lock:
                    self._processes.discard(process)
                process.stop()
                if not left:
                    raise _blame(died) from died
            else:
                self._idle.put(process)
                return

    def _say(self, at: str) -> None:
        self._at = at

    def _take(self) -> TaskProcess:
        with contextlib.suppress(queue.Empty):
            return self._idle.get_nowait()
        with self._lock:
            if self._closed:
                raise RuntimeError("the executor is closed")
            process = TaskProcess(self._scratch / f"process-{next(self._numbers)}")
            self._processes.add(process)
            return process


def _blame(died: ProcessDied) -> BessemerError:
    """Return the error of a task whose processes died two times in turn."""
    if not died.at:
        return Internal(f"processes for curation do not start: the last {died}; see the worker's log")
    message = f"two processes in turn {died} at {died.at}; leave that file out, or give the worker more memory"
    return FailedPrecondition(message, reason="SOURCE_INVALID", file=died.at)
