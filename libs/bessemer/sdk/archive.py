"""Pack a folder into one archive that is the same, byte for byte, for the same files."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable
from pathlib import Path

from bessemer.kernel.errors import InvalidRequest

__all__ = ["list_files", "pack_files"]


def list_files(folder: Path) -> list[Path]:
    """Return the regular files below `folder`, sorted; hidden ones and links are left out.

    Raises: InvalidRequest if the folder does not exist or holds no file.
    """
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise InvalidRequest(f"no such folder: {folder}", field="source", file=folder)
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not path.is_symlink()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not files:
        raise InvalidRequest(f"{folder} holds no files", field="source", file=folder)
    return files


def pack_files(files: Iterable[tuple[str, Path]], target: Path) -> Path:
    """Write `(name, path)` pairs into the tar file `target`; times, owners and modes are not kept."""
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, path in files:
            entry = tarfile.TarInfo(name)
            entry.size = path.stat().st_size
            with path.open("rb") as stream:
                archive.addfile(entry, stream)
    return target
