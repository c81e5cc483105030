"""The inside of Office files: a zip folder that is looked over before it is opened, and XML as a stream of events.

Source: ECMA-376 part 2 (packages, relationships); it allows no document type definitions.
"""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple
from xml.parsers import expat

from data_svc.domain.reasons import Reason
from data_svc.worker.parts import Refused

__all__ = ["Event", "Package", "open_package"]

_RATIO_MAX = 200
_SMALL = 1 << 20  # what is shorter than this is no bomb, whatever its ratio
_EXPANDED_BYTES_MAX = 1 << 30
_ENTRIES_MAX = 10_000
_DEPTH_MAX = 1000
_READ = 1 << 16


class Event(NamedTuple):
    """A start tag, an end tag or text; names are without their namespace's prefix."""

    kind: str  # "start", "end" or "text"
    name: str  # of the element, or the text itself
    attributes: dict[str, str]

    def get(self, name: str) -> str:
        """Return an attribute, empty if there is none; one with a prefix goes before one without."""
        for key, value in self.attributes.items():
            if key.endswith(":" + name):
                return value
        return self.attributes.get(name, "")


class Package:
    """An opened Office file."""

    def __init__(self, opened: zipfile.ZipFile) -> None:
        self._opened = opened
        self._names = set(opened.namelist())

    def events(self, path: str) -> Iterator[Event]:
        """Yield the events of a part of the package; none if there is no such part.

        Raises: Refused for a document type definition; ValueError for XML that is broken or too deep.
        """
        if path in self._names:
            with self._opened.open(path) as stream:
                yield from _events(stream, path)

    def related(self, path: str) -> dict[str, tuple[str, str]]:
        """Return the kind and the path of what a part refers to, by identifier."""
        folder, name = posixpath.split(path)
        found = {}
        for event in self.events(f"{folder}/_rels/{name}.rels"):
            if event.name == "Relationship" and event.kind == "start" and event.get("TargetMode") != "External":
                target = posixpath.normpath(posixpath.join("/" + folder, event.get("Target"))).lstrip("/")
                found[event.get("Id")] = (event.get("Type").rpartition("/")[2], target)
        return found


@contextmanager
def open_package(file: Path) -> Iterator[Package]:
    """Open an Office file after a look at its directory.

    Raises: Refused if it is encrypted or expands beyond the limits; zipfile.BadZipFile.
    """
    with file.open("rb") as stream:
        if stream.read(2) == b"\xd0\xcf":
            raise Refused(Reason.ENCRYPTED, "an Office file that opens with a password only")
    with zipfile.ZipFile(file) as opened:
        _look_over(opened.infolist())
        yield Package(opened)


def _look_over(infos: list[zipfile.ZipInfo]) -> None:
    if len(infos) > _ENTRIES_MAX:
        raise Refused(Reason.ARCHIVE_TOO_MANY_ENTRIES, f"{len(infos)} entries; {_ENTRIES_MAX} are allowed")
    expanded = sum(info.file_size for info in infos)
    if expanded > _EXPANDED_BYTES_MAX:
        raise Refused(Reason.ARCHIVE_TOO_LARGE, f"expands to {expanded} bytes; {_EXPANDED_BYTES_MAX} are allowed")
    for info in infos:
        if info.flag_bits & 1:
            raise Refused(Reason.ENCRYPTED, f"{info.filename} is encrypted")
        if info.file_size > max(_RATIO_MAX * info.compress_size, _SMALL):
            detail = f"{info.filename} expands from {info.compress_size} to {info.file_size} bytes"
            raise Refused(Reason.ARCHIVE_TOO_LARGE, f"{detail}; the ratio may be {_RATIO_MAX}")


def _events(stream: IO[bytes], path: str) -> Iterator[Event]:
    found: list[Event] = []
    names: dict[str, str] = {}
    none: dict[str, str] = {}
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEPTH_MAX:
            raise ValueError(f"elements of {path} nest over {_DEPTH_MAX} deep")
        if name not in names:
            names[name] = name.rpartition(":")[2]
        found.append(Event("start", names[name], attributes))

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        found.append(Event("end", names[name], none))

    def refuse(*_: object) -> None:
        raise Refused(Reason.PARSE_FAILED, f"{path} declares a document type; Office files have none")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = lambda text: found.append(Event("text", text, none))
    parser.StartDoctypeDeclHandler = refuse
    while block := stream.read(_READ):
        parser.Parse(block)
        yield from found
        found.clear()
    parser.Parse(b"", True)
    yield from found
