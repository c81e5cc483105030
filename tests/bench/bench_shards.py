"""Shard writing: documents' tokens packed into rows, written, and digested; and how many documents packing cuts.

Tokens are drawn at random, because writing does not look at them; lengths are those of real manuals where these are
installed. The limit is SHA-256 of the same files alone. A cut document is one in more pieces than its length needs.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bessemer.artifacts.shard import BOUND  # noqa: E402
from data_svc.worker.packing import write_rows  # noqa: E402
from data_svc.worker.slices import Slices  # noqa: E402

ROUNDS = 5
SEQUENCE_LENGTH = 2048
NUM_TOKENS = 80_000_000
DTYPE = np.dtype("<u2")
CHARACTERS_PER_TOKEN = 4
GOAL = 500


def main() -> None:
    """Measure, print the table, write `build/bench/shards.json`."""
    with tempfile.TemporaryDirectory() as folder:
        tokens = corpus(Path(folder))
        write_and_digest(tokens.take(np.arange(100)))  # compiles
        rates, limits = [], []
        for _ in range(ROUNDS):
            size, seconds, digest_seconds, bounds = write_and_digest(tokens)
            rates.append(size / 1e6 / seconds)
            limits.append(size / 1e6 / digest_seconds)
    lengths = tokens.sizes // DTYPE.itemsize
    pieces = np.bincount(bounds["document"], minlength=len(lengths))
    cut = int((pieces != -(-lengths // SEQUENCE_LENGTH)).sum())
    fill = float(lengths.sum()) / (size_of_rows(bounds) * SEQUENCE_LENGTH)
    report(
        [
            row(
                "shard write with SHA-256, MB per CPU second", statistics.median(rates), statistics.median(limits), GOAL
            ),
            row(f"documents cut that need not be, of {len(lengths)}", cut, None, 0),
            row("share of rows that holds tokens", fill, 1.0, None),
        ]
    )


def corpus(folder: Path) -> Slices:
    """Return where the tokens of all documents lie; without manuals the lengths are log-normal."""
    random = np.random.default_rng(0)
    files = sorted(Path("/usr/share/doc").glob("linux-doc*/**/*.html"))
    sizes = [path.stat().st_size for path in files] or random.lognormal(9, 1.2, 5000)
    lengths = random.permutation((np.array(sizes) // CHARACTERS_PER_TOKEN + 1).astype(np.int64))
    lengths = np.tile(lengths, NUM_TOKENS // int(lengths.sum()) + 1)
    lengths = lengths[: int(np.searchsorted(np.cumsum(lengths), NUM_TOKENS))]
    path = folder / "tokens"
    random.integers(0, 1 << 15, int(lengths.sum()), np.uint16).tofile(path)
    starts = np.cumsum(lengths) - lengths
    return Slices([path], np.zeros(len(lengths), np.int64), starts * DTYPE.itemsize, lengths * DTYPE.itemsize)


def write_and_digest(tokens: Slices) -> tuple[int, float, float, np.ndarray]:
    """Return bytes, CPU seconds in all and of the digests alone, and the bounds with rows counted on."""
    numbers = np.arange(len(tokens.sizes))
    with tempfile.TemporaryDirectory() as folder:
        begin = time.process_time()
        write_rows(Path(folder), "train", numbers, tokens, dtype=DTYPE, sequence_length=SEQUENCE_LENGTH, seed=0)
        written = time.process_time()
        paths = sorted(Path(folder).rglob("*.b*"))
        for path in paths:
            with path.open("rb") as file:
                hashlib.file_digest(file, "sha256")
        end = time.process_time()
        size = sum(path.stat().st_size for path in paths)
        bounds = [np.fromfile(path, BOUND) for path in paths if path.suffix == ".bounds"]
    first = 0
    for part in bounds:
        part["row"] += first
        first = int(part["row"][-1]) + 1
    return size, end - begin, end - written, np.concatenate(bounds)


def size_of_rows(bounds: np.ndarray) -> int:
    """Return the number of rows."""
    return int(bounds["row"][-1]) + 1


def row(metric: str, ours: float, limit: float | None, goal: float | None) -> dict[str, object]:
    """Return one row of the table."""
    rounded = None if limit is None else round(limit, 4)
    return {"metric": metric, "ours": round(ours, 4), "peer": None, "ratio": None, "limit": rounded, "goal": goal}


def report(rows: list[dict[str, object]]) -> None:
    """Print the rows and write them."""
    path = ROOT / "build" / "bench" / "shards.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2))
    for entry in rows:
        print(f"{entry['metric']:56} " + "  ".join(f"{key} {entry[key]}" for key in ("ours", "limit", "goal")))
    print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
