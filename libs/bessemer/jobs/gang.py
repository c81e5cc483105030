"""`python -m bessemer.jobs.gang N MODULE`: N processes of a worker that live and die together.

They find each other as under torchrun: RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT. Nothing is restarted
here: whoever launched the gang starts all of it again, and it goes on from its checkpoint. The gang ends as the rank
that ended it, by the same code or signal.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from bessemer.jobs.launcher import GO
from bessemer.kernel.processes import die_with_parent

__all__ = ["decide", "run"]

_POLL_S = 0.1
_GRACE_S = 10.0  # for the first rank to say why, and for the others to leave


def decide(codes: Sequence[int | None], waited_s: float) -> int | None:
    """Return the code that the gang ends with now, None to wait on; `waited_s` since the first rank ended."""
    first = codes[0]
    if first is not None and (first != 0 or None not in codes):
        return first
    killed = next((code for code in codes if code is not None and code < 0), None)
    if killed is not None:
        return killed
    failed = next((code for code in codes if code), 0 if first == 0 else None)
    return failed if waited_s >= _GRACE_S else None  # a follower that left early with 0 is no reason to end


def run(size: int, module: str, env: Mapping[str, str]) -> int:
    """Start the ranks, wait for how it ends, and leave none behind; a negative code is a signal."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", module],
            env={**env, **where, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdin=subprocess.PIPE,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - this process has one thread
        )
        for rank in range(size)
    ]
    for rank in ranks:
        assert rank.stdin is not None
        with contextlib.suppress(OSError):
            rank.stdin.write(GO)
            rank.stdin.close()
    ended_at: float | None = None
    while True:
        codes = [rank.poll() for rank in ranks]
        if ended_at is None and any(code is not None for code in codes):
            ended_at = time.monotonic()
        code = decide(codes, 0.0 if ended_at is None else time.monotonic() - ended_at)
        if code is not None:
            break
        time.sleep(_POLL_S)
    for rank in ranks:
        with contextlib.suppress(OSError):
            rank.kill()
        rank.wait()
    return code


def _main() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the whole group gets it, and the first rank decides
    if sys.stdin.buffer.readline() != GO:
        sys.exit(3)
    code = run(int(sys.argv[1]), sys.argv[2], dict(os.environ))
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    _main()
