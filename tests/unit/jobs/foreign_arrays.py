"""A launcher of arrays as an engine of a cluster is one: it has to know of all elements, and shares no files."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bessemer.jobs.array import ArraySpec, ElementState, ElementStatus


class ForeignArrays:
    """One process per element and try, each in a folder of its own below `root`, at most two at once."""

    shares_files = False
    window = None

    def __init__(self, root: Path, env: Mapping[str, str]) -> None:
        self._root = root
        self._env = {**env, "PATH": os.environ["PATH"], "PYTHONPATH": ":".join(filter(None, sys.path))}
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._statuses: list[ElementStatus] = []
        self.submitted: list[tuple[str, int]] = []

    def submit(self, spec: ArraySpec, count: int) -> None:
        assert not self._processes, "one array at a time"
        self.submitted.append((spec.id, count))
        self._spec = spec
        self._statuses = [ElementStatus()] * count

    def statuses(self, array: str, *, wait_s: float) -> Sequence[ElementStatus]:
        assert array == self._spec.id
        deadline = time.monotonic() + wait_s
        while not self._step() and time.monotonic() < deadline:
            time.sleep(0.02)
        return [*self._statuses]

    def cancel(self, array: str) -> None:
        assert not self.submitted or array == self._spec.id
        for process in self._processes.values():
            process.kill()
            process.wait()
        self._processes.clear()

    def _step(self) -> bool:
        ended = {index: process for index, process in self._processes.items() if process.poll() is not None}
        for index, process in ended.items():
            del self._processes[index]
            tries = self._statuses[index].tries
            may_try = ElementState.PENDING if tries <= self._spec.retries else ElementState.LOST
            state = ElementState.ANSWERED if process.returncode == 0 else may_try
            self._statuses[index] = ElementStatus(state, tries, ending=f"ended with status {process.returncode}")
        for index, status in enumerate(self._statuses):
            if status.state is ElementState.PENDING and len(self._processes) < 2:
                self._statuses[index] = ElementStatus(ElementState.RUNNING, status.tries + 1)
                self._processes[index] = self._start(index)
        return bool(ended)

    def _start(self, index: int) -> subprocess.Popen[bytes]:
        host = tempfile.mkdtemp(dir=self._root)
        command = [sys.executable, "-m", "bessemer.jobs.element", self._spec.entry, self._spec.prefix, str(index)]
        env = {**self._env, **self._spec.env, "TMPDIR": host, "HOME": host}
        return subprocess.Popen(command, env=env, cwd=host, stdin=subprocess.DEVNULL)
