"""Files that a task names: as they are on a host that both sides see, else as objects. The one place that knows."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from data_svc.worker.work import Work

__all__ = ["as_files", "as_objects"]

_FIELDS = ("partition", "tokenizer", "weights")
_BLOCK = 1 << 20


def as_objects(task: Mapping[str, Any], work: Work, stored: Mapping[str, str], scratch: Path) -> dict[str, Any]:
    """Return a task that names objects instead of files: `stored` has the objects of some, the others are put there.

    Those go into one object, one after the other, since a partition may have thousands; a place in it is
    `KEY:START:SIZE` in bytes.
    """
    loose = [path for path in dict.fromkeys(_files(task)) if path not in stored]
    places = dict(stored)
    if loose:
        pack, ends = scratch / "pack", [0]
        with pack.open("wb") as target:
            for path in loose:
                with Path(path).open("rb") as source:
                    shutil.copyfileobj(source, target, _BLOCK)
                ends.append(target.tell())
        name = work.keep("files", pack)
        pack.unlink()
        for path, start, end in zip(loose, ends, ends[1:], strict=False):
            places[path] = f"{name}:{start}:{end - start}"
    return _with_files(task, [places[path] for path in _files(task)])


def as_files(task: Mapping[str, Any], work: Work, folder: Path) -> dict[str, Any]:
    """Return a task that names files, below `folder` where it named objects."""
    fetched: dict[str, Path] = {}

    def file_of(number: int, place: str) -> str:
        name, *part = place.split(":")
        if name not in fetched:
            fetched[name] = folder / f"object-{len(fetched)}"
            work.get(name, fetched[name])
        if not part:
            return str(fetched[name])
        path, (start, size) = folder / f"file-{number}", map(int, part)
        with fetched[name].open("rb") as source, path.open("wb") as target:
            source.seek(start)
            _copy(source, target, size)
        return str(path)

    places = enumerate(_files(task))
    return _with_files(task, [place if place.startswith("/") else file_of(number, place) for number, place in places])


def _copy(source: BinaryIO, target: BinaryIO, size: int) -> None:
    while size and (block := source.read(min(size, _BLOCK))):
        target.write(block)
        size -= len(block)


def _files(task: Mapping[str, Any]) -> list[str]:
    """Return the files that a task names, in order."""
    sources = [entry[1] for entry in task.get("files", ()) if not _is_rejection(entry)]
    return [*sources, *(task[name] for name in _FIELDS if name in task)]


def _with_files(task: Mapping[str, Any], files: Sequence[str]) -> dict[str, Any]:
    """Return the task with other files, in the order of `_files`."""
    given = iter(files)
    changed = dict(task)
    if "files" in task:
        entries = task["files"]
        changed["files"] = [e if _is_rejection(e) else [e[0], next(given), *e[2:]] for e in entries]
    return changed | {name: next(given) for name in _FIELDS if name in task}


def _is_rejection(entry: Sequence[Any]) -> bool:
    return len(entry) > 4  # a file that was refused before it was read: nothing but its reason is left
