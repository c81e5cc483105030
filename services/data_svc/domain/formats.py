"""What a file is: magic bytes first, then its ending, then its first lines."""

from __future__ import annotations

import re
import zlib
from enum import StrEnum
from pathlib import PurePosixPath

__all__ = ["HEAD_BYTES", "Format", "sniff"]

HEAD_BYTES = 8192
_OLE = b"\xd0\xcf\x11\xe0"  # a file system inside a file


class Format(StrEnum):
    """A way to read a file."""

    TEXT = "text"
    MARKDOWN = "markdown"
    HTML = "html"
    RST = "rst"
    METADATA = "metadata"
    PDF = "pdf"
    DOCX = "docx"
    PPTX = "pptx"
    XLSX = "xlsx"
    EMAIL = "email"
    MBOX = "mbox"
    NOTEBOOK = "notebook"
    CSV = "csv"
    TSV = "tsv"
    PARQUET = "parquet"
    CODE = "code"
    JSON = "json"
    JSONL = "jsonl"
    WARC = "warc"
    TAR = "tar"
    GZIP = "gzip"
    ZIP = "zip"
    BINARY = "binary"
    UNSUPPORTED = "unsupported"


_MAGIC: tuple[tuple[bytes, Format, str], ...] = (
    (b"\x89PNG", Format.BINARY, "PNG image"),
    (b"\xff\xd8\xff", Format.BINARY, "JPEG image"),
    (b"GIF8", Format.BINARY, "GIF image"),
    (b"BM", Format.BINARY, "BMP image"),
    (b"II*\x00", Format.BINARY, "TIFF image"),
    (b"RIFF", Format.BINARY, "RIFF media"),
    (b"OggS", Format.BINARY, "Ogg media"),
    (b"ID3", Format.BINARY, "MP3 audio"),
    (b"\x7fELF", Format.BINARY, "ELF program"),
    (b"!<arch>\n", Format.BINARY, "program library"),
    (b"MZ", Format.BINARY, "Windows program"),
    (b"\xca\xfe\xba\xbe", Format.BINARY, "Java class"),
    (b"SQLite format 3\x00", Format.BINARY, "SQLite database"),
    (b"PAR1", Format.PARQUET, ""),
    (_OLE, Format.UNSUPPORTED, "Microsoft Office before 2007"),
    (b"{\\rtf", Format.UNSUPPORTED, "rich text"),
    (b"7z\xbc\xaf\x27\x1c", Format.UNSUPPORTED, "7z archive"),
    (b"Rar!", Format.UNSUPPORTED, "RAR archive"),
    (b"\xfd7zXZ", Format.UNSUPPORTED, "xz archive"),
    (b"\x28\xb5\x2f\xfd", Format.UNSUPPORTED, "zstd archive"),
)
_TEXTUAL_MAGIC = {b"BM", b"MZ", b"ID3", b"RIFF"}  # also ordinary letters: believed only if the rest is not text
_ENDINGS = {
    ".md": Format.MARKDOWN,
    ".markdown": Format.MARKDOWN,
    ".html": Format.HTML,
    ".htm": Format.HTML,
    ".xhtml": Format.HTML,
    ".rst": Format.RST,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".json": Format.JSON,
    ".eml": Format.EMAIL,
    ".mbox": Format.MBOX,
    ".ipynb": Format.NOTEBOOK,
    ".csv": Format.CSV,
    ".tsv": Format.TSV,
}
_CODE = re.compile(
    r"\.(asm|bash|bat|c|cc|clj|cpp|cs|css|cu|cxx|d|dart|el|erl|ex|exs|f|f90|fs|go|groovy|h|hh|hpp|hs|java|jl|jsx?|kts?"
    r"|lisp|lua|m|mjs|mli?|nim|pas|php|p[lm]|proto|ps1|pyi?|pyx|r|rb|rs|s|scala|scm|scss|sh|sol|sql|svh?|swift|tcl|tf"
    r"|tsx?|v|vb|vhdl?|vue|zig|zsh)"
)
_OFFICE = {
    ".docx": Format.DOCX,
    ".docm": Format.DOCX,
    ".pptx": Format.PPTX,
    ".pptm": Format.PPTX,
    ".xlsx": Format.XLSX,
    ".xlsm": Format.XLSX,
}
_NOT_READ = {".odt": "OpenDocument", ".ods": "OpenDocument", ".odp": "OpenDocument", ".epub": "e-book"}
_FIELD = rb"[A-Za-z][A-Za-z0-9-]{1,40}:[^\n]*\n(?:[ \t][^\n]*\n)*"
_ASCII = bytes(range(128))
_CONTROL = bytes(code for code in range(32) if code not in b"\t\n\f\r\x1b")
_MAIL = re.compile(  # RFC 5322 fields up to one that only mail has; RFC 4155 starts each message with "From "
    rb"\A(?:From [^\n]+\n)?(?:%s){0,40}?(?:Message-ID|Received|MIME-Version|Delivered-To):" % _FIELD, re.IGNORECASE
)
_HEADER = re.compile(rb"\A(?:[A-Za-z][A-Za-z0-9-]{1,40}: ?[^\n]*\n(?:[ \t][^\n]*\n)*){4,}")


