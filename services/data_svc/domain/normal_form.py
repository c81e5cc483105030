"""One spelling for text that looks the same, and cuts for text that is too long."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

__all__ = ["DOCUMENT_CHARACTERS_MAX", "cut", "normalise"]

DOCUMENT_CHARACTERS_MAX = 8_000_000  # what a process measures and tokenizes at once; of three bytes each in 450 MB
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f\u200b\ufeff]")  # tab, line feed, vertical tab, form feed and return stay
_BLANK_RUN = re.compile(r"\n{3,}")


def normalise(text: str) -> str:
    """Return text in NFC with plain line ends, no control characters, trailing spaces or runs of blank lines."""
    if not text.isprintable():
        text = _CONTROL.sub("", text)
    if not text.isascii() and not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
    text = "\n".join(line.rstrip() for line in text.splitlines())  # linear, unlike a search for blanks before line ends
    if "\n\n\n" in text:
        text = _BLANK_RUN.sub("\n\n", text)
    return text.strip("\n")


def cut(text: str, limit: int = DOCUMENT_CHARACTERS_MAX) -> Iterator[str]:
    """Yield pieces of at most `limit` characters, cut at a paragraph, else a line, else a space, else anywhere."""
    start = 0
    while len(text) - start > limit:
        end = start + limit
        for separator in ("\n\n", "\n", " "):
            found = text.rfind(separator, start + limit // 2, end)
            if found > 0:
                end = found + len(separator)
                break
        yield text[start:end]
        start = end
    if start < len(text) or not text:
        yield text[start:]
