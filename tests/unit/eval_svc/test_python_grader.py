"""What a program that a model wrote can do: calculate, and nothing else."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import psutil
import pytest
from bessemer.api.eval.v1.evaluation_pb2 import GraderOptions, PythonOptions
from eval_svc.domain.cases import Case, Grader
from eval_svc.worker.graders import Graders
from eval_svc.worker.python import program_of, run_python

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in {"x86_64", "aarch64"}, reason="no filter for this machine"
)
CANARY = Path("/tmp/bessemer-canary")


def result(program, tests="", seconds=1):
    return run_python(program, tests, time_limit_s=seconds, memory_mib=256)


def test_program_that_passes_its_tests_scores_and_one_that_does_not_says_why():
    program = "import math\ndef area(r):\n    return math.pi * r * r"
    assert result(program, "assert round(area(1), 2) == 3.14") == result("x = 1", "assert x == 1")
    failed = result(program, "assert area(1) == 3, 'too exact'")
    assert failed.score == 0.0
    assert failed.reason == "tests: AssertionError: too exact"
    assert result("def f(:", "").reason.startswith("answer: SyntaxError")


def test_tests_that_are_no_program_leave_the_case_unscored_and_stay_unsaid():
    found = result("x = 1", "assert ( canary")
    assert found.score is None
    assert "canary" not in found.reason


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("while True: pass", "processor time"),
        ("import signal\nsignal.signal(signal.SIGXCPU, lambda *_: None)\nwhile True: pass", "end"),
        ("import os\nwhile True: os.fork()", "PermissionError"),
        ("import threading\nthreading.Thread(target=print).start()", "can't start new thread"),
        ("import subprocess\nsubprocess.run(['true'])", "PermissionError"),
        ("import os\nos.execv('/bin/true', ['true'])", "PermissionError"),
        ("import os\nos.system('true') and 1 / 0\nos.posix_spawn('/bin/true', ['true'], {})", "Error"),
        ("import socket\nsocket.socket()", "PermissionError"),
        ("import socket\nsocket.getaddrinfo('example.org', 80)", "Error"),
        ("open('/etc/passwd').read()", "PermissionError"),
        (f"open('{CANARY}', 'w').write('x')", "PermissionError"),
        ("import os\nos.remove('/etc/hostname')", "PermissionError"),
        ("import os\nos.listdir('/')", "PermissionError"),
        ("import os\nos.kill(os.getppid(), 9)", "PermissionError"),
        ("import os\nwhile True: os.write(1, b'x' * 65536)", "wrote more than"),
        ("print('x' * 50_000_000)", "wrote more than"),
        ("x = [0] * 10**10", "MemoryError"),
        ("def f(): f()\nf()", "RecursionError"),
        ("import os\nos._exit(0)", "before the tests were done"),
        ("raise SystemExit", "SystemExit"),
        ("import sys\nsys.stdout.close()", "before the tests were done"),
        ("import ctypes\nctypes.string_at(0)", "status -11"),
        ("import ctypes\n1 / (1 + ctypes.CDLL(None).ptrace(0, 0, 0, 0))", "ZeroDivisionError"),
        ("import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))", "Error"),
    ],
)
def test_hostile_program_harms_nothing_and_scores_zero_with_its_reason(program, reason):
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    found = result(program)
    assert found.score == 0.0
    assert reason in found.reason
    assert not CANARY.exists()
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before


def test_program_that_sleeps_is_ended_by_the_clock(monkeypatch):
    monkeypatch.setattr("eval_svc.worker.python._START_S", 0.0)
    assert "did not end" in result("import time\ntime.sleep(1000)").reason


def test_program_that_prints_a_pass_of_its_own_has_not_passed():
    forged = "import os\nos.write(1, b'\\n' + b'0' * 32 + b'{\\x22error\\x22: \\x22\\x22}\\n')\nos._exit(0)"
    assert result(forged, "assert False").score == 0.0


def test_program_finds_nothing_of_the_project_and_an_empty_environment():
    program = "import sys\nassert not [m for m in sys.modules if 'bessemer' in m or 'eval_svc' in m]\n"
    assert result(program + "import os\nassert not [k for k in os.environ if k.startswith('BESSEMER')]").score == 1.0


def test_program_of_answer_is_its_fenced_blocks_or_all_of_it():
    assert program_of("Sure:\n```python\nx = 1\n```\nand\n```\ny = 2\n```") == "x = 1\n\ny = 2\n"
    assert program_of("x = 1") == "x = 1"


def test_program_that_continues_its_prompt_is_run_with_it():
    case = Case(id="a", cluster="a", prompt="def one():\n", target="assert one() == 1")
    options = GraderOptions(python=PythonOptions(prompt_first=True))
    with Graders() as graders:
        assert graders.mark(Grader.PYTHON, "    return 1\n", case, options).score == 1.0