def sniff(head: bytes, name: str) -> tuple[Format, str]:
    """Return the format of a file and, for files that cannot be read, what they are.

    `head` is the first `HEAD_BYTES` of the file.
    """
    ending = PurePosixPath(name).suffix.lower()
    textual = _looks_like_text(head)
    if found := _container(head, ending):
        return found
    for magic, format_, what in _MAGIC:
        if head.startswith(magic) and not (magic in _TEXTUAL_MAGIC and textual):
            return format_, what
    if not textual:
        return Format.BINARY, "bytes that are not text"
    return _text_format(head, name, ending), ""


def _container(head: bytes, ending: str) -> tuple[Format, str] | None:
    if b"%PDF-" in head[:1024] or ending == ".pdf":
        return Format.PDF, ""
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        if ending in _NOT_READ:
            return Format.UNSUPPORTED, _NOT_READ[ending]
        return _OFFICE.get(ending, Format.ZIP), ""
    if head.startswith(_OLE) and ending in _OFFICE:
        return _OFFICE[ending], ""  # how Office wraps encrypted files; its parser says so
    packed = head.startswith(b"\x1f\x8b")
    inner = _unpacked(head, 512) if packed else head
    if inner.startswith(b"WARC/"):
        return Format.WARC, ""
    found = Format.TAR if inner[257:262] == b"ustar" else Format.GZIP if packed else None
    return (found, "") if found else None


def _unpacked(head: bytes, size: int) -> bytes:
    """Return the first bytes of what gzip holds; empty if it is damaged."""
    try:
        return zlib.decompressobj(wbits=31).decompress(head, size)
    except zlib.error:
        return b""


def _text_format(head: bytes, name: str, ending: str) -> Format:
    if known := _ENDINGS.get(ending) or (Format.CODE if _CODE.fullmatch(ending) else None):
        return known
    lines = head.replace(b"\r\n", b"\n")
    if _MAIL.match(lines):
        return Format.MBOX if head.startswith(b"From ") else Format.EMAIL
    if PurePosixPath(name).name in {"METADATA", "PKG-INFO"} or _HEADER.match(lines):
        return Format.METADATA
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:64].lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return Format.HTML
    if start.startswith(b'{"') and head.rstrip().endswith(b"}") and head.count(b"\n{") > 0:
        return Format.JSONL
    return Format.MARKDOWN if start.startswith((b"# ", b"---\n")) else Format.TEXT


def _looks_like_text(head: bytes) -> bool:
    """Say whether at least 70 % of the bytes are printable, counting UTF-16 as the text it is."""
    if not head or head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    nul_even, nul_odd = head[::2].count(0), head[1::2].count(0)
    half = max(len(head) // 2, 1)
    if min(nul_even, nul_odd) < half * 0.05 and max(nul_even, nul_odd) > half * 0.4:
        return True  # UTF-16 without a mark
    control = len(head) - len(head.translate(None, _CONTROL))
    if control > len(head) * 0.1:
        return False
    high = len(head.translate(None, _ASCII))
    if high > len(head) * 0.3 and not _is_utf8(head):
        return _is_single_byte_text(head)
    return True


def _is_utf8(head: bytes) -> bool:
    """Say whether the head decodes as UTF-8, give or take one damaged place in fifty characters."""
    damaged = head.decode(errors="replace").count("�")
    return damaged * 50 <= len(head)


def _is_single_byte_text(head: bytes) -> bool:
    """Say whether bytes could be Cyrillic, Greek or the like in one byte per letter: spaces, and few control codes."""
    spaces = head.count(b" ") + head.count(b"\n")
    c1 = sum(1 for byte in head if 0x80 <= byte < 0xA0)
    return spaces > len(head) * 0.05 and c1 < len(head) * 0.2
