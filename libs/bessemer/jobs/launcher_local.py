"""Workers as processes of this host that outlive the service which started them.

A worker runs in its own session, so that signals reach all of its children and none of ours. What is known of it lies
in a state file; the worker begins only after that file is written (it waits for a line on its standard input), so a
service that dies in between leaves no worker that nobody knows of.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from bessemer.jobs.launcher import GO, Capabilities, LaunchSpec, WorkerState, WorkerStatus, file_name
from bessemer.jobs.process_identity import process_start
from bessemer.kernel.errors import Unavailable
from bessemer.svckit.config import ServiceConfig

__all__ = ["LocalLauncher", "worker_env"]

# What a program needs from its surroundings to run at all.
_INHERITED = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "SSL_CERT_FILE",
    "TMPDIR",
    "TZ",
    "VIRTUAL_ENV",
)


def worker_env(config: ServiceConfig, *, address: str = "") -> dict[str, str]:
    """Return the environment of a service's workers: where the service listens, where objects lie, who they are."""
    credentials = config.home / "credentials" / "worker.token"
    token_file = credentials if credentials.is_file() else config.auth.token_file
    env = {key: value for key, value in os.environ.items() if key in _INHERITED}
    env |= {
        "BESSEMER_HOME": str(config.home.resolve()),
        "BESSEMER_WORKER_ADDRESS": address or config.listen,
        "BESSEMER_OBJECTS_URL": config.objects_url,
        "BESSEMER_THREADS": str(config.threads),
        # Threads that wait for each other by spinning take the cores from whoever has work.
        "OMP_WAIT_POLICY": "PASSIVE",
        # Huge pages make memory that is merely reserved, such as a key-value cache, real at the first touch.
        "NUMPY_MADVISE_HUGEPAGE": "0",
        "HF_HUB_OFFLINE": "1",  # no library asks a hub
    }
    if token_file is not None:
        env["BESSEMER_TOKEN_FILE"] = str(token_file.resolve())
    if config.s3_access_key:
        env |= {"BESSEMER_S3_ACCESS_KEY": config.s3_access_key, "BESSEMER_S3_SECRET_KEY": config.s3_secret_key}
    if config.tls is not None:
        env |= {"BESSEMER_TLS_CERT": str(config.tls.cert_file), "BESSEMER_TLS_KEY": str(config.tls.key_file)}
        if config.tls.ca_file is not None:
            env["BESSEMER_TLS_CA"] = str(config.tls.ca_file)
    return env


@dataclass(frozen=True)
class _Record:
    id: str
    pid: int
    start: str  # tells it from a later process with the same number


