"""Which process, which boot: identities that neither number reuse nor a moved wall clock can confuse."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import psutil

__all__ = ["boot_id", "process_start"]


@cache
def boot_id() -> str:
    """Return an id of this boot of the host; readings of the boot clock are comparable only within one."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return f"{psutil.boot_time():.0f}"


def process_start(pid: int) -> str | None:
    """Return an identity of the process that has number `pid` now; None if there is none or it is a zombie.

    On Linux the kernel's start time in ticks since boot: psutil's `create_time` moves with the wall clock.
    """
    if Path("/proc/self/stat").exists():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in {"Z", "X"} else f"{boot_id()}:{fields[19]}"
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.NoSuchProcess:
        return None
