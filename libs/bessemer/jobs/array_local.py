"""Arrays on this host: a pool of processes that take one element after the other."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from bessemer.jobs.array import ArraySpec, ElementState, ElementStatus
from bessemer.jobs.patient_objects import objects_env
from bessemer.svckit.objects import ObjectsConfig

__all__ = ["ElementProcess", "LocalArrays", "ProcessDied"]


class ProcessDied(Exception):
    """The process is gone; the message says how."""


class ElementProcess:
    """A fresh interpreter, never a fork: the libraries it loads have threads of their own."""

    def __init__(self, entry: str, env: Mapping[str, str], scratch: Path) -> None:
        path = ":".join(each for each in sys.path if each)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bessemer.jobs.element", entry],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path, "TMPDIR": str(scratch), **env},
            cwd=scratch,
        )

    def answer(self, prefix: str, index: int, say: Callable[[str], None]) -> None:
        """Have an element answered; `say` hears where it is.

        Raises: ProcessDied.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):  # it is gone, and its output ends
            self._process.stdin.write(json.dumps({"prefix": prefix, "index": index}).encode() + b"\n")
            self._process.stdin.flush()
        for line in self._process.stdout:
            said = json.loads(line)
            if "at" not in said:
                return
            say(said["at"])
        raise ProcessDied(f"ended with status {self._process.wait()}")

    def kill(self) -> None:
        """End the process; whoever waits for its answer hears so."""
        self._process.kill()

    def stop(self) -> None:
        """End the process and give back what it held."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


@dataclass
class _Array:
    spec: ArraySpec
    statuses: list[ElementStatus] = field(default_factory=list)
    num_heard: int = 0  # of the ended elements the caller knows of this many
    is_cancelled: bool = False


class LocalArrays:
    """Elements in at most `workers` processes at once, one per core if None; objects lie where `objects` says.

    What they leave behind when they are killed lies in `scratch`. A process starts with the first element that needs
    it, and is kept for others of the same entry and environment. Leaving the context ends all of them.
    """

    shares_files = True

    def __init__(self, objects: ObjectsConfig, scratch: Path, workers: int | None = None) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        self._scratch = scratch
        self._env = objects_env(objects)
        self._workers = workers or os.cpu_count() or 1
        self.window: int | None = 2 * self._workers  # so that requests made far ahead do not fill the disk
        self._arrays: dict[str, _Array] = {}
        self._changed = threading.Condition()
        self._is_closed = False
        self._threads = ThreadPoolExecutor(self._workers, "elements")
        self._idle: dict[object, list[ElementProcess]] = {}
        self._busy: dict[ElementProcess, _Array] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._is_closed = True
            processes = [*self._busy, *(process for idle in self._idle.values() for process in idle)]
            for process in processes:
                process.kill()
        self._threads.shutdown(cancel_futures=True)
        for process in processes:
            process.stop()

    def submit(self, spec: ArraySpec, count: int) -> None:
        """See `ArrayLauncher`."""
        with self._changed:
            array = self._arrays.setdefault(spec.id, _Array(spec))
            for index in range(len(array.statuses), count):
                array.statuses.append(ElementStatus())
                self._threads.submit(self._carry_out, array, index)

    def statuses(self, array: str, *, wait_s: float) -> Sequence[ElementStatus]:
        """See `ArrayLauncher`."""
        with self._changed:
            found = self._arrays[array]
            self._changed.wait_for(lambda: _num_ended(found) != found.num_heard, wait_s)
            found.num_heard = _num_ended(found)
            return [*found.statuses]

    def cancel(self, array: str) -> None:
        """See `ArrayLauncher`."""
        with self._changed:
            found = self._arrays.pop(array, None)
            if found is not None:
                found.is_cancelled = True
                for process in [process for process, busy in self._busy.items() if busy is found]:
                    process.kill()

    def _carry_out(self, array: _Array, index: int) -> None:
        for tries in range(1, array.spec.retries + 2):
            try:
                process = self._take(array)
            except OSError as error:
                self._set(array, index, tries=tries, ending=f"has no process: {error}")
                continue
            if process is None:
                return
            self._set(array, index, state=ElementState.RUNNING, tries=tries)
            try:
                process.answer(array.spec.prefix, index, lambda at: self._set(array, index, at=at))
            except ProcessDied as died:
                self._give_back(process, array, is_alive=False)
                self._set(array, index, ending=str(died))
            else:
                self._give_back(process, array, is_alive=True)
                self._set(array, index, state=ElementState.ANSWERED)
                return
        self._set(array, index, state=ElementState.LOST)

    def _set(self, array: _Array, index: int, **changes: object) -> None:
        with self._changed:
            array.statuses[index] = replace(array.statuses[index], **changes)  # type: ignore[arg-type]
            self._changed.notify_all()

    def _take(self, array: _Array) -> ElementProcess | None:
        """Return a process for an element, None if nobody wants it any more."""
        with self._changed:
            if self._is_closed or array.is_cancelled:
                return None
            idle = self._idle.get(_kind(array.spec))
            process = idle.pop() if idle else self._start(array.spec)
            self._busy[process] = array
            return process

    def _start(self, spec: ArraySpec) -> ElementProcess:
        return ElementProcess(spec.entry, {**self._env, **spec.env}, self._scratch)

    def _give_back(self, process: ElementProcess, array: _Array, *, is_alive: bool) -> None:
        with self._changed:
            del self._busy[process]
            if is_alive and not self._is_closed:
                self._idle.setdefault(_kind(array.spec), []).append(process)
                return
        process.stop()


def _num_ended(array: _Array) -> int:
    return sum(status.state in {ElementState.ANSWERED, ElementState.LOST} for status in array.statuses)


def _kind(spec: ArraySpec) -> object:
    return spec.entry, frozenset(spec.env.items())
