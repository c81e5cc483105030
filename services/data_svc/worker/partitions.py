"""Uploads, their archives opened, as partitions: the units that are read by one process and kept as one result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bessemer.artifacts.blobs import sha256_of
from bessemer.artifacts.manifest import JSON

from data_svc.domain.partitions import PARTITION_BYTES, result_key, starts_partition
from data_svc.domain.reasons import Rejection
from data_svc.domain.recipes import Recipe
from data_svc.domain.sampling import RECORD_FORMATS, draws_file
from data_svc.domain.terms import UNSTATED, Terms
from data_svc.worker.archives import SourceFile, read_source
from data_svc.worker.executor import Task
from data_svc.worker.operators import operators_of
from data_svc.worker.tasks import READ_VERSION

__all__ = ["Partition", "Upload", "partitions"]

FILES_MAX = 20_000  # a partition of empty files must end as well


@dataclass(frozen=True)
class Upload:
    """One file that was handed in, the name it had, and what it came with: its folder, or nothing but itself.

    `terms` are its owner's; the results of reading do not depend on them.
    """

    name: str
    file: Path
    source: str = ""
    terms: Terms = UNSTATED


@dataclass
class Partition:
    """Some files in order; `folder` holds those out of archives, `sources` how many in a row came from which upload."""

    number: int
    folder: Path
    files: list[list[Any]] = field(default_factory=list)
    contents: list[JSON] = field(default_factory=list)
    sources: list[tuple[int, int]] = field(default_factory=list)
    size_bytes: int = 0
    done: float = 0.0

    def add(self, number: int, upload: Upload, found: SourceFile | Rejection, sha256: str) -> None:
        """Add a file of the upload with this number, or what was refused of an archive."""
        num = self.sources.pop()[1] if self.sources and self.sources[-1][0] == number else 0
        self.sources.append((number, num + 1))
        if isinstance(found, Rejection):
            entry: list[str | int] = [_clean(found.source), "", found.size_bytes, str(found.reason), found.detail]
            self.contents.append(entry)
        else:
            file = found.file
            if file != upload.file:
                self.folder.mkdir(parents=True, exist_ok=True)
                file = file.rename(self.folder / str(len(self.files)))
            entry = [_clean(found.path), str(file), found.size_bytes, str(found.format)]
            self.contents.append([_clean(found.path), sha256])
            self.size_bytes += found.size_bytes
        self.files.append(entry)

    @property
    def of_records(self) -> list[bool]:
        """Say of each file whether it holds many records."""
        return [entry[3] in RECORD_FORMATS for entry in self.files]

    def task(self, recipe: Recipe) -> Task:
        """Return the task that reads the partition as a recipe wants it."""
        operators: list[JSON] = [[each.name, each.version, each.parameters] for each in operators_of(recipe)]
        rows: JSON = recipe.kind != "TEXT"
        key = result_key("read", [READ_VERSION, operators, rows, self.contents])
        request = {"kind": "read", "files": self.files, "recipe": asdict(recipe)}
        return Task(key, request, self.folder.with_suffix(".arrow"), self.folder)


def partitions(uploads: Iterable[Upload], scratch: Path, recipe: Recipe) -> Iterator[Partition]:
    """Yield the files of all uploads that the recipe draws, in order; bounds depend on their contents alone."""
    uploads = list(uploads)
    held = Partition(0, scratch / "partition-0")
    for number, upload in enumerate(uploads):
        for found in read_source(upload.name, upload.file, scratch):
            sha256, size_bytes = "", 0
            if isinstance(found, SourceFile):
                sha256, size_bytes = sha256_of(found.file), found.size_bytes
                if not draws_file(recipe, found.format, sha256):
                    continue
            begins = starts_partition(bytes.fromhex(sha256), size_bytes, held.size_bytes, PARTITION_BYTES)
            if begins or len(held.files) == FILES_MAX:
                held.done = number / len(uploads)
                yield held
                held = Partition(held.number + 1, scratch / f"partition-{held.number + 1}")
            held.add(number, upload, found, sha256)
    if held.files:
        held.done = 1.0
        yield held


def _clean(path: str) -> str:
    """Return a path without what is no character: names in archives are bytes."""
    return path.encode(errors="replace").decode()
