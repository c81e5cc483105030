"""Results of finished partitions, kept for a job that was killed, a later import, and other hosts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from bessemer.artifacts.blobs import Objects, sha256_of
from bessemer.kernel.errors import DataLoss, NotFound
from bessemer.svckit.objects import ObjectsConfig

from data_svc.domain.partitions import result_name, work_prefix

__all__ = ["Work", "WorkObjects"]


class WorkObjects(Objects, Protocol):
    """The part of the object store that is needed here."""

    @property
    def config(self) -> ObjectsConfig:
        """Return what another process opens the same store with."""

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys that start with a prefix, in order."""

    def delete(self, key: str) -> None:
        """Remove an object if it is there."""


class Work:
    """Results of one project by the key of what they were made from; losing one costs time and nothing else.

    An object's name ends with its own digest, which is verified when it is read; a damaged one is made again.
    """

    def __init__(self, objects: WorkObjects, project: str) -> None:
        self.objects = objects
        self.project = project
        self._prefix = work_prefix(project)

    def fetch(self, key: str, path: Path) -> str:
        """Copy a result into a file and return the object's name; empty if there is none."""
        for name in [*self.objects.list(f"{self._prefix}{key}/")]:
            try:
                self.get(name, path)
            except NotFound:
                continue  # cleared away just now
            except DataLoss:
                self.objects.delete(name)
                continue
            return name
        return ""

    def get(self, name: str, path: Path) -> None:
        """Copy the object with a name into a file.

        Raises: NotFound; DataLoss if it is damaged.
        """
        self.objects.get_file(name, path)
        if sha256_of(path) != name.rpartition(".")[2]:
            raise DataLoss(f"object {name} is damaged; delete it, and it is made again", resource=name)

    def keep(self, key: str, path: Path) -> str:
        """Store a result and return the object's name; of two that were made differently the older is used later."""
        name = f"{self._prefix}{key}/{result_name(datetime.now(UTC).date(), sha256_of(path))}"
        self.objects.put_file(name, path)
        return name

    def array_prefix(self, array: str) -> str:
        """Return the prefix of the keys of an array's requests and answers, which go when results of today go."""
        return f"{self._prefix}arrays/{array}/{datetime.now(UTC).date().isoformat()}."
