"""The process that runs an answer with its unit tests; started as `python -I -S python_child.py`, and only so.

On standard input comes one line of JSON, `{"filter", "memory_bytes", "cpu_s", "program", "tests", "word"}`. The last
line on standard output is the word with `{"error"}`, empty when all went well, or `{"broken"}` for tests that are no
program. Before the program runs, everything it may import is loaded, and the process loses files, network, threads and
other processes for good: no call for them is left.
Nothing of the project is imported here, so that a program finds nothing to take apart.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import resource
import signal
import sys
import types

_PR_SET_PDEATHSIG = 1
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _MODE_FILTER = 22, 38, 2
_ERROR_CHARACTERS = 300
# The parts of the standard library that calculate; after the filter no further file opens.
_MODULES = (
    "abc",
    "array",
    "base64",
    "binascii",
    "bisect",
    "calendar",
    "cmath",
    "collections",
    "collections.abc",
    "copy",
    "dataclasses",
    "datetime",
    "decimal",
    "difflib",
    "enum",
    "fractions",
    "functools",
    "hashlib",
    "heapq",
    "html",
    "itertools",
    "json",
    "keyword",
    "math",
    "numbers",
    "operator",
    "pprint",
    "queue",
    "random",
    "re",
    "statistics",
    "string",
    "struct",
    "textwrap",
    "time",
    "traceback",
    "types",
    "typing",
    "unicodedata",
    "unittest",
    "unittest.mock",
    "uuid",
    "zlib",
)


def _confine(request: dict[str, object]) -> None:
    code = bytes.fromhex(str(request["filter"]))
    library = ctypes.CDLL(None, use_errno=True)
    long = ctypes.c_ulong
    library.prctl(_PR_SET_PDEATHSIG, long(signal.SIGKILL), long(0), long(0), long(0))
    memory, cpu_s = int(str(request["memory_bytes"])), int(str(request["cpu_s"]))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))  # the second is beyond any handler
    for limit in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC, resource.RLIMIT_NOFILE):
        resource.setrlimit(limit, (0, 0))
    instructions = ctypes.create_string_buffer(code, len(code))
    header = ctypes.create_string_buffer(16)  # struct sock_fprog
    ctypes.c_ushort.from_buffer(header, 0).value = len(code) // 8
    ctypes.c_void_p.from_buffer(header, 8).value = ctypes.addressof(instructions)
    if library.prctl(_PR_SET_NO_NEW_PRIVS, long(1), long(0), long(0), long(0)) or library.prctl(
        _PR_SET_SECCOMP, long(_MODE_FILTER), ctypes.byref(header), long(0), long(0)
    ):
        sys.exit("the kernel refuses the filter")


def _run(source: str, name: str, namespace: dict[str, object]) -> str:
    """Run a program; return what went wrong, empty if nothing did."""
    try:
        types.FunctionType(compile(source, name, "exec", dont_inherit=True), namespace)()
    except BaseException as error:  # noqa: BLE001 - whatever a program raises, SystemExit included, is its result
        return f"{name}: {type(error).__name__}: {error}"[:_ERROR_CHARACTERS]
    return ""


def main() -> None:
    """Answer one request."""
    request = json.loads(sys.stdin.readline())
    for module in _MODULES:
        importlib.import_module(module)
    _confine(request)
    namespace: dict[str, object] = {"__name__": "__main__"}
    try:
        compile(request["tests"], "tests", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        found = {"broken": f"the tests are no program: {type(error).__name__} in line {getattr(error, 'lineno', 0)}"}
    else:
        found = {"error": _run(request["program"], "answer", namespace) or _run(request["tests"], "tests", namespace)}
    sys.stdout.write("\n" + request["word"] + json.dumps(found) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
