"""Streaming of sealed text versions: rows in the order of training as int64 batches, from files and from a real S3.

Tokens are drawn at random, because reading does not look at them. A batch is 8 rows of 2,048 tokens, widened into a
new array. From files the cost is CPU seconds of the process, all threads; from S3 it is time, because waiting is what
prefetching is for, and the S3 server shares the machine. Every stream of ours starts without a cache and verifies the
SHA-256 of every shard. The peer is a Parquet file read through pyarrow, row groups in random order, 8 at a time mixed.
The limits are widening alone, and one connection that gets the same objects one after the other.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import fs, parquet

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bessemer.artifacts.blobs import Blobs  # noqa: E402
from bessemer.artifacts.manifest import FileEntry, Manifest  # noqa: E402
from bessemer.artifacts.shard import BOUND, rows_per_shard, split_shards, write_shard  # noqa: E402
from bessemer.artifacts.shard_files import ShardFiles  # noqa: E402
from bessemer.artifacts.stream import TextStream  # noqa: E402
from bessemer.local.servers import free_ports, start_seaweedfs  # noqa: E402
from bessemer.svckit.objects import ObjectsConfig, open_objects  # noqa: E402

ROUNDS = 5
SHARDS, SEQUENCE_LENGTH, BATCH = 8, 2048, 8
GROUP, GROUPS = 512, 8  # rows per row group of the peer, and row groups mixed
KEYS = {"access_key": "bench", "secret_key": "bench-secret"}
BUCKET = "bench"
PEER = f"pyarrow {pa.__version__} Parquet"
Batches = Generator[np.ndarray, None, None]


def main() -> None:
    """Measure, print the table, write `build/bench/streaming.json`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ports = free_ports(8)
        server = start_seaweedfs(folder / "s3", ports, log=folder / "weed.log", **KEYS)
        try:
            rows = measure(folder, f"127.0.0.1:{ports[0]}")
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
    report(rows)


def measure(folder: Path, address: str) -> list[dict[str, object]]:
    """Return the rows of the table."""
    files = open_objects(ObjectsConfig(f"file://{folder}/objects"))
    s3 = open_objects(ObjectsConfig(f"s3+http://{address}/{BUCKET}", **KEYS))
    version = seal(folder / "version", files, s3)
    remote = fs.S3FileSystem(endpoint_override=address, scheme="http", region="us-east-1", **KEYS)
    with remote.open_output_stream(f"{BUCKET}/peer.parquet") as target:
        target.write((folder / "peer.parquet").read_bytes())
    local_peer = partial(peer, str(folder / "peer.parquet"), None)
    s3_peer = partial(peer, f"{BUCKET}/peer.parquet", remote)
    seen: dict[str, list[float]] = {}
    for turn in range(ROUNDS):
        from_files = partial(ours, version, files, folder)
        from_s3 = partial(ours, version, s3, folder / f"cache-{turn}")
        middle = len(open_stream(version, files, folder)) // BATCH // 2 + 3
        costs = {
            "files": passes(from_files()),
            "files, peer": passes(local_peer()),
            "s3": passes(from_s3()),
            "s3, peer": passes(s3_peer()),
        }
        for key, found in costs.items():
            for number, (cpu_s, wall_s) in enumerate(found):
                seen.setdefault(f"{key}, CPU, pass {number}", []).append(cpu_s)
                seen.setdefault(f"{key}, wall, pass {number}", []).append(wall_s)
        waits = {
            "connection": timed(partial(get_all, s3, version)),
            "widen": widen(),
            "first": first(ours(version, s3, folder / f"first-{turn}")),
            "first, peer": first(s3_peer()),
            "resume": first(ours(version, s3, folder / f"resume-{turn}", middle)),
            "resume, cached": first(from_s3(middle)),
            "resume, files": first(from_files(middle)),
            "resume, peer": first(s3_peer(middle)),
        }
        for key, wait_s in waits.items():
            seen.setdefault(key, []).append(wait_s)
        check_exact(version, s3, folder, middle)
    print("load of the machine: {:.1f} {:.1f} {:.1f}; what is not CPU seconds depends on it".format(*os.getloadavg()))
    print("all rounds: " + json.dumps({key: [round(value, 3) for value in values] for key, values in seen.items()}))
    return table(version, {key: statistics.median(values) for key, values in seen.items()})


