"""A filter in the kernel that leaves a process without network and without other programs.

The filter holds for the process and its threads until they end, and needs no privilege.
Source: Linux, Documentation/userspace-api/seccomp_filter.rst; the numbers are of the tables of system calls.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys

__all__ = ["confine"]

_PR_SET_SECCOMP = 22
_PR_SET_NO_NEW_PRIVS = 38
_MODE_FILTER = 2
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW = 0x7FFF0000
_REFUSE = 0x00050000 | errno.EPERM
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4  # struct seccomp_data
_OTHER_ABI = 0x40000000  # x32 calls have this bit, and numbers of their own
# io_uring opens sockets without socket(); ptrace and its like would act through another process.
_REFUSED = {  # socket, execve, execveat, ptrace, process_vm_readv, process_vm_writev, io_uring_setup, pidfd_getfd
    "x86_64": (0xC000003E, (41, 59, 322, 101, 310, 311, 425, 438)),
    "aarch64": (0xC00000B7, (198, 221, 281, 117, 270, 271, 425, 438)),
}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def confine() -> str:
    """Refuse sockets and programs to this process from now on; return why that cannot be, empty if it is done."""
    if sys.platform != "linux" or platform.machine() not in _REFUSED:
        return f"no filter is known for {sys.platform} on {platform.machine()}"
    code = _filter(*_REFUSED[platform.machine()])
    program = _Program(len(code) // 8, code)
    library = ctypes.CDLL(None, use_errno=True)
    long = ctypes.c_ulong
    if library.prctl(_PR_SET_NO_NEW_PRIVS, long(1), long(0), long(0), long(0)):
        return f"the kernel refuses no_new_privs: {errno.errorcode.get(ctypes.get_errno(), '?')}"
    if library.prctl(_PR_SET_SECCOMP, long(_MODE_FILTER), ctypes.byref(program), long(0), long(0)):
        return f"the kernel refuses the filter: {errno.errorcode.get(ctypes.get_errno(), '?')}"
    return ""


def _filter(architecture: int, refused: tuple[int, ...]) -> bytes:
    """Return a BPF program: refuse calls of other architectures and of the list, allow the rest."""
    num_tests = len(refused)
    code = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_JUMP_EQUAL, 0, num_tests + 3, architecture),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_JUMP_AT_LEAST, num_tests + 1, 0, _OTHER_ABI),
        *((_JUMP_EQUAL, num_tests - at, 0, number) for at, number in enumerate(refused)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
