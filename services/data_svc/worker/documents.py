"""All documents of the partitions: a few columns in memory, everything else where it lies until it is asked for.

Memory: about 200 bytes per document and its path.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_svc.domain.quality_rules import QualityMeasures
from data_svc.worker.batches import bytes_of, places, read_columns, read_matrix
from data_svc.worker.slices import Numbers, Slices

__all__ = ["Documents", "hexadecimal"]

_ID_BYTES = 16  # of the text's SHA-256
_EMPTY = pa.schema(
    [
        ("source", pa.large_string()),
        ("format", pa.string()),
        ("language", pa.string()),
        ("characters", pa.int64()),
        ("sha256", pa.binary(32)),
        *((name, pa.int64()) for name in ("partition", "row", "start", "size")),
    ]
).empty_table()


@dataclass(frozen=True)
class Documents:
    """Rows of partition files, in any order; `table` has their columns, and `partition` and `row` say where each is."""

    paths: Sequence[Path]
    table: pa.Table

    @classmethod
    def of(cls, paths: Sequence[Path], rows: Sequence[Numbers]) -> Documents:
        """Return the rows `rows[n]` of each partition file `paths[n]`."""
        tables = [_EMPTY]
        for number, (path, chosen) in enumerate(zip(paths, rows, strict=True)):
            starts, sizes = places(path, "text")
            table = read_columns(path, _EMPTY.schema.names[:5]).take(pa.array(chosen))
            where = {"partition": np.full(len(chosen), number), "row": chosen}
            where |= {"start": starts[chosen], "size": sizes[chosen]}
            for name, values in where.items():
                table = table.append_column(name, pa.array(values, pa.int64()))
            tables.append(table)
        return cls(paths, pa.concat_tables(tables))

    def __len__(self) -> int:
        return len(self.table)

    def take(self, numbers: Numbers) -> Documents:
        """Return some documents, in the given order."""
        return replace(self, table=self.table.take(pa.array(numbers)))

    def with_column(self, name: str, values: pa.Array) -> Documents:
        """Return the documents with one more column."""
        return replace(self, table=self.table.append_column(name, values))

    def numbers(self, name: str) -> Numbers:
        """Return a column of whole numbers."""
        values: Numbers = self.table[name].to_numpy()
        return values

    @cached_property
    def ids(self) -> npt.NDArray[np.bytes_]:
        """The ids, as bytes: the first half of each digest."""
        halves = bytes_of(self.table["sha256"]).view(f"S{_ID_BYTES}")
        return halves[::2].copy()

    @cached_property
    def texts(self) -> Slices:
        """Where the texts lie."""
        return Slices(self.paths, *(self.numbers(name) for name in ("partition", "start", "size")))

    def slices(self, name: str) -> Slices:
        """Return where the values of a column of large binaries lie."""
        files, starts, sizes = (np.zeros(len(self), np.int64) for _ in range(3))
        for here, path, rows in self.by_partition():
            files[here] = self.numbers("partition")[here]
            starts[here], sizes[here] = (column[rows] for column in places(path, name))
        return Slices(self.paths, files, starts, sizes)

    def annotation(self, name: str, scratch: Path | None = None) -> npt.NDArray[np.generic]:
        """Return what an operator wrote, or one of the `QualityMeasures`, for all documents.

        With `scratch` the result is a file there, mapped, which need not fit into memory.
        """
        found: npt.NDArray[np.generic] | None = None
        for here, path, rows in self.by_partition():
            values = self._read(path, name)[rows]
            if found is None:
                shape = (len(self), *values.shape[1:])
                kind = values.dtype
                found = np.memmap(scratch, kind, "w+", shape=shape) if scratch else np.empty(shape, kind)
            found[here] = values
        assert found is not None, "there are documents"
        return found

    @cached_property
    def damage(self) -> npt.NDArray[np.float64]:
        """The share of characters that were lost, or read in the wrong encoding before they came here."""
        if not len(self):
            return np.empty(0)
        lost, misread = (np.asarray(self.annotation(name), np.float64) for name in ("replaced", "mojibake"))
        return (lost + misread) / np.maximum(self.numbers("characters"), 1)

    def quality(self, number: int) -> QualityMeasures:
        """Return the measures of one document."""
        [(_, path, rows)] = self.take(np.array([number])).by_partition()
        return QualityMeasures._make(read_matrix(path, "quality")[rows[0]].tolist())

    def records(self, names: Sequence[str], batch_rows: int = 10_000) -> Iterator[dict[str, Any]]:
        """Yield some columns, document by document."""
        for batch in self.table.select(list(names)).to_batches(max_chunksize=batch_rows):
            yield from batch.to_pylist()

    def by_partition(self) -> Iterator[tuple[Numbers, Path, Numbers]]:
        """Yield, per partition, the numbers of its documents, its file, and their rows in it."""
        partition, row = self.numbers("partition"), self.numbers("row")
        order = np.argsort(partition, kind="stable")
        for here in np.split(order, np.flatnonzero(np.diff(partition[order])) + 1):
            if len(here):
                yield here, self.paths[partition[here[0]]], row[here]

    @staticmethod
    def _read(path: Path, name: str) -> npt.NDArray[np.generic]:
        if name in QualityMeasures._fields:
            return read_matrix(path, "quality")[:, QualityMeasures._fields.index(name)]
        return read_matrix(path, name)


def hexadecimal(ids: npt.NDArray[np.bytes_]) -> list[str]:
    """Return ids as they are written."""
    written, width = ids.tobytes().hex(), 2 * ids.dtype.itemsize
    return [written[start : start + width] for start in range(0, len(written), width)]
