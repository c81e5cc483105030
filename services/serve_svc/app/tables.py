"""Tables of serving beside the resources."""

from __future__ import annotations

from bessemer.svckit.store import METADATA
from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, Table, Text, UniqueConstraint

__all__ = ["ANSWERS", "OUTCOMES", "ROLLOUTS", "ROLLOUT_ANSWERS", "SERVING", "TABLES"]

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

# Rollouts that have not ended, and their evidence up to an outcome.
ROLLOUTS = Table(
    "rollouts",
    METADATA,
    Column("rollout", Text, primary_key=True),
    Column("endpoint", Text, nullable=False, unique=True),
    Column("sequence", BigInteger, nullable=False),  # of the last outcome in the evidence
    Column("evidence", Text, nullable=False),  # JSON by metric
)

# Answers that take part in a rollout, so that what is said of them later finds its arm.
ROLLOUT_ANSWERS = Table(
    "rollout_answers",
    METADATA,
    Column("response_id", Text, primary_key=True),
    Column("rollout", Text, nullable=False),
    Column("arm", Text, nullable=False),
    Column("subject", Text, nullable=False),  # the user, hashed, or the answer itself
    Index("rollout_answers_by_rollout", "rollout"),
)

# Outcomes in the order in which they are looked at: one for each subject and metric.
OUTCOMES = Table(
    "outcomes",
    METADATA,
    Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("rollout", Text, nullable=False),
    Column("metric", Text, nullable=False),
    Column("arm", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("good", Boolean, nullable=False),
    UniqueConstraint("rollout", "metric", "arm", "subject"),
    Index("outcomes_by_rollout", "rollout", "sequence"),
)

TABLES = (SERVING, ANSWERS, ROLLOUTS, ROLLOUT_ANSWERS, OUTCOMES)
