"""Token shards: rows of little-endian token ids, and the bounds of the documents in them.

`<split>/00000.bin` holds rows of S tokens, uint16 or uint32. `<split>/00000.bounds` holds one record of five uint32 per
piece of a document: row within the shard, offset within the row, length, document number, first token within the
document. Tokens outside every piece are padding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt

from bessemer.artifacts.manifest import FileEntry, Manifest
from bessemer.kernel.errors import DataLoss, FailedPrecondition

__all__ = [
    "BOUND",
    "SHARD_BYTES",
    "Rows",
    "Shard",
    "TokenSplit",
    "open_split",
    "rows_per_shard",
    "split_shards",
    "split_tokens",
    "token_dtype",
    "write_shard",
]

SHARD_BYTES = 32 << 20
BOUND = np.dtype([(name, "<u4") for name in ("row", "offset", "length", "document", "start")])
Tokens = npt.NDArray[np.unsignedinteger]


def token_dtype(vocabulary: int) -> np.dtype[np.unsignedinteger]:
    """Return the narrowest type that holds ids below `vocabulary`."""
    return np.dtype("<u2" if vocabulary <= 1 << 16 else "<u4")


def rows_per_shard(sequence_length: int, token_bytes: int) -> int:
    """Return how many rows a full shard has."""
    return max(1, SHARD_BYTES // (sequence_length * token_bytes))


def write_shard(
    folder: Path, split: str, number: int, rows: Iterable[Tokens], bounds: npt.NDArray[np.void]
) -> tuple[Path, Path]:
    """Write one shard, its rows one by one or some at a time, and return its two files; `bounds` is of `BOUND`."""
    base = folder / split / f"{number:05d}"
    base.parent.mkdir(parents=True, exist_ok=True)
    paths = base.with_suffix(".bin"), base.with_suffix(".bounds")
    with paths[0].open("wb") as file:
        for some in rows:
            some.astype(some.dtype.newbyteorder("<"), copy=False).tofile(file)
    bounds.astype(BOUND, copy=False).tofile(paths[1])
    return paths


@dataclass(frozen=True)
class Shard:
    """The two files of a shard, and the form of its rows."""

    tokens: FileEntry
    bounds: FileEntry
    sequence_length: int
    dtype: np.dtype[np.unsignedinteger]

    @property
    def num_rows(self) -> int:
        """Rows of `sequence_length` tokens."""
        return self.tokens.size_bytes // (self.sequence_length * self.dtype.itemsize)


class Rows:
    """All rows of a split over its memory-mapped shards; indexed like an array of shape [N, S]."""

    def __init__(self, shards: Sequence[Tokens], sequence_length: int, dtype: np.dtype[np.unsignedinteger]) -> None:
        self._shards = shards
        self._starts = np.cumsum([0, *(len(shard) for shard in shards)])
        self.dtype = dtype
        self.shape = (int(self._starts[-1]), sequence_length)

    def __len__(self) -> int:
        return self.shape[0]

    @overload
    def __getitem__(self, index: int) -> Tokens: ...
    @overload
    def __getitem__(self, index: slice | Sequence[int] | npt.NDArray[np.integer]) -> Tokens: ...
    def __getitem__(self, index: int | slice | Sequence[int] | npt.NDArray[np.integer]) -> Tokens:
        if isinstance(index, slice):
            index = range(*index.indices(len(self)))
        if isinstance(index, (int, np.integer)):
            return self._row(int(index))
        rows = np.empty((len(index), self.shape[1]), self.dtype)
        for target, source in enumerate(index):
            rows[target] = self._row(int(source))
        return rows

    def locate(self, index: int) -> tuple[int, int]:
        """Return the shard of a row and the row's place in it."""
        index = index + len(self) if index < 0 else index
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        shard = int(np.searchsorted(self._starts, index, side="right")) - 1
        return shard, index - int(self._starts[shard])

    def _row(self, index: int) -> Tokens:
        shard, row = self.locate(index)
        tokens: Tokens = self._shards[shard][row]
        return tokens


class TokenSplit:
    """One split of a text version: `rows` and, per row, the pieces of documents in it."""

    def __init__(self, rows: Rows, bounds: Sequence[npt.NDArray[np.void]]) -> None:
        self.rows = rows
        self._bounds = bounds

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def sequence_length(self) -> int:
        """Tokens per row."""
        return self.rows.shape[1]

    @property
    def num_tokens(self) -> int:
        """Tokens that belong to a document; padding does not count."""
        return sum(int(bounds["length"].sum(dtype=np.int64)) for bounds in self._bounds)

    def row_documents(self, index: int) -> list[tuple[int, int, int]]:
        """Return (offset, length, document number) of each piece in a row, from left to right."""
        shard, row = self.rows.locate(index)
        bounds = self._bounds[shard]
        first, last = np.searchsorted(bounds["row"], [row, row + 1])
        return [(int(b["offset"]), int(b["length"]), int(b["document"])) for b in bounds[first:last]]


def split_shards(manifest: Manifest, split: str) -> list[Shard]:
    """Return the shards of a split of a text version; an absent split has none.

    Raises: FailedPrecondition if the version is not tokenized; DataLoss if files are missing or not whole rows.
    """
    facts = manifest.facts
    if manifest.kind != "dataset" or facts.get("kind") != "TEXT":
        raise FailedPrecondition(f"only text versions hold token rows; this one is {facts.get('kind', manifest.kind)}")
    width, token_bytes = int(str(facts["sequence_length"])), int(str(facts["token_bytes"]))
    entries = {entry.path: entry for entry in manifest.below(f"{split}/")}
    shards = []
    for path, entry in entries.items():
        if not path.endswith(".bin"):
            continue
        bounds = entries.get(f"{path.removesuffix('.bin')}.bounds")
        if bounds is None:
            raise DataLoss(f"{path} has no bounds file beside it", resource=entry.key)
        if entry.size_bytes % (width * token_bytes):
            raise DataLoss(f"{path} has {entry.size_bytes} bytes, not whole rows of {width} tokens", resource=entry.key)
        shards.append(Shard(entry, bounds, width, np.dtype(f"<u{token_bytes}")))
    return shards


def split_tokens(manifest: Manifest, split: str) -> int:
    """Return how many tokens of a split belong to documents, as the version states it; an absent split has none.

    Raises: DataLoss if it states nothing, or another number of rows than its shards hold.
    """
    num_rows = sum(shard.num_rows for shard in split_shards(manifest, split))
    splits = manifest.facts.get("splits")
    stated = splits.get(split) if isinstance(splits, Mapping) else None
    if not num_rows and stated is None:
        return 0
    if not isinstance(stated, Mapping) or stated.get("rows") != num_rows:
        raise DataLoss(f"split {split} has {num_rows} rows, its manifest states {stated}; seal the version again")
    return int(str(stated["tokens"]))


def open_split(folder: Path, manifest: Manifest, split: str) -> TokenSplit:
    """Open a split of a text version whose files were fetched into `folder`; an absent split has no rows.

    Raises: as `split_shards`.
    """
    shards = split_shards(manifest, split)
    width = int(str(manifest.facts["sequence_length"]))
    dtype: np.dtype[np.unsignedinteger] = np.dtype(f"<u{manifest.facts['token_bytes']}")
    rows = [np.memmap(folder / shard.tokens.path, dtype, "r").reshape(-1, width) for shard in shards]
    return TokenSplit(Rows(rows, width, dtype), [np.fromfile(folder / shard.bounds.path, BOUND) for shard in shards])
