"""Model folders in and out of archives; what comes in is hostile until shown otherwise."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from bessemer.kernel.errors import InvalidRequest

__all__ = ["pack_folder", "unpack_model"]

_WANTED = (".safetensors",)
_WANTED_NAMES = {
    "adapter_config.json",
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "chat_template.jinja",
}
# Formats that can run code when they are loaded.
_REFUSED = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".py", ".pyc", ".so", ".npy", ".npz", ".h5", ".msgpack")
_ENTRIES_MAX = 10_000
_RATIO_MAX = 100


class _Entry(NamedTuple):
    path: PurePosixPath
    size: int
    open: Callable[[], IO[bytes] | None]


def unpack_model(archive: Path, folder: Path) -> Path:
    """Take the files of a Hugging Face folder out of a zip or tar file; everything else in it stays there.

    Raises: InvalidRequest SOURCE_INVALID for pickles, code, links, odd paths, two models in one archive, and bombs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as bundle:
                _extract(_zip_entries(bundle), folder, archive.stat().st_size)
        else:
            with tarfile.open(archive) as tar:
                _extract(_tar_entries(tar), folder, archive.stat().st_size)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise _invalid(f"the upload is not a readable zip or tar file: {error}") from None
    return folder


def pack_folder(folder: Path, target: Path) -> Path:
    """Write the files of a folder into a tar file, byte for byte the same for the same files."""
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
            entry.size, entry.mode = path.stat().st_size, 0o644
            with path.open("rb") as stream:
                tar.addfile(entry, stream)
    return target


def _zip_entries(bundle: zipfile.ZipFile) -> Iterator[_Entry]:
    for info in bundle.infolist():
        if not info.is_dir():
            yield _Entry(_path(info.filename), info.file_size, partial(bundle.open, info))


def _tar_entries(tar: tarfile.TarFile) -> Iterator[_Entry]:
    for info in tar:
        if info.isdir():
            continue
        if not info.isfile():
            raise _invalid(f"the archive holds {info.name[:200]!r}, a link or device; only plain files are allowed")
        yield _Entry(_path(info.name), info.size, partial(tar.extractfile, info))


def _extract(entries: Iterator[_Entry], folder: Path, archive_bytes: int) -> None:
    budget = _RATIO_MAX * archive_bytes + (1 << 20)
    seen: dict[str, PurePosixPath] = {}
    for number, entry in enumerate(entries):
        name = entry.path.name
        budget -= entry.size
        if number >= _ENTRIES_MAX or budget < 0:
            raise _invalid(f"the archive unpacks to more than {_ENTRIES_MAX} files or {_RATIO_MAX} times its size")
        if name.lower().endswith(_REFUSED):
            raise _invalid(f"the archive holds {name!r}, a format that can carry code; convert weights to safetensors")
        if not (name in _WANTED_NAMES or name.endswith(_WANTED)):
            continue
        if name in seen or any(entry.path.parent != other.parent for other in seen.values()):
            raise _invalid(f"the archive holds model files in several folders, such as {entry.path}; send one model")
        seen[name] = entry.path
        stream = entry.open()
        assert stream is not None
        with stream, (folder / name).open("wb") as target:
            shutil.copyfileobj(stream, target, 1 << 20)


def _path(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or not path.parts:
        raise _invalid(f"the archive holds the path {name[:200]!r}; only relative paths without '..' are allowed")
    return path


def _invalid(message: str) -> InvalidRequest:
    return InvalidRequest(message, reason="SOURCE_INVALID", field="import.upload")
