"""The object store as workers see it: an outage shorter than a job's patience delays the job and fails nothing."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal, TypeVar

from bessemer.kernel.errors import Unavailable
from bessemer.svckit.objects import ObjectsConfig, ObjectStore, open_objects

__all__ = ["OUTAGE_S", "PatientObjects", "objects_env", "objects_of"]

OUTAGE_S = 120.0  # a store that restarts is back by then; what lasts longer is for the job's own tries
_FIRST_DELAY_S, _DELAY_S_MAX = 0.25, 4.0

_log = logging.getLogger("bessemer.worker")
T = TypeVar("T")


class PatientObjects:
    """An `ObjectStore` that is opened at its first use, and asked again while it does not answer.

    Every operation may be repeated: objects are immutable, so the same bytes again change nothing.
    """

    def __init__(self, open_store: Callable[[], ObjectStore], outage_s: float = OUTAGE_S) -> None:
        self._open_store = open_store
        self._outage_s = outage_s
        self._store: ObjectStore | None = None

    @property
    def config(self) -> ObjectsConfig:
        """See `ObjectStore`."""
        return self._ask(lambda store: store.config)

    def put_bytes(self, key: str, data: bytes) -> None:
        """See `ObjectStore`."""
        self._ask(lambda store: store.put_bytes(key, data))

    def put_file(self, key: str, path: Path) -> None:
        """See `ObjectStore`."""
        self._ask(lambda store: store.put_file(key, path))

    def move_file(self, key: str, path: Path) -> None:
        """See `ObjectStore`."""
        self._ask(lambda store: store.move_file(key, path))

    def get_bytes(self, key: str) -> bytes:
        """See `ObjectStore`."""
        return self._ask(lambda store: store.get_bytes(key))

    def get_file(self, key: str, path: Path) -> None:
        """See `ObjectStore`."""
        self._ask(lambda store: store.get_file(key, path))

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """See `ObjectStore`."""
        return self._ask(lambda store: store.get_range(key, start, length))

    def local_path(self, key: str) -> Path | None:
        """See `ObjectStore`."""
        return self._ask(lambda store: store.local_path(key))

    def stat(self, key: str) -> int:
        """See `ObjectStore`."""
        return self._ask(lambda store: store.stat(key))

    def list(self, prefix: str) -> Iterator[str]:
        """See `ObjectStore`."""
        yield from self._ask(lambda store: [*store.list(prefix)])

    def delete(self, key: str) -> None:
        """See `ObjectStore`."""
        self._ask(lambda store: store.delete(key))

    def signed_url(
        self,
        method: Literal["GET", "PUT"],
        key: str,
        *,
        expires_s: int,
        size_bytes: int | None = None,
        sha256: str | None = None,
    ) -> tuple[str, dict[str, str]]:
        """See `ObjectStore`."""
        return self._ask(
            lambda store: store.signed_url(method, key, expires_s=expires_s, size_bytes=size_bytes, sha256=sha256)
        )

    def _ask(self, operation: Callable[[ObjectStore], T]) -> T:
        """Return what the operation returns; the last Unavailable passes once the outage has lasted too long."""
        deadline = time.monotonic() + self._outage_s
        delay_s = _FIRST_DELAY_S
        while True:
            try:
                if self._store is None:
                    self._store = self._open_store()
                return operation(self._store)
            except Unavailable as error:
                if time.monotonic() + delay_s > deadline:
                    raise
                _log.warning("the object store does not answer: %s; trying again", error.message)
            time.sleep(delay_s * random.uniform(0.5, 1.0))
            delay_s = min(_DELAY_S_MAX, delay_s * 2)


def objects_env(config: ObjectsConfig) -> dict[str, str]:
    """Return the environment that tells a process where objects lie."""
    env = {"BESSEMER_OBJECTS_URL": config.url}
    if config.access_key:
        env |= {"BESSEMER_S3_ACCESS_KEY": config.access_key, "BESSEMER_S3_SECRET_KEY": config.secret_key}
    return env


def objects_of(env: Mapping[str, str]) -> ObjectStore:
    """Return the object store that an environment names; it is opened when it is used."""
    config = ObjectsConfig(
        env["BESSEMER_OBJECTS_URL"],
        access_key=env.get("BESSEMER_S3_ACCESS_KEY", ""),
        secret_key=env.get("BESSEMER_S3_SECRET_KEY", ""),
    )
    return PatientObjects(lambda: open_objects(config))
