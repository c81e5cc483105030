"""Filters in the kernel that take system calls away from a process.

A filter holds for the process and its threads until they end, and needs no privilege.
Source: Linux, Documentation/userspace-api/seccomp_filter.rst; the numbers are of the tables of system calls.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys
from collections.abc import Mapping

__all__ = ["calculation_only", "install", "without_network"]

_PR_SET_SECCOMP = 22
_PR_SET_NO_NEW_PRIVS = 38
_MODE_FILTER = 2
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW = 0x7FFF0000
_REFUSE = 0x00050000 | errno.EPERM
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4  # struct seccomp_data
_OTHER_ABI = 0x40000000  # x32 calls have this bit, and numbers of their own
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# io_uring opens sockets without socket(); ptrace and its like would act through another process.
_NETWORK = {  # socket, execve, execveat, ptrace, process_vm_readv, process_vm_writev, io_uring_setup, pidfd_getfd
    "x86_64": (41, 59, 322, 101, 310, 311, 425, 438),
    "aarch64": (198, 221, 281, 117, 270, 271, 425, 438),
}
# In this order: read write close fstat lseek mmap mprotect munmap brk mremap madvise rt_sigaction rt_sigprocmask
# rt_sigreturn sigaltstack sched_yield nanosleep clock_nanosleep clock_gettime clock_getres gettimeofday times
# getrusage getpid gettid futex getrandom exit exit_group
_CALCULATION = {
    "x86_64": (
        *(0, 1, 3, 5, 8, 9, 10, 11, 12, 25, 28, 13, 14, 15, 131, 24, 35, 230, 228, 229),
        *(96, 100, 98, 39, 186, 202, 318, 60, 231),
    ),
    "aarch64": (
        *(63, 64, 57, 80, 62, 222, 226, 215, 214, 216, 233, 134, 135, 139, 132, 124, 101, 115, 113, 114),
        *(169, 153, 165, 172, 178, 98, 278, 93, 94),
    ),
}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def without_network() -> bytes:
    """Return the filter that refuses sockets and other programs; empty where no filter is known."""
    return _filter(_NETWORK, listed=_REFUSE, others=_ALLOW)


def calculation_only() -> bytes:
    """Return the filter that allows memory, time and what is open already; no file, process or thread.

    Empty where no filter is known.
    """
    return _filter(_CALCULATION, listed=_ALLOW, others=_REFUSE)


def install(code: bytes) -> str:
    """Filter this process's system calls from now on; return why that cannot be, empty if it is done."""
    if not code:
        return f"no filter is known for {sys.platform} on {platform.machine()}"
    program = _Program(len(code) // 8, code)
    library = ctypes.CDLL(None, use_errno=True)
    long = ctypes.c_ulong
    if library.prctl(_PR_SET_NO_NEW_PRIVS, long(1), long(0), long(0), long(0)):
        return f"the kernel refuses no_new_privs: {errno.errorcode.get(ctypes.get_errno(), '?')}"
    if library.prctl(_PR_SET_SECCOMP, long(_MODE_FILTER), ctypes.byref(program), long(0), long(0)):
        return f"the kernel refuses the filter: {errno.errorcode.get(ctypes.get_errno(), '?')}"
    return ""


def _filter(calls: Mapping[str, tuple[int, ...]], *, listed: int, others: int) -> bytes:
    """Return a BPF program: one verdict for the listed calls, another for the rest; no other architecture."""
    machine = platform.machine()
    if sys.platform != "linux" or machine not in calls:
        return b""
    numbers = calls[machine]
    num_tests = len(numbers)
    code = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_JUMP_EQUAL, 0, num_tests + 4, _ARCHITECTURES[machine]),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_JUMP_AT_LEAST, num_tests + 2, 0, _OTHER_ABI),
        *((_JUMP_EQUAL, num_tests - at, 0, number) for at, number in enumerate(numbers)),
        (_RETURN, 0, 0, others),
        (_RETURN, 0, 0, listed),
        (_RETURN, 0, 0, _REFUSE),
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
