"""Weights on the local disk, one folder per manifest digest, fetched once and verified at every start."""

from __future__ import annotations

import asyncio
import shutil
import tarfile
from pathlib import Path

from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import Manifest, fetch, read_manifest
from bessemer.kernel.errors import DataLoss, NotFound
from bessemer.kernel.ids import project_of
from bessemer.svckit.objects import ObjectStore

__all__ = ["LocalModelFiles"]


class LocalModelFiles:
    """Model folders under one root."""

    def __init__(self, objects: ObjectStore, root: Path) -> None:
        self._objects = objects
        self._root = root
        self._locks: dict[str, asyncio.Lock] = {}

    async def fetch(self, manifest: ArtifactRef) -> Path:
        """Return the folder that holds exactly the files of a manifest, verified."""
        async with self._locks.setdefault(manifest.sha256, asyncio.Lock()):
            return await asyncio.to_thread(self._fetch, manifest)

    async def fetch_export(self, archive: ArtifactRef) -> Path:
        """Return a folder with the files of an exported archive, unpacked anew and from verified bytes."""
        async with self._locks.setdefault(archive.sha256, asyncio.Lock()):
            return await asyncio.to_thread(self._fetch_export, archive)

    def _fetch_export(self, archive: ArtifactRef) -> Path:
        folder = self._root / "exports" / archive.sha256
        packed = Blobs(self._objects, project_of(archive.key)).get_file(archive, folder.with_suffix(".tar"))
        shutil.rmtree(folder, ignore_errors=True)
        try:
            with tarfile.open(packed) as tar:
                tar.extractall(folder, filter="data")
        except tarfile.TarError as error:
            raise DataLoss(f"{archive.key} is no export: {error}", resource=archive.key) from None
        finally:
            packed.unlink()
        return folder

    async def fetch_adapter(self, manifest: ArtifactRef) -> Path:
        """Return a folder with the adapters of a manifest, verified, without its weights."""
        async with self._locks.setdefault(f"{manifest.sha256}/adapter", asyncio.Lock()):
            return await asyncio.to_thread(self._fetch_adapter, manifest)

    def _fetch_adapter(self, reference: ArtifactRef) -> Path:
        blobs = Blobs(self._objects, project_of(reference.key))
        paths = [entry.path for entry in read_manifest(blobs, reference).below("adapter/")]
        if not paths:
            raise NotFound(f"{reference.key} holds no adapters", resource=reference.key)
        return (
            fetch(blobs, read_manifest(blobs, reference), self._root / "adapters" / reference.sha256, paths) / "adapter"
        )

    def _fetch(self, reference: ArtifactRef) -> Path:
        blobs = Blobs(self._objects, project_of(reference.key))
        manifest = read_manifest(blobs, reference)
        if manifest.kind != "model":
            raise DataLoss(f"{reference.key} is a {manifest.kind}, not a model", resource=reference.key)
        folder = self._root / reference.sha256
        if folder.exists() and _extra(folder, manifest):
            # Whoever put something beside verified weights may have had a reason we would not like.
            shutil.rmtree(folder)
        return fetch(blobs, manifest, folder)


def _extra(folder: Path, manifest: Manifest) -> list[Path]:
    """Return what lies in a folder and does not belong there, links included."""
    known = {entry.path for entry in manifest.files}
    found = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    return [path for path in found if path.is_symlink() or path.relative_to(folder).as_posix() not in known]
