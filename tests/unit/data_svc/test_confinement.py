"""What a parser could do if it were taken over: nothing that leaves its process."""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from data_svc.domain.formats import Format
from data_svc.worker.archives import SourceFile
from data_svc.worker.sandbox import Sandbox

ATTEMPTS = """
import ctypes, json, os, socket, subprocess, sys
from data_svc.worker import parser_child, parsers
user, port, confined = (int(value) for value in sys.argv[1:])
if user:
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
if confined:
    parser_child._confine(1536 << 20)

def connect(family):
    with socket.socket(family) as opened:
        opened.settimeout(5)
        opened.connect({socket.AF_INET: ("127.0.0.1", port), socket.AF_INET6: ("::1", port)}[family])

def io_uring():
    parameters = ctypes.create_string_buffer(120)
    library = ctypes.CDLL(None, use_errno=True)
    if library.syscall(425, 1, parameters) < 0:
        raise OSError(ctypes.get_errno(), "io_uring_setup")

outcomes = {}
for name, attempt in {
    "tcp": lambda: connect(socket.AF_INET),
    "udp": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    "local": lambda: socket.socket(socket.AF_UNIX),
    "lookup": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "program": lambda: os.execv("/bin/true", ["/bin/true"]) if confined else None,
    "io_uring": io_uring if confined else lambda: None,
}.items():
    try:
        attempt()
        outcomes[name] = "done"
    except OSError as error:
        outcomes[name] = error.errno
print(json.dumps(outcomes))
"""
NOBODY = 65534
EPERM = 1

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in {"x86_64", "aarch64"}, reason="no filter for this machine"
)


def attempt(server: socket.socket, *, user: int = 0, confined: bool) -> dict[str, object]:
    port = server.getsockname()[1]
    command = [sys.executable, "-c", ATTEMPTS, str(user), str(port), str(int(confined))]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    return dict(json.loads(done.stdout))


@pytest.fixture
def server():
    with socket.create_server(("127.0.0.1", 0)) as opened:
        opened.settimeout(0.2)
        yield opened


@pytest.mark.parametrize("user", [0, NOBODY])
def test_confined_child_opens_no_socket_and_starts_no_program(server: socket.socket, user: int) -> None:
    if user and os.getuid():
        pytest.skip("only root becomes another user")
    assert attempt(server, user=user, confined=False)["tcp"] == "done", "without the filter the server is reached"
    server.accept()[0].close()
    assert set(attempt(server, user=user, confined=True).values()) == {EPERM}
    with pytest.raises(TimeoutError):
        server.accept()


def test_sandbox_child_runs_under_the_filter_and_parses(tmp_path: Path) -> None:
    file = tmp_path / "x.txt"
    file.write_bytes(b"words")
    with Sandbox(tmp_path) as sandbox:
        [document] = sandbox.parse(SourceFile("x.txt", file, 5, Format.TEXT))
        status = Path(f"/proc/{sandbox._child.pid}/status").read_text().splitlines()
    assert document.text == b"words"
    assert "Seccomp:\t2" in status, "a filter is in force"
    assert "NoNewPrivs:\t1" in status


def test_child_on_a_machine_without_a_filter_warns_and_works(tmp_path: Path) -> None:
    code = (
        "import platform; platform.machine = lambda: 'unknown'\n"
        f"import sys; sys.argv = ['x', str(1536 << 20), {str(tmp_path / 'out')!r}]\n"
        "from data_svc.worker.parser_child import main; main()"
    )
    file = tmp_path / "x.txt"
    file.write_bytes(b"words")
    request = {"file": str(file), "format": "text", "rows": False, "cpu_s": 5}
    command, asked = [sys.executable, "-c", code], json.dumps(request) + "\n"
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == {"parts": 1}
    assert "parsers can reach the network" in done.stderr
    assert (tmp_path / "out.text").read_bytes() == b"words"
