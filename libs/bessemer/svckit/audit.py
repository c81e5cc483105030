"""The audit trail: who changed what, each record chained to the one before by SHA-256."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

import sqlalchemy
from sqlalchemy import select

from bessemer.kernel.errors import DataLoss
from bessemer.svckit.tables import AUDIT

__all__ = ["START", "Record", "digest", "verify"]

START = "0" * 64


@dataclass(frozen=True)
class Record:
    """One line of the trail."""

    sequence: int
    time: str
    principal: str
    method: str
    resource: str
    revision: int


def digest(previous_sha256: str, record: Record) -> str:
    """Return the digest of a record and of everything before it."""
    line = json.dumps(asdict(record), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{previous_sha256}{line}".encode()).hexdigest()


def verify(connection: sqlalchemy.Connection) -> str:
    """Check the whole trail; return the digest of its last record, to be kept elsewhere: a cut tail shows only there.

    Raises: DataLoss naming the first record that was changed or is missing.
    """
    previous, expected = START, 1
    for row in connection.execute(select(AUDIT).order_by(AUDIT.c.sequence)).mappings():
        facts = dict(row)
        stored = facts.pop("sha256")
        previous = digest(previous, Record(**facts))
        if row["sequence"] != expected or stored != previous:
            raise DataLoss(
                f"audit record {row['sequence']} was changed, or one before it is missing", record=row["sequence"]
            )
        expected += 1
    return previous
