"""Files out of uploads: single files as they are, archives entry by entry, with limits that hold for hostile ones."""

from __future__ import annotations

import gzip
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from data_svc.domain.formats import HEAD_BYTES, Format, sniff
from data_svc.domain.reasons import Reason, Rejection

__all__ = ["Limits", "SourceFile", "read_source"]

_BLOCK = 1 << 20
_ARCHIVES = {Format.TAR, Format.GZIP, Format.ZIP}


@dataclass(frozen=True)
class Limits:
    """What an archive may expand to."""

    expanded_bytes: int = 2 << 30
    zip_ratio: int = 200
    entries: int = 100_000


@dataclass(frozen=True)
class SourceFile:
    """One file to parse; its bytes are in `file` until the next one is asked for, `path` is its place in the upload."""

    path: str
    file: Path
    size_bytes: int
    format: Format


class _TooLarge(Exception):
    """More bytes than the archive may expand to."""


class _Archive:
    """What has been read of one archive so far."""

    def __init__(self, name: str, spool: Path, limits: Limits) -> None:
        self.name = name
        self.spool = spool
        self.limits = limits
        self.left = limits.expanded_bytes

    def reject(self, reason: Reason, detail: str) -> Rejection:
        return Rejection(self.name, reason, detail)

    def copy(self, stream: IO[bytes] | gzip.GzipFile, most: int, file: Path | None = None) -> int:
        """Write a stream into the spool file, or another, and return its length."""
        size = 0
        with (file or self.spool).open("wb") as target:
            while block := stream.read(_BLOCK):
                size += len(block)
                if size > min(self.left, most):
                    raise _TooLarge
                target.write(block)
        self.left -= size
        return size

    def entry(self, path: str, size: int) -> SourceFile | Rejection:
        found = _identify(path, self.spool, size)
        if isinstance(found, SourceFile) and found.format == Format.GZIP:
            found = self._unpack(path, size)
        if isinstance(found, SourceFile) and found.format in _ARCHIVES:
            return Rejection(path, Reason.ARCHIVE_NESTED, f"a {found.format} file inside {self.name}", size)
        return found

    def _unpack(self, path: str, size: int) -> SourceFile | Rejection:
        """Expand one compressed file, as folders of documentation hold them; archives inside archives stay refused."""
        inner = self.spool.with_name("inner.bin")
        most = max(self.limits.zip_ratio * size, _BLOCK)
        try:
            with gzip.open(self.spool) as stream:
                return _identify(path.removesuffix(".gz"), inner, self.copy(stream, most, inner))
        except _TooLarge:
            return Rejection(path, Reason.ARCHIVE_TOO_LARGE, f"{size} bytes expand to over {most}", size)
        except (OSError, EOFError, zlib.error) as error:
            return Rejection(path, Reason.ARCHIVE_DAMAGED, str(error), size)


def read_source(name: str, file: Path, scratch: Path, limits: Limits | None = None) -> Iterator[SourceFile | Rejection]:
    """Yield the files of one upload, in the order of the archive, and what was refused."""
    limits = limits or Limits()
    size = file.stat().st_size
    found = _identify(name, file, size)
    if isinstance(found, Rejection) or found.format not in _ARCHIVES:
        yield found
        return
    archive = _Archive(name, scratch / "entry.bin", limits)
    if found.format == Format.ZIP:
        yield from _read_zip(archive, file)
    elif found.format == Format.GZIP:
        yield from _read_gzip(archive, file)
    else:
        yield from _read_tar(archive, file)


def _identify(path: str, file: Path, size: int) -> SourceFile | Rejection:
    if not size:
        return Rejection(path, Reason.EMPTY, "no bytes")
    with file.open("rb") as stream:
        found, what = sniff(stream.read(HEAD_BYTES), path)
    if found == Format.BINARY:
        return Rejection(path, Reason.BINARY, what, size)
    if found == Format.UNSUPPORTED:
        return Rejection(path, Reason.UNSUPPORTED_FORMAT, what, size)
    return SourceFile(path, file, size, found)


def _is_unsafe(path: str) -> bool:
    parts = path.replace("\\", "/").split("/")
    return path.startswith(("/", "\\")) or ".." in parts or (len(path) > 1 and path[1] == ":") or "\0" in path


