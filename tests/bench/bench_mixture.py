"""Mixtures: how close what was read is to what was asked for, against sources drawn at random by Hugging Face datasets.

Four sources with shares of 70, 20, 8 and 2 percent, 100,000 rows, three seeds of the peer. The peer runs in an
environment of its own under `build/peers`.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bessemer.artifacts.mixture import Component, Phase, plan  # noqa: E402

PEER = "datasets==5.2.0"
SHARES = (0.7, 0.2, 0.08, 0.02)
ROWS, STEP, ROUNDS = 100_000, 64, 3


def main() -> None:
    """Measure, print the table, write `build/bench/mixture.json`."""
    python = peer_environment()
    made = plan([Component(ROWS, 512 * ROWS)] * len(SHARES), [Phase(1, SHARES)], ROWS)
    made.at(0)
    ours, costs, peer = np.empty(0, np.int64), [], []
    for seed in range(ROUNDS):
        begin = time.process_time()
        ours = np.array([made.at(row)[1] for row in range(ROWS)])
        costs.append((time.process_time() - begin) / ROWS * 1e6)
        peer.append(run_peer(python, seed))
    rows = []
    for metric, measure, limit in (
        ("rows off its share, worst source and prefix", off_in_prefix, 0.5),
        (f"rows off its share, worst source and step of {STEP} rows", off_in_step, 0.5),
        (f"steps of {STEP} rows without a row of the source of 2 %", empty_steps, 0.0),
    ):
        mine, theirs = measure(ours), statistics.median(measure(sources) for sources in peer)
        rows.append(row(f"{metric}, against {PEER}", mine, theirs, limit))
    rows.append(
        row("CPU microseconds to find the source of a row and its number", statistics.median(costs), None, None)
    )
    report(rows)


def off_in_prefix(sources: npt.NDArray[np.int64]) -> float:
    """Return the largest distance of any source's count from its share, over all prefixes."""
    length = np.arange(1, len(sources) + 1)
    return max(
        float(np.abs(np.cumsum(sources == source) - share * length).max()) for source, share in enumerate(SHARES)
    )


def off_in_step(sources: npt.NDArray[np.int64]) -> float:
    """Return the largest distance of any source's count from its share, over all steps."""
    steps = sources[: len(sources) // STEP * STEP].reshape(-1, STEP)
    return max(float(np.abs((steps == source).sum(1) - share * STEP).max()) for source, share in enumerate(SHARES))


def empty_steps(sources: npt.NDArray[np.int64]) -> float:
    """Return how many steps hold nothing of the smallest source."""
    steps = sources[: len(sources) // STEP * STEP].reshape(-1, STEP)
    return float((~(steps == len(SHARES) - 1).any(1)).sum())


def row(metric: str, ours: float, peer: float | None, limit: float | None) -> dict[str, object]:
    """Return a row; less is better in all of them."""
    ratio = round(ours / peer, 4) if peer else None
    shown = None if peer is None else round(peer, 3)
    return {"metric": metric, "ours": round(ours, 3), "peer": shown, "ratio": ratio, "limit": limit, "goal": None}


def peer_environment() -> Path:
    """Return the peer's Python, in an environment that is made when it is missing."""
    folder = ROOT / "build" / "peers" / "datasets"
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", PEER], check=True)
        (folder / ".ready").touch()
    return python


def run_peer(python: Path, seed: int) -> npt.NDArray[np.int64]:
    """Return the source of every row that the peer reads."""
    given, taken = ROOT / "build" / "peers" / "mixture.json", ROOT / "build" / "peers" / "sources.json"
    given.write_text(json.dumps({"shares": SHARES, "rows": ROWS, "seed": seed}))
    subprocess.run([str(python), str(Path(__file__).with_name("peer_mixture.py")), str(given), str(taken)], check=True)
    return np.array(json.loads(taken.read_text()))


def report(rows: list[dict[str, object]]) -> None:
    path = ROOT / "build" / "bench" / "mixture.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2))
    for shown in rows:
        figures = "  ".join(f"{key} {shown[key]}" for key in ("ours", "peer", "ratio", "limit", "goal"))
        print(f"{shown['metric']}\n    {figures}")
    print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
