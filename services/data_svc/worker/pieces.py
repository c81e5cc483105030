"""Long documents in pieces, so that measuring one takes memory that does not grow with it."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["PIECE_BYTES", "pieces"]

PIECE_BYTES = 4 << 20


def pieces(text: bytes, most: int = PIECE_BYTES) -> Iterator[bytes]:
    """Yield UTF-8 in pieces of at most `most` bytes: up to a line's end, else a blank, else a character's end.

    A text of at most `most` bytes is one piece; the pieces together are the text.
    """
    start = 0
    while len(text) - start > most:
        end = start + most
        ends = (text.rfind(mark, start + most // 2, end) + 1 for mark in (b"\n", b" "))
        cut = next((place for place in ends if place), 0)
        while not cut and text[end] & 0xC0 == 0x80:
            end -= 1
        end = cut or end
        yield text[start:end]
        start = end
    yield text[start:]
