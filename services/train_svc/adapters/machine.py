"""The machine that workers of this service run on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["Machine"]

_FLAGS = {"amx_bf16", "avx512_bf16"}
_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Machine:
    """What planning has to know; bytes of memory, whether the processor multiplies bf16, threads of a worker."""

    memory_bytes: int
    has_bf16: bool
    threads: int

    @staticmethod
    def here(threads: int) -> Machine:
        """Return this machine."""
        lines = _CPUINFO.read_text().splitlines() if _CPUINFO.is_file() else []
        flags = next((set(line.split()) for line in lines if line.startswith("flags")), set())
        return Machine(psutil.virtual_memory().total, bool(flags & _FLAGS), threads)
