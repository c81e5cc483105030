"""Real documents that lie on any machine: what the installed Python packages say about themselves."""

from __future__ import annotations

import importlib.metadata
import shutil
from pathlib import Path

from bessemer.kernel.errors import FailedPrecondition

__all__ = ["gather"]

# Header fields and the beginning of the description; what follows is mostly change logs.
OPENING_BYTES = 8_000


def gather(target: Path) -> Path:
    """Copy the metadata of all installed packages into `target`, once, and return it.

    Raises: FailedPrecondition if this Python has no packages.
    """
    if target.exists():
        return target
    partial = target.with_name(target.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for package, metadata in _metadata():
        opening = metadata.read_bytes()[:OPENING_BYTES].rsplit(b"\n", 1)[0]
        (partial / package).mkdir(exist_ok=True)
        (partial / package / "METADATA").write_bytes(opening + b"\n")
    if not any(partial.iterdir()):
        raise FailedPrecondition("no package metadata found in this Python; give your own with --documents DIR")
    partial.rename(target)
    return target


def _metadata() -> list[tuple[str, Path]]:
    """Return (package, file) in the order of names."""
    found = {}
    for distribution in importlib.metadata.distributions():
        for file in distribution.files or []:
            path = Path(str(file.locate()))
            if file.name == "METADATA" and path.is_file():
                found[(distribution.metadata["Name"] or "").lower()] = path
    return sorted(found.items())
