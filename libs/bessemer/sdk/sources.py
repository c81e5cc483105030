"""Documents that do not lie in a folder: Git repositories, SQL queries and S3 prefixes, brought into one.

They are read where the caller runs, with the caller's credentials, which therefore never reach a server.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from bessemer.kernel.errors import FailedPrecondition, InvalidRequest, LimitReached, NotFound, Unavailable

__all__ = ["S3Credentials", "fetch_source"]

ROWS_PER_FETCH = 1000
OBJECTS_MAX = 100_000  # the most entries an upload may hold
GIT_TIMEOUT_S = 1800.0


@dataclass(frozen=True)
class S3Credentials:
    """Who reads a bucket; empty reads it anonymously."""

    access_key: str = ""
    secret_key: str = ""


def fetch_source(
    source: str, folder: Path, *, query: str | None = None, credentials: S3Credentials | None = None
) -> Path:
    """Return a file or folder with the documents of `source`, written into `folder` unless it is one already.

    A path stays where it is. `git+URL` or `git+URL@REF` is cloned, its tracked files only. An SQLAlchemy URL with a
    `query` becomes JSON Lines, one document a row. `s3+http://HOST/BUCKET/PREFIX` (`s3+https` too) is copied.
    Raises: InvalidRequest for what is none of these; NotFound, FailedPrecondition, LimitReached, Unavailable.
    """
    if source.startswith("git+"):
        return _clone(source.removeprefix("git+"), folder)
    if source.startswith(("s3+http://", "s3+https://")):
        return _copy_prefix(source, folder, credentials or S3Credentials())
    if "://" in source:
        if not query:
            raise InvalidRequest("a database needs a query; add --query 'SELECT ...'", field="query")
        return _select(source, query, folder)
    if query:
        raise InvalidRequest(f"a query needs a database URL such as sqlite:///tickets.db; got {source}", field="source")
    return Path(source)


def _clone(address: str, folder: Path) -> Path:
    """Clone one state of a repository, without its history and without running anything of it."""
    url, _, reference = address.rpartition("@") if "@" in address.rsplit("/", 1)[-1] else (address, "", "")
    if url.startswith("-") or reference.startswith("-"):
        raise InvalidRequest(f"{address!r} is not the address of a repository", field="source")
    branch = ["--branch", reference] if reference else []
    argv = ["git", "-c", "protocol.ext.allow=never", "-c", "core.symlinks=false", "-c", "core.hooksPath=/dev/null"]
    target = folder / (PurePosixPath(urlsplit(url).path).stem or "repository")
    argv += ["clone", "--quiet", "--depth=1", "--single-branch", "--no-tags", *branch, "--", url, str(target)]
    try:
        subprocess.run(
            argv, check=True, capture_output=True, text=True, timeout=GIT_TIMEOUT_S, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError as error:
        raise FailedPrecondition("git is not installed; install it, or import a checkout by its path") from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{url} took over {GIT_TIMEOUT_S:.0f} s; clone it yourself, import the folder") from error
    except subprocess.CalledProcessError as error:
        raise NotFound(f"git cannot clone {address}: {error.stderr.strip()[-500:]}", resource=url) from error
    return target


def _select(url: str, query: str, folder: Path) -> Path:
    """Write a query's rows as JSON Lines; the connection may only read."""
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

    target = folder / "query.jsonl"
    try:
        engine = create_engine(_read_only(url))
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise InvalidRequest(f"{url.split('://', 1)[0]} is not a database this Python can open: {error}") from error
    options: dict[str, Any] = {"stream_results": True, "yield_per": ROWS_PER_FETCH}
    if engine.dialect.name == "postgresql":
        options["postgresql_readonly"] = True
    try:
        with engine.connect().execution_options(**options) as connection, target.open("w", encoding="utf-8") as file:
            for row in connection.execute(text(query)).mappings():
                file.write(json.dumps({"text": _as_text(row)}, ensure_ascii=False) + "\n")
    except DBAPIError as error:
        raise InvalidRequest(f"the database refuses the query: {error.orig}", field="query") from error
    finally:
        engine.dispose()
    return target


def _read_only(url: str) -> str:
    """Return an SQLite URL that opens the file for reading only; other databases are told per connection."""
    path = url.removeprefix("sqlite:///")
    if path == url or path.startswith("file:"):
        return url
    return f"sqlite:///file:{path}?mode=ro&uri=true"


def _as_text(row: Mapping[Any, Any]) -> str:
    """Return a row as a document: one short column a line, long ones as paragraphs."""
    values = {str(name): str(value).strip() for name, value in row.items() if value is not None}
    if len(values) == 1:
        return next(iter(values.values()))
    return "\n".join(f"\n{name}:\n{v}\n" if "\n" in v else f"{name}: {v}" for name, v in values.items() if v).strip()


def _copy_prefix(url: str, folder: Path, credentials: S3Credentials) -> Path:
    """Copy the objects below a prefix, each under its own name."""
    from minio import Minio
    from minio.error import S3Error
    from urllib3.exceptions import HTTPError

    parts = urlsplit(url)
    bucket, _, prefix = parts.path.strip("/").partition("/")
    client: Any = Minio(
        parts.netloc,
        access_key=credentials.access_key or None,
        secret_key=credentials.secret_key or None,
        secure=parts.scheme == "s3+https",
    )
    target = folder / bucket
    num_objects = 0
    try:
        for name in _names(client, bucket, prefix):
            num_objects += 1
            if num_objects > OBJECTS_MAX:
                raise LimitReached(f"{url} holds over {OBJECTS_MAX} objects; import longer prefixes one by one")
            client.fget_object(bucket_name=bucket, object_name=name, file_path=str(target / _inside(name)))
    except S3Error as error:
        raise NotFound(f"{url}: {error.message}", resource=url) from error
    except HTTPError as error:
        raise Unavailable(f"{parts.netloc} does not answer: {error}", resource=url) from error
    if not num_objects:
        raise NotFound(f"{url} holds no objects", resource=url)
    return target


def _names(client: Any, bucket: str, prefix: str) -> Iterator[str]:
    for found in client.list_objects(bucket_name=bucket, prefix=prefix, recursive=True):
        if not found.is_dir:
            yield found.object_name


def _inside(name: str) -> PurePosixPath:
    """Return an object's name as a path that stays inside the folder; leading dots would hide it or leave it."""
    return PurePosixPath(*(part.lstrip(".") or "_" for part in PurePosixPath(name).parts if part != "/"))
