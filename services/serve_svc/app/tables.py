"""Tables of serving beside the resources."""

from __future__ import annotations

from bessemer.svckit.store import METADATA
from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, Table, Text, UniqueConstraint

__all__ = [
    "ANSWERS",
    "API_KEYS",
    "API_KEY_USAGE",
    "BATCHES",
    "BATCH_PARTS",
    "OUTCOMES",
    "ROLLOUTS",
    "ROLLOUT_ANSWERS",
    "SERVING",
    "TABLES",
]

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

# API keys by the digest of their secret.
API_KEYS = Table(
    "api_keys",
    METADATA,
    Column("sha256", Text, primary_key=True),
    Column("api_key", Text, nullable=False),
)

# What keys used, by days of UTC.
API_KEY_USAGE = Table(
    "api_key_usage",
    METADATA,
    Column("api_key", Text, primary_key=True),
    Column("day", Text, primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("refused_requests", BigInteger, nullable=False),
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

# Batch inference jobs that have not ended.
BATCHES = Table(
    "batches",
    METADATA,
    Column("job", Text, primary_key=True),
    Column("uid", Text, nullable=False),  # in the order of creation
    Column("runs", Boolean, nullable=False),
)

# Parts of their files: who answers each until when, and where its answers lie once they count.
BATCH_PARTS = Table(
    "batch_parts",
    METADATA,
    Column("job", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("first", Integer, nullable=False),  # number of its first line
    Column("start_byte", BigInteger, nullable=False),
    Column("end_byte", BigInteger, nullable=False),
    Column("owner", Text, nullable=False, default=""),
    Column("lease_until_s", Float, nullable=False, default=0.0),  # seconds since 1970
    Column("result", Text, nullable=False, default=""),  # artifacts as JSON, answers and refusals, a line each
)

TABLES = (SERVING, ANSWERS, API_KEYS, API_KEY_USAGE, ROLLOUTS, ROLLOUT_ANSWERS, OUTCOMES, BATCHES, BATCH_PARTS)