class LocalLauncher:
    """Launches workers of one service under `home`; `env` is their whole environment besides what a spec adds."""

    def __init__(self, home: Path, service: str, env: Mapping[str, str]) -> None:
        self._home = home.resolve()
        self._service = service
        self._env = dict(env)
        self._folder = self._home / "run" / "workers" / service
        self._folder.mkdir(parents=True, exist_ok=True)
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._exit_codes: dict[str, int] = {}
        self._ending: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()

    def submit(self, spec: LaunchSpec) -> None:
        """Start a worker unless the same one was started before.

        Raises: Unavailable if it cannot be started.
        """
        with self._lock:
            if self._read(spec.id) is None:
                try:
                    self._start(spec)
                except OSError as error:
                    raise Unavailable(f"cannot start a worker for {spec.task}: {error}") from error

    def list(self) -> Mapping[str, WorkerStatus]:
        """Return the status of every worker that was submitted and not forgotten, by id."""
        with self._lock:
            records = [_load(path) for path in sorted(self._folder.glob("*.json"))]
            return {record.id: self._status(record) for record in records if record}

    def get(self, worker: str) -> WorkerStatus:
        """Return the status of one worker by its id."""
        with self._lock:
            record = self._read(worker)
            return self._status(record) if record else WorkerStatus(WorkerState.UNKNOWN)

    def cancel(self, worker: str, *, grace_s: float) -> None:
        """Send SIGTERM to the worker's process group and SIGKILL after `grace_s`; returns at once."""
        with self._lock:
            record = self._read(worker)
            if record is None or worker in self._ending or not _is_alive(record):
                return
            if grace_s <= 0:
                _signal_group(record, signal.SIGKILL)
                return
            _signal_group(record, signal.SIGTERM)
            thread = threading.Thread(target=self._kill_later, args=(record, grace_s), daemon=True)
            self._ending[worker] = thread
        thread.start()

    def forget(self, worker: str) -> None:
        """Remove the state file and scratch files of a worker that has exited."""
        with self._lock:
            record = self._read(worker)
            if record and _is_alive(record):
                return
            shutil.rmtree(self._workdir(worker), ignore_errors=True)
            with contextlib.suppress(OSError):
                self._workdir(worker).parent.rmdir()
            self._path(worker).unlink(missing_ok=True)
            self._exit_codes.pop(worker, None)

    def log_path(self, task: str, attempt: int) -> Path:
        """Return the file that has the output of an attempt; it may not exist yet."""
        return self._home / "logs" / self._service / file_name(task) / f"{attempt}.log"

    def capabilities(self) -> Capabilities:
        """Return what this launcher can do."""
        return Capabilities("local", survives_restart=True)

    def _start(self, spec: LaunchSpec) -> None:
        log = self.log_path(spec.task, spec.attempt)
        log.parent.mkdir(parents=True, exist_ok=True)
        workdir = self._workdir(spec.id)
        workdir.mkdir(parents=True, exist_ok=True)
        env = self._env | {"PYTHONUNBUFFERED": "1", "BESSEMER_WORKER_DIR": str(workdir)} | dict(spec.env)
        gang = ["bessemer.jobs.gang", str(spec.num_ranks)] if spec.num_ranks > 1 else []
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", *gang, spec.entry],
                env=env,
                cwd=workdir,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        assert process.stdin is not None
        try:
            record = _Record(spec.id, process.pid, process_start(process.pid) or "")
            _write_atomically(self._path(spec.id), json.dumps(asdict(record)).encode())
            process.stdin.write(GO)
            process.stdin.flush()
        except BrokenPipeError:
            pass  # it died at once; its status will say so
        except OSError:
            process.kill()
            process.wait()
            raise
        finally:
            with contextlib.suppress(OSError):
                process.stdin.close()
        self._children[spec.id] = process

    def _reap(self) -> None:
        for worker, process in list(self._children.items()):
            if process_start(process.pid) is None:
                with contextlib.suppress(
                    OSError
                ):  # children that outlived it; its zombie still holds the group's number
                    os.killpg(process.pid, signal.SIGKILL)
                self._exit_codes[worker] = process.wait()
                del self._children[worker]

    def _status(self, record: _Record) -> WorkerStatus:
        if _is_alive(record):
            return WorkerStatus(WorkerState.RUNNING)
        self._reap()  # after the look, so that whoever has exited by then has its exit code
        return WorkerStatus(WorkerState.EXITED, self._exit_codes.get(record.id))

    def _kill_later(self, record: _Record, grace_s: float) -> None:
        deadline = time.monotonic() + grace_s
        while time.monotonic() < deadline and _is_alive(record):
            time.sleep(0.05)
        if _is_alive(record):
            _signal_group(record, signal.SIGKILL)
        with self._lock:
            self._ending.pop(record.id, None)

    def _read(self, worker: str) -> _Record | None:
        return _load(self._path(worker))

    def _path(self, worker: str) -> Path:
        return self._folder / f"{file_name(worker)}.json"

    def _workdir(self, worker: str) -> Path:
        task, _, attempt = worker.partition("@")
        return self._home / "run" / "work" / file_name(task) / attempt


def _load(path: Path) -> _Record | None:
    try:
        return _Record(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):  # cut short by a power cut, which ended the worker too
        path.unlink(missing_ok=True)
        return None


def _is_alive(record: _Record) -> bool:
    return process_start(record.pid) == record.start


def _signal_group(record: _Record, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(record.pid, number)


def _write_atomically(path: Path, data: bytes) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_bytes(data)
    fresh.replace(path)
