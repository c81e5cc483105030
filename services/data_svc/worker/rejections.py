"""What was not used, and why, as columns: there may be more of these than of documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pa_json

from data_svc.domain.reasons import Reason, Rejection

__all__ = ["Rejections"]

_SCHEMA = pa.schema(
    [
        ("source", pa.large_string()),
        ("reason", pa.string()),
        ("detail", pa.large_string()),
        ("size_bytes", pa.int64()),
        ("duplicate_of", pa.string()),
    ]
)
_ROWS = 10_000
_BLOCK_BYTES = 16 << 20  # of lines that are read at once; none is longer
Column: TypeAlias = "Sequence[Any] | npt.NDArray[np.int64] | pa.ChunkedArray"


class Rejections:
    """Rejections from anywhere, read back in order."""

    def __init__(self) -> None:
        self._tables: list[pa.Table] = []
        self._rows: list[Rejection] = []

    @classmethod
    def read(cls, lines: bytes) -> Rejections:
        """Return those of a `rejections.jsonl`."""
        found = cls()
        if lines:
            options = pa_json.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES)
            parsing = pa_json.ParseOptions(explicit_schema=_SCHEMA, unexpected_field_behavior="error")
            found._tables.append(pa_json.read_json(pa.BufferReader(lines), options, parsing))
        return found

    def append(self, rejection: Rejection) -> None:
        """Add one."""
        self._rows.append(rejection)
        if len(self._rows) == _ROWS:
            self._flush()

    def add_columns(self, **columns: Column) -> None:
        """Add as many as `source` has values; `duplicate_of` may be left out."""
        columns = {"duplicate_of": [""] * len(columns["source"]), **columns}
        given = [columns[field.name] for field in _SCHEMA]
        arrays = [
            column.cast(field.type) if isinstance(column, pa.ChunkedArray) else pa.array(column, field.type)
            for column, field in zip(given, _SCHEMA, strict=True)
        ]
        self._tables.append(pa.table(arrays, _SCHEMA))

    def counts(self) -> dict[str, tuple[int, int]]:
        """Return documents and bytes per reason."""
        table = self._table().group_by("reason").aggregate([([], "count_all"), ("size_bytes", "sum")])
        return {r["reason"]: (r["count_all"], r["size_bytes_sum"]) for r in table.to_pylist()}

    def column(self, name: str) -> pa.ChunkedArray:
        """Return one field of all, in the order in which they came."""
        return self._table()[name]

    @property
    def named(self) -> pa.ChunkedArray:
        """Whether each says of what source it tells."""
        return pc.not_equal(self.column("source"), "")

    def take(self, numbers: npt.NDArray[np.int64]) -> Rejections:
        """Return some, by their places in the order in which they came."""
        found = Rejections()
        found._tables.append(self._table().take(pa.array(numbers)))
        return found

    def ordered(self) -> Iterator[Rejection]:
        """Yield all, as `Rejection` sorts."""
        return _rejections(self._sorted())

    def examples(self, number: int) -> Sequence[Rejection]:
        """Return some of every reason in turn, so that a frequent one hides none."""
        table = self._sorted()
        reasons = table["reason"].unique()
        each = max(1, number // max(len(reasons), 1))
        groups = [table.filter(pc.equal(table["reason"], reason)).slice(0, each) for reason in reasons]
        return [rejection for group in groups for rejection in _rejections(group)][:number]

    def _flush(self) -> None:
        columns = zip(*map(attrgetter(*_SCHEMA.names), self._rows), strict=True)
        self._rows = []
        self.add_columns(**dict(zip(_SCHEMA.names, columns, strict=True)))

    def _sorted(self) -> pa.Table:
        return self._table().sort_by([(name, "ascending") for name in _SCHEMA.names])

    def _table(self) -> pa.Table:
        if self._rows:
            self._flush()
        return pa.concat_tables([_SCHEMA.empty_table(), *self._tables])


def _rejections(table: pa.Table) -> Iterator[Rejection]:
    for batch in table.to_batches(max_chunksize=_ROWS):
        for row in batch.to_pylist():
            yield Rejection(**{**row, "reason": Reason(row["reason"])})
