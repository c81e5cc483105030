"""Tables of the job runtime and the rows in them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import cast

import sqlalchemy
from sqlalchemy import BigInteger, Column, Double, Index, Integer, LargeBinary, Table, Text
from sqlalchemy.dialects import postgresql, sqlite

from bessemer.api.common.v1.job_pb2 import JobState
from bessemer.api.common.v1.metric_pb2 import MetricPoint
from bessemer.jobs.decide import Task
from bessemer.jobs.states import TERMINAL
from bessemer.kernel.errors import NotFound
from bessemer.svckit.tables import METADATA

__all__ = [
    "METRICS",
    "TABLES",
    "TASKS",
    "find",
    "insert",
    "live",
    "load",
    "metrics_after",
    "query_metrics",
    "save",
    "save_metrics",
]

TASKS = Table(
    "job_tasks",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("state", Integer, nullable=False),
    Column("queued_wall_s", Double, nullable=False),
    Column("boot_id", Text, nullable=False),
    Column("since_s", Double, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("reported_epoch", Integer, nullable=False),
    Column("worker", Text, nullable=False),
    Column("lease_until_s", Double, nullable=False),
    Column("not_before_s", Double, nullable=False),
    Column("published_s", Double, nullable=False),
    Column("saved_state", LargeBinary, nullable=False),
    Column("progress", Double, nullable=False),
    Column("failures", Text, nullable=False),
    Column("failed_at", Text, nullable=False),
    Column("repeats", Integer, nullable=False),
    Column("cpu_done_s", Double, nullable=False),
    Column("traceparent", Text, nullable=False),
    Index("job_tasks_by_state", "state", "queued_wall_s"),
)

METRICS = Table(
    "job_metrics",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("step", BigInteger, primary_key=True),
    Column("value", Double, nullable=False),
)

TABLES = (TASKS, METRICS)


def insert(connection: sqlalchemy.Connection, task: Task) -> None:
    """Add a task."""
    connection.execute(TASKS.insert().values(_values(task)))


def save(connection: sqlalchemy.Connection, task: Task) -> None:
    """Replace a task; the caller has checked in this transaction that it may."""
    connection.execute(TASKS.update().where(TASKS.c.name == task.name).values(_values(task)))


def find(connection: sqlalchemy.Connection, name: str) -> Task | None:
    """Return a task if there is one."""
    row = connection.execute(TASKS.select().where(TASKS.c.name == name)).mappings().one_or_none()
    return None if row is None else _task(row)


def load(connection: sqlalchemy.Connection, name: str) -> Task:
    """Return a task.

    Raises: NotFound if there is none.
    """
    task = find(connection, name)
    if task is None:
        raise NotFound(f"there is no job {name[:200]!r}", resource=name[:200])
    return task


def live(connection: sqlalchemy.Connection) -> list[Task]:
    """Return the tasks that have not ended, longest waiting first."""
    query = TASKS.select().where(TASKS.c.state.not_in(TERMINAL)).order_by(TASKS.c.queued_wall_s, TASKS.c.name)
    return [_task(row) for row in connection.execute(query).mappings()]


def save_metrics(connection: sqlalchemy.Connection, name: str, points: Iterable[MetricPoint]) -> None:
    """Store points; a later attempt overwrites the same steps of an earlier one."""
    rows = {(p.key, p.step): {"name": name, "key": p.key, "step": p.step, "value": p.value} for p in points}
    if not rows:
        return
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(METRICS)
    upsert = statement.on_conflict_do_update(
        index_elements=["name", "key", "step"], set_={"value": statement.excluded.value}
    )
    connection.execute(upsert, list(rows.values()))


def query_metrics(
    connection: sqlalchemy.Connection, name: str, keys: Sequence[str] = (), points_max: int = 0
) -> list[MetricPoint]:
    """Return points by series and step, each series thinned evenly to `points_max` (0: 500), its last point kept."""
    points_max = points_max or 500
    query = sqlalchemy.select(METRICS.c.key, METRICS.c.step, METRICS.c.value).where(METRICS.c.name == name)
    if keys:
        query = query.where(METRICS.c.key.in_(keys))
    rows = connection.execute(query.order_by(METRICS.c.key, METRICS.c.step)).all()
    points = []
    for _, group in groupby(rows, key=lambda row: row.key):
        series = list(group)
        count = min(len(series), points_max)
        picked = [series[-1 - i * (len(series) - 1) // max(1, count - 1)] for i in reversed(range(count))]
        points += [MetricPoint(key=row.key, step=row.step, value=row.value) for row in picked]
    return points


def metrics_after(
    connection: sqlalchemy.Connection, name: str, keys: Sequence[str], after_step: int, *, limit: int
) -> list[MetricPoint]:
    """Return the points beyond `after_step`, by step, at most about `limit` but whole steps only."""
    query = sqlalchemy.select(METRICS.c.key, METRICS.c.step, METRICS.c.value).where(METRICS.c.name == name)
    if keys:
        query = query.where(METRICS.c.key.in_(keys))
    query = query.where(METRICS.c.step > after_step).order_by(METRICS.c.step, METRICS.c.key)
    rows = connection.execute(query.limit(limit)).all()
    if len(rows) == limit:
        last = rows[-1].step
        rest = connection.execute(query.where(METRICS.c.step == last)).all()
        rows = [row for row in rows if row.step < last] + list(rest)
    return [MetricPoint(key=row.key, step=row.step, value=row.value) for row in rows]


def _values(task: Task) -> dict[str, object]:
    values = {field.name: getattr(task, field.name) for field in dataclasses.fields(task)}
    return values | {"state": int(task.state), "failures": json.dumps(dict(task.failures), sort_keys=True)}


def _task(row: sqlalchemy.RowMapping) -> Task:
    values = dict(row) | {"state": cast("JobState", row["state"]), "failures": json.loads(row["failures"])}
    return Task(**values)
