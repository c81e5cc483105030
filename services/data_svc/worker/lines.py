"""Lines and blocks of files of any length, in memory that does not grow with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BLOCK_BYTES_MAX", "LINE_BYTES_MAX", "LongLine", "blocks", "lines"]

LINE_BYTES_MAX = 64_000_000
BLOCK_BYTES_MAX = 32_000_000
_READ = 1 << 20


@dataclass(frozen=True)
class LongLine:
    """A line that was passed over."""

    number: int
    size_bytes: int


def lines(file: Path, limit: int = LINE_BYTES_MAX) -> Iterator[bytes | LongLine]:
    """Yield the lines of a file with their ends; one over `limit` bytes is only counted."""
    number = 0
    with file.open("rb") as stream:
        while line := stream.readline(_READ):
            number += 1
            if line.endswith(b"\n") or len(line) < _READ:
                yield line
                continue
            pieces, size, ended = [line], len(line), False
            while not ended and (piece := stream.readline(_READ)):
                size += len(piece)
                ended = piece.endswith(b"\n")
                if size <= limit:
                    pieces.append(piece)
                else:
                    pieces.clear()
            yield b"".join(pieces) if size <= limit else LongLine(number, size)


def blocks(file: Path, most: int = BLOCK_BYTES_MAX) -> Iterator[bytes | LongLine]:
    """Yield a file in blocks of at most about `most` bytes, cut between paragraphs where there are any.

    A file of at most `most` bytes is one block, so that any encoding can be told.
    """
    if file.stat().st_size <= most:
        yield file.read_bytes()
        return
    held: list[bytes] = []
    size = paragraph = 0
    for line in lines(file):
        if isinstance(line, LongLine):
            yield line
            continue
        if held and size + len(line) > most:
            cut = paragraph or len(held)
            yield b"".join(held[:cut])
            held = held[cut:]
            size, paragraph = sum(map(len, held)), 0
        held.append(line)
        size += len(line)
        if not line.strip() and size > most // 2:
            paragraph = len(held)
    if held:
        yield b"".join(held)
