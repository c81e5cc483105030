"""What was refused of a version's uploads, with its bytes: they stay in the uploads, and are taken out of them here."""

from __future__ import annotations

import re
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol, TypeAlias, cast

from bessemer.kernel.errors import AlreadyExists
from bessemer.sdk.dataset_files import Downloader, read_lines

__all__ = ["FAILURES", "containers", "read_rejections", "save_rejected", "target_name"]

_REASONS = (
    "ARCHIVE_DAMAGED",
    "ARCHIVE_LINK",
    "ARCHIVE_NESTED",
    "ARCHIVE_TOO_LARGE",
    "ARCHIVE_TOO_MANY_ENTRIES",
    "ARCHIVE_UNSAFE_PATH",
    "BINARY",
    "EMPTY",
    "ENCODING_DAMAGED",
    "ENCRYPTED",
    "HTTP_STATUS",
    "LINE_TOO_LONG",
    "NEEDS_OCR",
    "PARSE_FAILED",
    "PARSE_TIMEOUT",
    "PARSE_TRUNCATED",
    "ROW_INVALID",
    "UNSUPPORTED_FORMAT",
)
FAILURES = frozenset(_REASONS)
_NEVER_EXPANDED = {"ARCHIVE_LINK", "ARCHIVE_TOO_LARGE", "ARCHIVE_TOO_MANY_ENTRIES", "ARCHIVE_UNSAFE_PATH"}
Opener: TypeAlias = Callable[[], IO[bytes]]
_NAME_CHARACTERS = 150
_UNSAFE = re.compile(r"[^\w .,@+=()-]")
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, NotImplementedError)


class _Upload(Protocol):
    """The part of an upload that is needed here."""

    file_name: str
    artifact: Any


def read_rejections(client: Downloader, version: Any, reasons: Collection[str] = FAILURES) -> list[dict[str, Any]]:
    """Return what was refused for these reasons: source, reason, detail and more, in order of source.

    A source is a path in an upload; a part of a file has its place after `#`, such as `#row7`.
    """
    return [row for row in read_lines(client, version, "rejections.jsonl") if row["reason"] in reasons]


def save_rejected(
    client: Downloader, uploads: Sequence[_Upload], rejections: Iterable[Mapping[str, Any]], folder: Path
) -> dict[str, list[Path]]:
    """Write the files behind rejections into a folder and return them by source; none for one that no upload holds.

    A file out of an archive is written by itself; where that cannot be, or must not, because it expands to too much,
    the archive is. Parts of a file, attachments and pages come as the file that holds them.
    Raises: AlreadyExists if the folder holds anything.
    """
    if folder.exists() and any(folder.iterdir()):
        raise AlreadyExists(f"{folder} is not empty; name a folder that does not exist yet", file=folder)
    rows = [*rejections]
    saved: dict[str, list[Path]] = {row["source"]: [] for row in rows}
    expandable = {row["source"] for row in rows if row["reason"] not in _NEVER_EXPANDED}
    for number, upload in enumerate(uploads):
        target = folder / str(number) if len(uploads) > 1 else folder
        with tempfile.TemporaryDirectory() as scratch:
            whole = client.download(upload.artifact, Path(scratch) / "upload")
            for source, path in _save(whole, upload.file_name, saved, expandable, target):
                saved[source].append(path)
    return saved


def containers(source: str) -> Iterator[str]:
    """Yield what a source may be called in its upload, the nearest first: itself, or what holds it."""
    yield source
    while cut := max(source.rfind("#"), source.rfind("/")) + 1:
        source = source[: cut - 1]
        yield source


def target_name(source: str) -> Path:
    """Return a relative path for a source that stays where it is put, whatever it was called."""
    parts = [_UNSAFE.sub("_", part)[:_NAME_CHARACTERS] for part in re.split(r"[/\\]", source)]
    return Path(*[part for part in parts if part.strip(" .")] or ["_"])


def _save(
    whole: Path, name: str, sources: Iterable[str], expandable: Collection[str], folder: Path
) -> Iterator[tuple[str, Path]]:
    """Yield the sources that an upload holds, with the file that was written for each."""
    written: dict[str, Path] = {}
    with _entries(whole) as entries:
        for source in sources:
            entry = next((entry for entry in containers(source) if entry in entries), "")
            if not entry and name not in containers(source):
                continue
            if source not in expandable:
                entry = ""
            if entry not in written:
                called, opener = entries[entry] if entry else (name, _opener(whole))
                written[entry] = _write(opener, folder / target_name(called))
            if not written[entry].exists():  # it cannot be taken out
                entry = ""
                written.setdefault("", _write(_opener(whole), folder / target_name(name)))
            yield source, written[entry]


def _opener(file: Path) -> Opener:
    return lambda: file.open("rb")


def _write(open_entry: Opener, path: Path) -> Path:
    """Copy what is opened to a path, or one like it that is free, and return it; nothing is there if that fails."""
    number = 1
    while path.exists():
        number += 1
        path = path.with_name(f"{path.name}~{number}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open_entry() as stream, path.open("xb") as target:
            shutil.copyfileobj(stream, target, 1 << 20)
    except _BROKEN:
        path.unlink(missing_ok=True)
    return path


@contextmanager
def _entries(file: Path) -> Iterator[Mapping[str, tuple[str, Opener]]]:
    """Give the files in an archive by name, and without `.gz` too: each with its name and how to open it."""
    found: dict[str, Opener] = {}
    with ExitStack() as opened:
        with suppress(*_BROKEN):  # what was listed before the damage can be had
            if zipfile.is_zipfile(file):
                packed = opened.enter_context(zipfile.ZipFile(file))
                found |= {info.filename: partial(packed.open, info) for info in packed.infolist()}
            elif tarfile.is_tarfile(file):
                tar = opened.enter_context(tarfile.open(file))
                for member in tar:
                    if not member.isdir():  # a link is listed, and never opened
                        found[member.name.removeprefix("./")] = cast("Opener", partial(tar.extractfile, member))
        entries = {each.encode(errors="replace").decode(): (each, opener) for each, opener in found.items()}
        yield {each.removesuffix(".gz"): entry for each, entry in entries.items()} | entries
