"""The printable letters that byte-level tokenizers write bytes as.

Source: Radford et al. 2019, the encoder published with GPT-2: printable Latin-1 stands for itself, the rest follows
from U+0100 on.
"""

from __future__ import annotations

__all__ = ["ALPHABET", "bytes_of", "letters_of"]

_PRINTABLE = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
_REST = [byte for byte in range(256) if byte not in _PRINTABLE]
ALPHABET = tuple(chr(byte) if byte in _PRINTABLE else chr(0x100 + _REST.index(byte)) for byte in range(256))
_BYTES = {letter: byte for byte, letter in enumerate(ALPHABET)}


def letters_of(data: bytes) -> str:
    """Return bytes as letters."""
    return "".join([ALPHABET[byte] for byte in data])


def bytes_of(letters: str) -> bytes:
    """Return the bytes that letters stand for.

    Raises: KeyError if one stands for none.
    """
    return bytes([_BYTES[letter] for letter in letters])
