"""Texts of a version, in parts: who looks for a few documents, or takes them out, touches a few files.

`<split>/texts/<number>.jsonl` holds documents `{"id", "source", "text"}`, one a line, in order of their numbers in
`documents.jsonl`. It is named, in ten digits, by the number of its first document, and holds all up to the next part's;
so the names in a manifest are the index. A split without documents has no part.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bessemer.artifacts.manifest import FileEntry, Manifest
from bessemer.kernel.errors import DataLoss

__all__ = ["first_number", "is_text_part", "part_of", "part_path", "read_texts", "text_files", "text_parts"]

_PART = re.compile(r"[a-z]+/texts/(\d{10})\.jsonl")


def part_path(split: str, number: int) -> str:
    """Return the path of the part whose first document has this number."""
    return f"{split}/texts/{number:010d}.jsonl"


def is_text_part(path: str) -> bool:
    """Say whether a path of a version is that of a part of texts."""
    return _PART.fullmatch(path) is not None


def first_number(path: str) -> int:
    """Return the number of the first document that a part was made with."""
    found = _PART.fullmatch(path)
    if found is None:
        raise ValueError(f"{path!r} is no part of texts")
    return int(found[1])


def part_of(paths: Sequence[str], number: int) -> str:
    """Return which of the parts of a split, in order, a document is in.

    Raises: DataLoss if it is before the first.
    """
    place = bisect_right(paths, number, key=first_number)
    if place == 0:
        raise DataLoss(f"the version has no texts of document {number}; make it again from its sources")
    return paths[place - 1]


def text_parts(manifest: Manifest, split: str) -> tuple[FileEntry, ...]:
    """Return the parts of a split in order of their documents."""
    found = (entry for entry in manifest.below(f"{split}/") if is_text_part(entry.path))
    return tuple(sorted(found, key=lambda entry: entry.path))


def text_files(folder: Path, split: str) -> list[Path]:
    """Return the parts of a split of a version whose files lie in `folder`, in order of their documents."""
    return sorted((folder / split / "texts").glob("*.jsonl"))


def read_texts(folder: Path, split: str) -> Iterator[dict[str, Any]]:
    """Yield the documents `{"id", "source", "text"}` of a split of a version whose files lie in `folder`."""
    for path in text_files(folder, split):
        with path.open("rb") as lines:
            yield from map(json.loads, lines)
