"""Tables of serving beside the resources."""

from __future__ import annotations

from bessemer.svckit.store import METADATA
from sqlalchemy import Column, Float, Index, Table, Text

__all__ = ["ANSWERS", "SERVING", "TABLES"]

# Deployments that are to run: loading or ready.
SERVING = Table(
    "serving",
    METADATA,
    Column("deployment", Text, primary_key=True),
    Column("endpoint", Text, nullable=False),
    Index("serving_by_endpoint", "endpoint"),
)

# Recent answers, so that feedback can be joined with what it is about.
ANSWERS = Table(
    "answers",
    METADATA,
    Column("response_id", Text, primary_key=True),
    Column("project", Text, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("prompt_json", Text, nullable=False),
    Column("answer", Text, nullable=False),
    Column("created_s", Float, nullable=False),  # seconds since 1970
    Index("answers_by_created", "created_s"),
)

TABLES = (SERVING, ANSWERS)
