"""Results of finished partitions, kept for a job that was killed, a later import, and other hosts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from bessemer.artifacts.blobs import Objects, sha256_of
from bessemer.kernel.errors import DataLoss, NotFound

from data_svc.domain.partitions import result_name, work_prefix

__all__ = ["Work", "WorkObjects"]


class WorkObjects(Objects, Protocol):
    """The part of the object store that is needed here."""

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys that start with a prefix, in order."""

    def delete(self, key: str) -> None:
        """Remove an object if it is there."""


class Work:
    """Results of one project by the key of what they were made from; losing one costs time and nothing else.

    An object's name ends with its own digest, which is verified when it is read; a damaged one is made again.
    """

    def __init__(self, objects: WorkObjects, project: str) -> None:
        self._objects = objects
        self._prefix = work_prefix(project)

    def fetch(self, key: str, path: Path) -> bool:
        """Copy a result into a file if there is one."""
        for name in [*self._objects.list(f"{self._prefix}{key}/")]:
            try:
                self._objects.get_file(name, path)
            except NotFound:
                continue  # cleared away just now
            except DataLoss:
                self._objects.delete(name)
                continue
            if sha256_of(path) == name.rpartition(".")[2]:
                return True
            self._objects.delete(name)
        return False

    def keep(self, key: str, path: Path) -> None:
        """Store a result; two workers that made it differently both keep theirs, and the older is used from then on."""
        name = result_name(datetime.now(UTC).date(), sha256_of(path))
        self._objects.put_file(f"{self._prefix}{key}/{name}", path)
