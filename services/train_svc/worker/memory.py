"""How much memory this process has held at most."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

__all__ = ["peak_memory_bytes"]

_STATUS = Path("/proc/self/status")


def peak_memory_bytes() -> int:
    """Return the largest resident size of this process so far, in bytes.

    Linux tells it per program; `getrusage` would also count what the process held before it became this program.
    """
    if _STATUS.is_file():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
