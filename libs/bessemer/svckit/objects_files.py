"""Objects as files of one host: durable before acknowledged, created once, never seen half."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from bessemer.kernel.errors import (
    AlreadyExists,
    BessemerError,
    FailedPrecondition,
    Internal,
    LimitReached,
    NotFound,
)
from bessemer.svckit.objects import ObjectsConfig, check_key, check_prefix
from bessemer.svckit.signed_url import sign_url

__all__ = ["FileObjects"]

CHUNK_BYTES = 1 << 20
PARTIAL = ".partial"
MODE = 0o444
STALE_S = 24 * 3600.0


class FileObjects:
    """An object store in a folder; several processes of the host may share it.

    Source: write aside, fsync, link, fsync the folder; the only order that lost nothing in power-cut tests.
    """

    def __init__(self, root: Path, *, door_url: str = "", door_key: bytes | None = None) -> None:
        self.root = root
        self._door_url = door_url.rstrip("/")
        self._door_key = door_key
        self._partial = root / PARTIAL
        with _errors(str(root)):
            _make_folders(self._partial)
            self._sweep()

    @property
    def config(self) -> ObjectsConfig:
        """See `ObjectStore`."""
        return ObjectsConfig(f"file://{self.root.resolve()}")

    def put_bytes(self, key: str, data: bytes) -> None:
        """See `ObjectStore`."""
        self._put(key, lambda stream: _write_all(stream, data))

    def put_file(self, key: str, path: Path) -> None:
        """See `ObjectStore`."""
        check_key(key)
        with path.open("rb") as source:
            self._put(key, lambda stream: shutil.copyfileobj(source, stream, CHUNK_BYTES))

    def move_file(self, key: str, path: Path) -> None:
        """See `ObjectStore`; a file of another file system is copied."""
        final = self.path(key)
        aside = self._partial / uuid.uuid4().hex
        try:
            path.rename(aside)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self.put_file(key, path)
            path.unlink()
            return
        try:
            with _errors(key):
                aside.chmod(aside.stat().st_mode & MODE)
                with aside.open("rb") as stream:
                    os.fsync(stream.fileno())
                self._place(key, aside, final)
        finally:
            aside.unlink(missing_ok=True)

    def get_bytes(self, key: str) -> bytes:
        """See `ObjectStore`."""
        with _errors(key):
            return self.path(key).read_bytes()

    def get_file(self, key: str, path: Path) -> None:
        """See `ObjectStore`."""
        aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            with _errors(key):
                shutil.copyfile(self.path(key), aside)
                aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """See `ObjectStore`."""
        with _errors(key), self.path(key).open("rb") as stream:
            stream.seek(start)
            return stream.read(length)

    def local_path(self, key: str) -> Path | None:
        """See `ObjectStore`."""
        return self.path(key)

    def stat(self, key: str) -> int:
        """See `ObjectStore`."""
        path = self.path(key)
        with _errors(key):
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, "", key)
            return path.stat().st_size

    def list(self, prefix: str) -> Iterator[str]:
        """See `ObjectStore`."""
        check_prefix(prefix)
        folder = prefix.rpartition("/")[0]
        keys = (path.relative_to(self.root).as_posix() for path in _walk(self.root / folder))
        yield from sorted(key for key in keys if key.startswith(prefix) and not key.startswith(f"{PARTIAL}/"))

    def delete(self, key: str) -> None:
        """See `ObjectStore`."""
        path = self.path(key)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), _errors(key, missing_ok=True):
            path.unlink()
            _sync_folder(path.parent)

    def signed_url(
        self,
        method: Literal["GET", "PUT"],
        key: str,
        *,
        expires_s: int,
        size_bytes: int | None = None,
        sha256: str | None = None,
    ) -> tuple[str, dict[str, str]]:
        """See `ObjectStore`; the URL leads to data_svc's HTTP door."""
        if not self._door_url or self._door_key is None:
            raise FailedPrecondition("signed URLs need BESSEMER_DOOR_URL and BESSEMER_DOOR_KEY_FILE")
        expires = int(time.time()) + expires_s
        url = sign_url(
            self._door_url,
            self._door_key,
            method,
            check_key(key),
            expires=expires,
            size_bytes=size_bytes,
            sha256=sha256,
        )
        return url, {}

    def path(self, key: str) -> Path:
        """Return where an object's file lies; never write to it."""
        return self.root / check_key(key)

    def _put(self, key: str, write: Callable[[BinaryIO], None]) -> None:
        final = self.path(key)
        aside = self._partial / uuid.uuid4().hex
        try:
            with _errors(key):
                with os.fdopen(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, MODE), "wb") as stream:
                    write(stream)
                    stream.flush()
                    os.fsync(stream.fileno())
                self._place(key, aside, final)
        finally:
            aside.unlink(missing_ok=True)

    @staticmethod
    def _place(key: str, aside: Path, final: Path) -> None:
        """Give a durable file its name."""
        try:
            _make_folders(final.parent)
            os.link(aside, final)
        except FileExistsError:
            _check_same(key, aside, final)
        _sync_folder(final.parent)  # also for a twin: its writer may not have come this far

    def _sweep(self) -> None:
        """Remove what crashed writers left behind."""
        for path in self._partial.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > STALE_S:
                    path.unlink()


def _write_all(stream: BinaryIO, data: bytes) -> None:
    stream.write(data)


def _check_same(key: str, new: Path, stored: Path) -> None:
    if not stored.is_file():
        raise AlreadyExists(f"{key} is a folder of other objects, or one of its folders is an object", resource=key)
    with new.open("rb") as ours, stored.open("rb") as theirs:
        while True:
            mine, other = ours.read(CHUNK_BYTES), theirs.read(CHUNK_BYTES)
            if mine != other:
                raise AlreadyExists(
                    f"{key} holds other bytes already; objects never change, choose another key", resource=key
                )
            if not mine:
                return


def _walk(folder: Path) -> Iterator[Path]:
    for where, _, names in os.walk(folder):
        for name in names:
            yield Path(where, name)


def _make_folders(folder: Path) -> None:
    """Make a folder and its parents so that they survive a power cut."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        _sync_folder(each.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _errors(key: str, *, missing_ok: bool = False) -> Iterator[None]:
    """Turn the system's errors into ours."""
    try:
        yield
    except BessemerError:
        raise
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise LimitReached(
                "the object store's disk is full; free some space and retry", reason="STORAGE_FULL"
            ) from error
        if isinstance(error, (FileNotFoundError, IsADirectoryError, NotADirectoryError)):
            if missing_ok:
                raise
            raise NotFound(f"object {key} does not exist", resource=key) from error
        raise Internal(f"object {key} cannot be read or written: {error.strerror}", resource=key) from error
