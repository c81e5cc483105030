"""Opening a database so that a commit means what it says, and its errors in our words."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

import sqlalchemy
from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from bessemer.kernel.errors import BessemerError, DataLoss, FailedPrecondition, LimitReached, Unavailable

__all__ = ["WRITE", "connect", "is_fatal", "lock_for_write", "translate"]

WRITE = "bessemer_write"  # execution option: take the write lock at BEGIN
BUSY_TIMEOUT_MS = 5_000
_SYNC_MODES = {"": 2, "full": 2, "2": 2, "extra": 3, "3": 3}
_FATAL = {"SQLITE_IOERR_FSYNC", "SQLITE_IOERR_DIR_FSYNC"}
_NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p", "ceph", "glusterfs"}


def connect(url: str, *, num_readers: int) -> sqlalchemy.Engine:
    """Return an engine for `sqlite:///path` or `postgresql+psycopg://...`.

    Raises: FailedPrecondition if the database would lose acknowledged commits; Unavailable if it does not answer.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _connect_sqlite(parsed, num_readers)
    if parsed.drivername == "postgresql+psycopg":
        return _connect_postgres(parsed, num_readers)
    raise FailedPrecondition(
        f"database {parsed.drivername!r} is unknown; use sqlite:///path or postgresql+psycopg://..."
    )


def lock_for_write(connection: sqlalchemy.Connection, service: str) -> None:
    """Make this transaction the only writing one: sequence numbers are contiguous and commit in order."""
    if connection.dialect.name == "postgresql":
        number = int.from_bytes(hashlib.sha256(f"bessemer:{service}".encode()).digest()[:8], signed=True)
        connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})


def is_fatal(error: BaseException) -> bool:
    """Say whether the kernel failed to make a write durable; what it then holds is unknown until the next start."""
    cause = getattr(error, "orig", error)
    return getattr(cause, "sqlite_errorname", "") in _FATAL


def translate(error: BaseException) -> BaseException:
    """Return our error for one of the database driver, any other error as it is."""
    if isinstance(error, PoolTimeout):
        return Unavailable("the database's connections are all in use; retry")
    if not isinstance(error, DBAPIError):
        return error
    cause = error.orig
    name = getattr(cause, "sqlite_errorname", "") or str(getattr(cause, "sqlstate", "") or "")
    if name in {"SQLITE_FULL", "53100"}:
        return LimitReached("the database's disk is full; free some space and retry", reason="STORAGE_FULL")
    if name in {"SQLITE_CORRUPT", "SQLITE_NOTADB", "XX001", "XX002"}:
        return DataLoss(f"the database is damaged ({cause}); restore it from a backup")
    outage = isinstance(error, (OperationalError, InterfaceError)) and name != "SQLITE_ERROR"  # that is wrong SQL
    if outage or error.connection_invalidated:
        return Unavailable(
            f"the database does not answer ({str(cause).splitlines()[0] if str(cause) else name}); retry"
        )
    return error


def _connect_sqlite(url: URL, num_readers: int) -> sqlalchemy.Engine:
    if not url.database or url.database == ":memory:":
        raise FailedPrecondition("a database in memory loses everything at the end of the process; use sqlite:///path")
    wanted = str(url.query.get("synchronous", "")).lower()
    if wanted not in _SYNC_MODES:
        raise FailedPrecondition(f"synchronous={wanted} loses acknowledged writes in a power cut; use FULL or EXTRA")
    path = Path(url.database).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    _refuse_network(path)
    engine = sqlalchemy.create_engine(
        url.set(query={}),
        pool_size=num_readers + 1,
        max_overflow=0,
        hide_parameters=True,
        pool_timeout=10,
        connect_args={"check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        for statement in (
            f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}",
            "PRAGMA journal_mode=WAL",
            f"PRAGMA synchronous={_SYNC_MODES[wanted]}",
            "PRAGMA foreign_keys=ON",
        ):
            connection.execute(statement)
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
        level = connection.execute("PRAGMA synchronous").fetchone()[0]
        if mode != "wal" or level < _SYNC_MODES["full"]:
            raise FailedPrecondition(
                f"{path} opened with journal_mode={mode}, synchronous={level}; WAL and 2 (FULL) are needed"
            )

    @event.listens_for(engine, "begin")
    def _begin(connection: sqlalchemy.Connection) -> None:
        write = connection.get_execution_options().get(WRITE)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    _probe(engine)
    return engine


def _connect_postgres(url: URL, num_readers: int) -> sqlalchemy.Engine:
    engine = sqlalchemy.create_engine(
        url,
        pool_size=num_readers + 1,
        max_overflow=0,
        hide_parameters=True,
        pool_timeout=10,
        pool_pre_ping=True,
        # A replica that hangs must not hold the write lock for ever, nor keep others waiting without an answer.
        connect_args={
            "connect_timeout": 5,
            "tcp_user_timeout": 10_000,
            "options": "-c lock_timeout=10s -c statement_timeout=60s -c idle_in_transaction_session_timeout=60s",
        },
    )
    _probe(engine)
    for setting in ("fsync", "synchronous_commit"):
        with engine.connect() as connection:
            value = connection.execute(sqlalchemy.text(f"SHOW {setting}")).scalar_one()
        if value == "off":
            raise FailedPrecondition(f"PostgreSQL runs with {setting}=off and loses acknowledged writes; set it to on")
    return engine


def _probe(engine: sqlalchemy.Engine) -> None:
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1")
    except BessemerError:
        raise
    except DBAPIError as error:
        raise translate(error) from error


def _refuse_network(path: Path) -> None:
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return
    inside = [(point, kind) for point, kind in mounts if path.is_relative_to(point)]
    kind = max(inside, key=lambda mount: len(mount[0]), default=("", ""))[1]
    if kind in _NETWORK_FILE_SYSTEMS:
        raise FailedPrecondition(
            f"{path} lies on {kind}, where SQLite's locks do not hold; use a local disk or PostgreSQL"
        )
