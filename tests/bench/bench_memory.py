"""Memory of curation as a corpus grows tenfold: the peak of one process, per sort of process.

The corpus is real HTML, the longest file first, so that both sizes hold the same largest document. Both are far larger
than what a process holds at once. No peer: what others take is in the notes on design.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench_bad_input import LIMIT_MB, ROOT, SORTS, run
from bench_curation import FOLDERS

SIZES_MB = (20, 200)
FILE_BYTES_MAX = 3_000_000
GROWTH_MAX = 1.03


def main() -> None:
    """Measure, print the table, write `build/bench/memory.json`; each size in a process of its own."""
    peaks = []
    for size_mb in SIZES_MB:
        done = subprocess.run([sys.executable, __file__, str(size_mb)], check=True, stdout=subprocess.PIPE, text=True)
        peaks.append(json.loads(done.stdout.splitlines()[-1]))
    rows = []
    for size_mb, peak in zip(SIZES_MB, peaks, strict=True):
        for sort in SORTS:
            if sort in peak:  # a corpus of one partition is read by the worker itself
                label = {"bessemer.jobs.element": "reader of a partition", "parser_child": "parser"}.get(sort, sort)
                goal = f"<= {LIMIT_MB}"
                rows.append({"metric": f"{size_mb} MB, peak MB of {label}", "ours": peak[sort], "goal": goal})
    growth = round(max(peaks[1].values()) / max(peaks[0].values()), 3)
    rows.append({"metric": "growth of the largest process", "ours": growth, "goal": f"<= {GROWTH_MAX}"})
    path = ROOT / "build" / "bench" / "memory.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([{**row, "peer": None, "ratio": None} for row in rows], indent=1) + "\n")
    for row in rows:
        print(f"{row['metric']:50} {row['ours']:>8} {row['goal']}")


def corpus(folder: Path, size_mb: int) -> None:
    """Copy files of about so many bytes in all, spread over the folders of manuals."""
    found = {path.resolve() for place in FOLDERS for path in place.resolve().rglob("*.html") if path.is_file()}
    sizes = {path: path.stat().st_size for path in found if path.stat().st_size <= FILE_BYTES_MAX}
    longest, *others = sorted(sizes, key=lambda path: (-sizes[path], path))
    total, every = 0, max(1, round(sum(sizes.values()) / (size_mb * 1e6)))
    for number, path in enumerate([longest, *others[::every]]):
        total += sizes[path]
        shutil.copyfile(path, folder / f"{number}.html")
    print(f"{total / 1e6:.0f} MB", file=sys.stderr)


def measure(size_mb: int) -> None:
    """Curate a corpus of so many MB and print the peaks as JSON."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "source").mkdir()
        corpus(folder / "source", size_mb)
        _, peaks, reasons = run(folder / "source", folder)
        print(reasons, file=sys.stderr)
    print(json.dumps(peaks))


if __name__ == "__main__":
    measure(int(sys.argv[1])) if len(sys.argv) > 1 else main()