def seal(folder: Path, *stores: Any) -> Manifest:
    """Store one version in every store and, beside it, the same rows as Parquet."""
    random = np.random.default_rng(0)
    per_shard = rows_per_shard(SEQUENCE_LENGTH, 2)
    half = SEQUENCE_LENGTH // 2
    places = [(row, offset, half, 2 * row + offset // half, 0) for row in range(per_shard) for offset in (0, half)]
    schema = pa.schema([("tokens", pa.list_(pa.uint16(), SEQUENCE_LENGTH))])
    entries = []
    folder.mkdir()
    with parquet.ParquetWriter(
        folder.parent / "peer.parquet", schema, compression="none", use_dictionary=False
    ) as writer:
        for number in range(SHARDS):
            rows = random.integers(0, 1 << 15, (per_shard, SEQUENCE_LENGTH), np.uint16)
            bounds = np.array(places, BOUND)
            bounds["document"] += number * 2 * per_shard
            for path in write_shard(folder, "train", number, [rows], bounds):
                refs = [Blobs(store, "p").put_file(path, "application/octet-stream") for store in stores]
                entries.append(FileEntry.of(path.relative_to(folder).as_posix(), refs[0]))
            values = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), SEQUENCE_LENGTH)
            writer.write_table(pa.table({"tokens": values}, schema), row_group_size=GROUP)
    facts = {"kind": "TEXT", "sequence_length": SEQUENCE_LENGTH, "token_bytes": 2}
    return Manifest("dataset", tuple(sorted(entries, key=lambda entry: entry.path)), facts)


def open_stream(version: Manifest, store: Any, cache: Path) -> TextStream:
    """Return a stream as a new process would open it."""
    return TextStream(split_shards(version, "train"), ShardFiles(store, cache), digest="d", seed=1)


def ours(version: Manifest, store: Any, cache: Path, start: int = 0) -> Batches:
    """Yield batches of our stream, pass after pass, from batch `start` on."""
    stream = open_stream(version, store, cache)
    try:
        for position in range(start * BATCH, 1 << 40, BATCH):
            batch = np.empty((BATCH, SEQUENCE_LENGTH), np.int64)
            for place, sample in enumerate(stream.take(position, BATCH)):
                batch[place] = sample.tokens
            yield batch
    finally:
        stream._threads.shutdown()
        stream._files._writer.shutdown()  # what it fetches ahead must not burden the next measurement


def peer(path: str, filesystem: Any, start: int = 0) -> Batches:
    """Yield batches of the peer's file; going on means to skip whole windows and then batches."""
    file = parquet.ParquetFile(path, filesystem=filesystem)
    random = np.random.default_rng(1)
    groups = random.permutation(file.num_row_groups)
    per_window = GROUP * GROUPS // BATCH
    for number, window in enumerate(range(0, len(groups), GROUPS)):
        order = random.permutation(GROUP * GROUPS)
        skipped = max(0, start - number * per_window)
        if skipped >= per_window:
            continue
        parts = [file.read_row_group(int(group))["tokens"] for group in groups[window : window + GROUPS]]
        rows = np.concatenate([p.combine_chunks().values.to_numpy().reshape(-1, SEQUENCE_LENGTH) for p in parts])
        for batch in range(skipped * BATCH, len(rows), BATCH):
            yield rows[order[batch : batch + BATCH]].astype(np.int64)


def passes(batches: Batches) -> list[tuple[float, float]]:
    """Return CPU and wall seconds of the first pass and, if there is one, of the second."""
    costs = []
    for _ in range(2):
        cpu, wall = time.process_time(), time.perf_counter()
        if sum(1 for _ in islice(batches, num_batches())) == num_batches():
            costs.append((time.process_time() - cpu, time.perf_counter() - wall))
    batches.close()
    return costs


def num_batches() -> int:
    """Return the batches of a pass."""
    return SHARDS * rows_per_shard(SEQUENCE_LENGTH, 2) // BATCH