def _read_zip(archive: _Archive, file: Path) -> Iterator[SourceFile | Rejection]:
    limits = archive.limits
    try:
        with zipfile.ZipFile(file) as opened:
            infos = [info for info in opened.infolist() if not info.is_dir()]
            if len(infos) > limits.entries:
                yield archive.reject(Reason.ARCHIVE_TOO_MANY_ENTRIES, f"{len(infos)} entries; {limits.entries} allowed")
                return
            if sum(info.file_size for info in infos) > limits.expanded_bytes:
                yield archive.reject(Reason.ARCHIVE_TOO_LARGE, f"expands to over {limits.expanded_bytes} bytes")
                return
            for info in infos:
                yield _read_zip_entry(archive, opened, info)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        yield archive.reject(Reason.ARCHIVE_DAMAGED, str(error))


def _read_zip_entry(archive: _Archive, opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> SourceFile | Rejection:
    path, size = info.filename, info.file_size
    if _is_unsafe(path):
        return Rejection(path, Reason.ARCHIVE_UNSAFE_PATH, f"inside {archive.name}", size)
    kind = info.external_attr >> 28  # the file type of Unix modes; 0 from other systems
    if kind not in {0, 0o10}:
        return Rejection(path, Reason.ARCHIVE_LINK, f"inside {archive.name}", size)
    if size > archive.limits.zip_ratio * max(info.compress_size, 1) and size > _BLOCK:
        detail = f"{info.compress_size} bytes expand to {size}; the ratio may be {archive.limits.zip_ratio}"
        return Rejection(path, Reason.ARCHIVE_TOO_LARGE, detail, size)
    try:
        with opened.open(info) as stream:
            return archive.entry(path, archive.copy(stream, size))
    except _TooLarge:
        return Rejection(path, Reason.ARCHIVE_TOO_LARGE, "longer than its directory entry says", size)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, NotImplementedError) as error:
        return Rejection(path, Reason.ARCHIVE_DAMAGED, str(error), size)  # RuntimeError: encrypted


def _read_gzip(archive: _Archive, file: Path) -> Iterator[SourceFile | Rejection]:
    path = archive.name.removesuffix(".gz")
    try:
        with gzip.open(file) as stream:
            size = archive.copy(stream, archive.limits.expanded_bytes)
        yield archive.entry(path, size)
    except _TooLarge:
        yield archive.reject(Reason.ARCHIVE_TOO_LARGE, f"expands to over {archive.limits.expanded_bytes} bytes")
    except (OSError, EOFError, zlib.error) as error:
        yield archive.reject(Reason.ARCHIVE_DAMAGED, str(error))


def _read_tar(archive: _Archive, file: Path) -> Iterator[SourceFile | Rejection]:
    """Read a tar file as a stream, so that nothing is expanded before it was looked at."""
    num_entries = 0
    try:
        with file.open("rb") as raw, tarfile.open(fileobj=raw, mode="r|*") as opened:
            for member in opened:
                num_entries += 1
                if num_entries > archive.limits.entries:
                    detail = f"stopped after {archive.limits.entries} entries"
                    yield archive.reject(Reason.ARCHIVE_TOO_MANY_ENTRIES, detail)
                    return
                if member.size > archive.left:
                    detail = f"stopped at {member.name[:200]!r}: expands to over {archive.limits.expanded_bytes} bytes"
                    yield archive.reject(Reason.ARCHIVE_TOO_LARGE, detail)
                    return
                opened.members = []  # type: ignore[attr-defined] # tarfile keeps every member; a stream needs none
                if not member.isdir():
                    yield _read_tar_entry(archive, opened, member)
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError) as error:
        yield archive.reject(Reason.ARCHIVE_DAMAGED, f"after {num_entries} entries: {error}")


def _read_tar_entry(archive: _Archive, opened: tarfile.TarFile, member: tarfile.TarInfo) -> SourceFile | Rejection:
    if _is_unsafe(member.name):
        return Rejection(member.name, Reason.ARCHIVE_UNSAFE_PATH, f"inside {archive.name}", member.size)
    stream = opened.extractfile(member) if member.isreg() else None
    if stream is None:
        return Rejection(member.name, Reason.ARCHIVE_LINK, f"inside {archive.name}")
    try:
        return archive.entry(member.name.removeprefix("./"), archive.copy(stream, member.size))
    except _TooLarge:
        return Rejection(member.name, Reason.ARCHIVE_TOO_LARGE, "longer than its header says", member.size)
