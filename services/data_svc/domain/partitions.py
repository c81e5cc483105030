"""Units of work: where one ends, and what its result is called. Functions of content, never of workers or of time."""

from __future__ import annotations

import hashlib
from datetime import date, timedelta

from bessemer.artifacts.manifest import JSON, canonical_json

__all__ = [
    "PARTITION_BYTES",
    "TEXT_PART_BYTES",
    "is_stale",
    "result_key",
    "result_name",
    "starts_partition",
    "work_prefix",
]

PARTITION_BYTES = 64 << 20  # of source; one file that is larger is a partition by itself
TEXT_PART_BYTES = 32_000_000  # of the texts of a version, which are kept in parts of the same kind
KEEP_WORK = timedelta(days=30)


def starts_partition(sha256: bytes, size_bytes: int, held_bytes: int, most_bytes: int) -> bool:
    """Say whether a file begins a new partition after one that holds `held_bytes`, which may be `most_bytes`.

    A file begins one with a chance that grows with its size, drawn from its digest: so the same files meet the same
    bounds again soon after a place where files came or went. An eighth of the limit is always filled.
    Source: content-defined chunking (Muthitacharoen, Chen and Mazieres 2001, section 3.1), of files instead of bytes.
    """
    if held_bytes + size_bytes > most_bytes:
        return held_bytes > 0
    drawn = int.from_bytes(sha256[:7]) / (1 << 56)
    return held_bytes >= most_bytes // 8 and drawn < 2 * size_bytes / most_bytes


def result_key(stage: str, given: JSON) -> str:
    """Return what the result of a stage is called that depends on nothing but `given`."""
    return hashlib.sha256(canonical_json([stage, given])).hexdigest()


def work_prefix(project: str) -> str:
    """Return where the results of finished partitions lie."""
    return f"projects/{project}/work/"


def result_name(day: date, sha256: str) -> str:
    """Return the last part of a result's key: the day it was made, which says when it may go, and its own digest."""
    return f"{day.isoformat()}.{sha256}"


def is_stale(key: str, today: date) -> bool:
    """Say whether a result is so old that it may be made again instead of kept."""
    day, _, _ = key.rpartition("/")[2].partition(".")
    try:
        return today - date.fromisoformat(day) > KEEP_WORK
    except ValueError:
        return True  # nothing of ours