def first(batches: Batches) -> float:
    """Return the seconds to the first batch."""
    seconds = timed(lambda: next(batches))
    batches.close()
    return seconds


def timed(operation: Callable[[], object]) -> float:
    """Return how many seconds an operation takes."""
    begin = time.perf_counter()
    operation()
    return time.perf_counter() - begin


def get_all(store: Any, version: Manifest) -> None:
    """Get the shards' bytes over one connection, one after the other."""
    for shard in split_shards(version, "train"):
        assert len(store.get_range(shard.tokens.key, 0, shard.tokens.size_bytes)) == shard.tokens.size_bytes


def widen() -> float:
    """Return the CPU seconds that widening a pass of neighbouring rows takes."""
    rows = np.ones((rows_per_shard(SEQUENCE_LENGTH, 2), SEQUENCE_LENGTH), np.uint16)
    begin = time.process_time()
    for _ in range(SHARDS):
        for start in range(0, len(rows), BATCH):
            rows[start : start + BATCH].astype(np.int64)
    return time.process_time() - begin


def check_exact(version: Manifest, store: Any, folder: Path, middle: int) -> None:
    """Assert that what a resumed stream yields is what the undisturbed one did, from either store."""
    whole = list(islice(ours(version, store, folder / "cache-0"), middle + 5))[middle:]
    resumed = list(islice(ours(version, store, folder / "cache-0", middle), 5))
    np.testing.assert_array_equal(whole, resumed)


def table(version: Manifest, seconds: dict[str, float]) -> list[dict[str, object]]:
    """Return the rows: rates in million tokens per second, waits in seconds."""
    tokens = sum(shard.num_rows for shard in split_shards(version, "train")) * SEQUENCE_LENGTH / 1e6
    rate = {key: tokens / value for key, value in seconds.items()}
    size = tokens * 2
    return [
        row(f"from files, Mtok per CPU second, first pass ({size:.0f} MB, SHA-256 of all shards), against {PEER}",
            rate["files, CPU, pass 0"], rate["files, peer, CPU, pass 0"], rate["widen"], 500),
        row(f"from files, Mtok per CPU second, later passes, against {PEER}",
            rate["files, CPU, pass 1"], rate["files, peer, CPU, pass 0"], rate["widen"], 500),
        row(f"from S3, Mtok per CPU second of the reader, no cache, against {PEER}",
            rate["s3, CPU, pass 0"], rate["s3, peer, CPU, pass 0"], rate["widen"], None),
        row(f"from S3, Mtok per second, no cache, against {PEER}",
            rate["s3, wall, pass 0"], rate["s3, peer, wall, pass 0"], rate["connection"], 120),
        row(f"from S3, seconds to the first batch, no cache, against {PEER}",
            seconds["first"], seconds["first, peer"], seconds["connection"] / SHARDS, 0.25),
        row(f"from S3, seconds to resume in the middle, no cache, against {PEER}",
            seconds["resume"], seconds["resume, peer"], seconds["connection"] / SHARDS * 4, 0.25),
        row("from S3, seconds to resume in the middle, shards cached", seconds["resume, cached"], None, None, 0.25),
        row("from files, seconds to resume in the middle", seconds["resume, files"], None, None, 0.25),
    ]  # fmt: skip


def row(metric: str, ours: float, peer: float | None, limit: float | None, goal: float | None) -> dict[str, object]:
    """Return one row of the table."""
    ratio = None if peer is None else round(ours / peer, 3)
    numbers = {key: None if value is None else round(value, 3) for key, value in (("peer", peer), ("limit", limit))}
    return {"metric": metric, "ours": round(ours, 3), "ratio": ratio, **numbers, "goal": goal}


def report(rows: list[dict[str, object]]) -> None:
    """Print the rows and write them."""
    path = ROOT / "build" / "bench" / "streaming.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2))
    for entry in rows:
        numbers = "  ".join(f"{key} {entry[key]}" for key in ("ours", "peer", "ratio", "limit", "goal"))
        print(f"{entry['metric']:110} {numbers}")
    print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
