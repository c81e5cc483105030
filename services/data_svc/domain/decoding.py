"""Bytes to text: strict UTF-8 first, then marks and declarations, then the likeliest single-byte encoding."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

__all__ = ["REPLACED_SHARE_MAX", "Decoded", "decode", "is_damaged"]

REPLACED_SHARE_MAX = 0.005
_REPLACEMENT = "�"
_DECLARED = re.compile(rb"""(?:charset|encoding|coding)\s*[=:]\s*["']?\s*([A-Za-z0-9_.:-]{2,40})""", re.IGNORECASE)
_BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


@dataclass(frozen=True)
class Decoded:
    """Text, how it was read, and how many characters could not be."""

    text: str
    encoding: str
    num_replaced: int


def decode(data: bytes) -> Decoded:
    """Return the text of bytes; never fails, what cannot be read is replaced and counted."""
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return _replace(data[len(mark) :], encoding)
    if wide := _utf16(data):  # before UTF-8, which takes zero bytes as they come
        return _replace(data, wide)
    try:
        return _counted(data.decode(), "utf-8")  # a replacement character in the source is damage as well
    except UnicodeDecodeError:
        pass
    utf8 = _replace(data, "utf-8")
    intact = sum(1 for char in utf8.text[:200_000] if char > "\x7f" and char != _REPLACEMENT)
    if intact > utf8.num_replaced:  # mostly well-formed multi-byte sequences: damaged UTF-8
        return utf8
    declared = _DECLARED.search(data[:2048])
    for name in (declared.group(1).decode() if declared else "", "cp1252"):
        encoding = _known(name)
        if encoding and encoding != "utf-8":
            return _replace(data, encoding)
    return utf8


def is_damaged(num_replaced: int, num_characters: int) -> bool:
    """Say whether more than one character in two hundred was lost."""
    return num_replaced > REPLACED_SHARE_MAX * max(num_characters, 1)


def _known(name: str) -> str:
    """Return Python's name of a text encoding; empty if there is none of that name."""
    try:
        info = codecs.lookup(name) if name else None
    except LookupError:
        return ""
    return info.name if info is not None and info._is_text_encoding else ""  # noqa: SLF001


def _utf16(data: bytes) -> str:
    """Return which UTF-16 unmarked bytes are in: letters of most languages leave every second byte zero."""
    sample = data[:8192]
    half = max(len(sample) // 2, 1)
    even, odd = sample[::2].count(0) / half, sample[1::2].count(0) / half
    if max(even, odd) < 0.4 or min(even, odd) > 0.05:
        return ""
    return "utf-16-le" if odd > even else "utf-16-be"


def _replace(data: bytes, encoding: str) -> Decoded:
    return _counted(data.decode(encoding, errors="replace"), encoding)


def _counted(text: str, encoding: str) -> Decoded:
    return Decoded(text, encoding, text.count(_REPLACEMENT))
