"""Bring the embedded stack up, repair it, look at it, take it down."""

from __future__ import annotations

import fcntl
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bessemer.kernel.errors import FailedPrecondition, Unavailable
from bessemer.local import processes
from bessemer.local.plan import SERVICES, Layout, ProcessPlan, S3Keys, StackOptions, layout_facts, plan_services
from bessemer.local.servers import free_ports, start_nats
from bessemer.svckit.auth import issue

__all__ = ["ProcessState", "down", "status", "up"]

START_LIMIT_S = 60.0
STOP_GRACE_S = 15.0
PORT_NAMES = ("nats", *SERVICES, "data_http", "serve_http")


@dataclass(frozen=True)
class ProcessState:
    """One line of `bessemer status`."""

    name: str
    pid: int | None
    address: str
    healthy: bool
    memory_bytes: int
    started: bool = False  # by this very call


def up(home: Path, options: StackOptions | None = None, s3_keys: S3Keys | None = None) -> list[ProcessState]:
    """Start whatever of the stack is not running, wait until all of it answers, and say what runs where.

    `options` and `s3_keys` are needed at the first start only; later ones remember them.

    Raises: FailedPrecondition if `options` contradict those the home was made with; Unavailable naming the
    process that does not come up, with the end of its log.
    """
    home = home.resolve()
    with _lock(home):
        issue(home)
        if s3_keys is not None:
            _keep_keys(home, s3_keys)
        layout = _layout(home, options)
        (home / "stack.json").write_text(json.dumps(layout_facts(layout), indent=2))
        fresh = {"nats"} if _start_broker(layout) else set()
        plans = plan_services(layout)
        for plan in plans:
            (home / plan.name).mkdir(exist_ok=True)
            if processes.find(home / "run" / f"{plan.name}.json") is None:
                processes.start(plan.name, plan.argv, plan.environment, home)
                fresh.add(plan.name)
        with ThreadPoolExecutor(len(plans)) as pool:
            list(pool.map(lambda plan: _ensure_healthy(plan, home, fresh), plans))
    return status(home, started=fresh)


def down(home: Path) -> list[str]:
    """Stop workers, services and broker in reverse order of their start; return the names of what was stopped."""
    home = home.resolve()
    if not home.exists():
        return []
    with _lock(home):
        services = [processes.find(home / "run" / f"{name}.json") for name in reversed(SERVICES)]
        workers = [processes.find(path) for path in sorted((home / "run" / "workers").glob("**/*.json"))]
        broker = processes.find(home / "run" / "nats.json")
        stopped = []
        for group in (services, workers, [broker]):
            live = [process for process in group if process]
            processes.stop(live, grace_s=STOP_GRACE_S)
            stopped += [process.name for process in live]
    return stopped


def status(home: Path, *, started: set[str] | None = None) -> list[ProcessState]:
    """Say of each process where it runs, whether it answers and how much memory it holds."""
    home = home.resolve()
    if not (home / "stack.json").exists():
        raise Unavailable(f"no Bessemer stack at {home}; start one with: bessemer up --home {home}")
    layout = _layout(home, None)
    addresses = {"nats": f"127.0.0.1:{layout.ports['nats']}"} | {
        plan.name: plan.address for plan in plan_services(layout)
    }
    states = []
    for name, address in addresses.items():
        running = processes.find(home / "run" / f"{name}.json")
        healthy = running is not None and (_connects(address) if name == "nats" else _answers(address, 2.0))
        states.append(
            ProcessState(
                name=name,
                pid=running.pid if running else None,
                address=address,
                healthy=healthy,
                memory_bytes=processes.pss_bytes(running.pid) if running else 0,
                started=name in (started or set()),
            )
        )
    return states


def _layout(home: Path, options: StackOptions | None) -> Layout:
    stack, keys = home / "stack.json", home / "credentials" / "s3.json"
    s3_keys = S3Keys(**json.loads(keys.read_text())) if keys.exists() else None
    if not stack.exists():
        ports = dict(zip(PORT_NAMES, free_ports(len(PORT_NAMES)), strict=True))
        return Layout(home=home, ports=ports, options=options or StackOptions(), s3_keys=s3_keys)
    facts = json.loads(stack.read_text())
    kept = StackOptions(s3_url=facts["s3_url"], database_url=facts["database_url"])
    if options is not None and options not in (kept, StackOptions()):
        raise FailedPrecondition(
            f"{home} was made with {kept}; its data lies there. Use another --home for {options}", resource=home
        )
    return Layout(home=home, ports=facts["ports"], options=kept, s3_keys=s3_keys)


def _keep_keys(home: Path, keys: S3Keys) -> None:
    path = home / "credentials" / "s3.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps(asdict(keys)))


def _start_broker(layout: Layout) -> bool:
    home = layout.home
    if processes.find(home / "run" / "nats.json"):
        return False
    (home / "logs").mkdir(parents=True, exist_ok=True)
    broker: subprocess.Popen[bytes] = start_nats(home / "nats", layout.ports["nats"], home / "logs" / "nats.log")
    processes.record("nats", broker.pid, home)
    return True


def _ensure_healthy(plan: ProcessPlan, home: Path, fresh: set[str]) -> None:
    """Wait for a service; one that dies meanwhile is started once more."""
    try:
        _await_healthy(plan, home)
    except Unavailable:
        if processes.find(home / "run" / f"{plan.name}.json") is not None:
            raise
        processes.start(plan.name, plan.argv, plan.environment, home)
        fresh.add(plan.name)
        _await_healthy(plan, home)


def _await_healthy(plan: ProcessPlan, home: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while not _answers(plan.address, 5.0):
        dead = processes.find(home / "run" / f"{plan.name}.json") is None
        if dead or time.monotonic() > deadline:
            log = home / "logs" / f"{plan.name}.log"
            problem = "ended" if dead else f"did not answer within {START_LIMIT_S:.0f} s"
            raise Unavailable(
                f"{plan.name}_svc {problem}; the end of {log}:\n{processes.tail(log, 15)}", process=plan.name
            )
        time.sleep(0.05)


def _answers(address: str, timeout_s: float) -> bool:
    with grpc.insecure_channel(address) as channel:
        try:
            reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
        except grpc.RpcError:
            return False
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)


def _connects(address: str) -> bool:
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


@contextmanager
def _lock(home: Path) -> Iterator[None]:
    """Hold the home against a second `up` or `down`."""
    (home / "run").mkdir(parents=True, exist_ok=True)
    with (home / "run" / "lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unavailable(
                f"another bessemer command is starting or stopping the stack at {home}; try again"
            ) from None
        yield
