"""Tables of evaluation beside the resources."""

from __future__ import annotations

from bessemer.svckit.store import METADATA
from sqlalchemy import Column, LargeBinary, Table, Text

__all__ = ["DRIFT_STATES", "TABLES"]

# What monitors have learnt; every batch of requests changes it, so it is no part of the resource and its events.
DRIFT_STATES = Table(
    "drift_states",
    METADATA,
    Column("monitor", Text, primary_key=True),
    Column("state", LargeBinary, nullable=False),
    Column("request_ids", Text, nullable=False),  # of the last batches, separated by spaces
)

TABLES = (DRIFT_STATES,)
