"""Real documents that lie on any machine: documentation and metadata of the installed Python packages."""

from __future__ import annotations

import importlib.metadata
import shutil
from pathlib import Path

from bessemer.kernel.errors import FailedPrecondition

__all__ = ["gather"]

SUFFIXES = {".md", ".rst", ".txt", ".html"}
SKIPPED_WORDS = ("license", "licence", "copying", "notice", "authors", "top_level", "entry_points", "vendor", "test")
BYTES_MAX = 6_000_000
FILE_BYTES_MAX = 400_000


def gather(target: Path) -> Path:
    """Copy a few megabytes of package documentation into `target`, once, and return it.

    Raises: FailedPrecondition if this Python has no documented packages.
    """
    if target.exists():
        return target
    partial = target.with_name(target.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    left = BYTES_MAX
    for source, name in _candidates():
        size = source.stat().st_size
        if 200 <= size <= min(FILE_BYTES_MAX, left):
            destination = partial / name
            destination.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, destination)
            left -= size
    if left == BYTES_MAX:
        raise FailedPrecondition("no package documentation found in this Python; give your own with --documents DIR")
    partial.rename(target)
    return target


def _candidates() -> list[tuple[Path, str]]:
    """Return metadata files first, then documentation, each as (path, name in the corpus), in a fixed order."""
    metadata, pages = {}, {}
    for distribution in importlib.metadata.distributions():
        package = (distribution.metadata["Name"] or "").lower()
        for file in distribution.files or []:
            path = Path(str(file.locate()))
            if file.name == "METADATA":
                metadata[f"{package}/METADATA"] = path
            elif file.suffix.lower() in SUFFIXES and not any(word in str(file).lower() for word in SKIPPED_WORDS):
                pages[f"{package}/{file}"] = path
    ordered = sorted(metadata.items()) + sorted(pages.items())
    return [(path, name) for name, path in ordered if path.is_file() and ".." not in name]
