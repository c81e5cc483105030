"""The shape of documents as Arrow tables, and the only place that knows how a row becomes one.

A row is a document, or a file that gave none: then `reason` and `detail` say why, `size_bytes` is the file's, and the
text is empty. `file` counts the files of a partition. Operators add columns; no value is ever null.
Partition files are Arrow IPC without compression, so that a column is read alone and a text at its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_svc.domain.reasons import Rejection
from data_svc.worker.sandbox import ParsedDocument

__all__ = [
    "Item",
    "batches",
    "bytes_of",
    "fixed",
    "flat",
    "places",
    "read_columns",
    "read_matrix",
    "texts_of",
    "vectors",
    "write_table",
]

BATCH_BYTES, BATCH_ROWS = 2 << 20, 2000
Item = tuple[int, ParsedDocument | Rejection]

_DELIVERED = pa.schema(
    [
        ("file", pa.int32()),
        ("source", pa.large_string()),
        ("format", pa.string()),
        ("text", pa.large_binary()),
        ("characters", pa.int64()),
        ("replaced", pa.int64()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("size_bytes", pa.int64()),
    ]
)


def batches(items: Iterable[Item]) -> Iterator[pa.RecordBatch]:
    """Yield documents and rejections, each with its file's number, in batches of about `BATCH_BYTES` of text."""
    rows: list[tuple[object, ...]] = []
    size = 0
    for item in items:
        rows.append(_row(*item))
        size += len(rows[-1][3])  # type: ignore[arg-type]
        if size >= BATCH_BYTES or len(rows) >= BATCH_ROWS:
            batch = _batch(rows)
            rows, size = [], 0  # the texts are in memory once
            yield batch
    if rows:
        yield _batch(rows)


def _row(file: int, item: ParsedDocument | Rejection) -> tuple[object, ...]:
    if isinstance(item, Rejection):
        return file, item.source, "", b"", 0, 0, str(item.reason), item.detail, item.size_bytes
    return file, item.source, item.format, item.text, item.characters, item.replaced, "", "", len(item.text)


def _batch(rows: Sequence[tuple[object, ...]]) -> pa.RecordBatch:
    columns = [pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), _DELIVERED, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=_DELIVERED)


def texts_of(batch: pa.RecordBatch) -> list[bytes]:
    """Return the texts as UTF-8."""
    texts: list[bytes] = batch.column("text").to_pylist()
    return texts


def flat(batch: pa.RecordBatch) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return all texts as one array of bytes, and the bounds of each in it, without a copy."""
    _, offsets, data = batch.column("text").buffers()
    bounds = np.frombuffer(offsets, np.int64)[: len(batch) + 1]
    return np.frombuffer(data or b"", np.uint8), bounds


def vectors(values: npt.NDArray[np.generic]) -> pa.FixedSizeListArray:
    """Return the rows of a matrix as one column."""
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def _matrix(column: pa.Array) -> npt.NDArray[np.generic]:
    if isinstance(column.type, pa.FixedSizeListType):
        rows: npt.NDArray[np.generic] = column.flatten().to_numpy().reshape(len(column), column.type.list_size)
        return rows
    values: npt.NDArray[np.generic] = column.to_numpy()
    return values


def fixed(values: npt.NDArray[np.bytes_]) -> pa.Array:
    """Return byte strings of one length, such as digests, as a column."""
    kind, data = pa.binary(values.dtype.itemsize), pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(kind, len(values), [None, data])


def bytes_of(column: pa.ChunkedArray) -> npt.NDArray[np.bytes_]:
    """Return a column that `fixed` made as an array.

    Arrays of bytes pass over zeros at the end, which does no harm to comparisons of equally long ones.
    """
    array = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    width = column.type.byte_width
    start = array.offset * width
    return np.frombuffer(array.buffers()[1] or b"", np.uint8)[start : start + len(array) * width].view(f"S{width}")


def write_table(path: Path, found: Iterable[pa.RecordBatch]) -> None:
    """Write a file of batches, all or nothing; there is at least one batch."""
    part = path.with_name(path.name + ".part")
    found = iter(found)
    first = next(found)
    with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, first.schema) as writer:
        writer.write_batch(first)
        for batch in found:
            writer.write_batch(batch)
    part.replace(path)


@contextmanager
def _mapped(path: Path) -> Iterator[tuple[pa.Buffer, list[pa.RecordBatch]]]:
    with pa.memory_map(str(path)) as file:
        buffer = file.read_buffer()
        reader = pa.ipc.open_file(buffer)
        yield buffer, [reader.get_batch(number) for number in range(reader.num_record_batches)]


def read_columns(path: Path, names: Sequence[str]) -> pa.Table:
    """Return some columns of a file, copied, so that the file is not held open."""
    with _mapped(path) as (_, found):
        table = pa.Table.from_batches(found).select(list(names))
        return table.take(pa.array(np.arange(len(table))))


def read_matrix(path: Path, name: str) -> npt.NDArray[np.generic]:
    """Return a column of numbers, copied: a matrix if `vectors` made it."""
    with _mapped(path) as (_, found):
        return np.concatenate([_matrix(batch.column(name)) for batch in found])


def places(path: Path, name: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return where in the file each value of a column of large binaries begins, and how many bytes it has."""
    starts, sizes = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    with _mapped(path) as (buffer, found):
        for batch in found:
            _, offsets, data = batch.column(name).buffers()
            bounds = np.frombuffer(offsets, np.int64)[: len(batch) + 1]
            starts.append(bounds[:-1] + ((data.address if data else buffer.address) - buffer.address))
            sizes.append(np.diff(bounds))
    return np.concatenate(starts), np.concatenate(sizes)
