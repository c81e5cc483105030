"""`python -m bessemer.svckit NAME`: run one service until SIGTERM."""

from __future__ import annotations

import sys

from bessemer.svckit.service import run

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m bessemer.svckit NAME")
    sys.exit(run(sys.argv[1]))
