"""Manifests: one small canonical JSON file that names every file of a version by digest.

It is written last, so a version without a manifest does not exist; its own SHA-256 is the version's digest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.artifacts.blobs import Blobs, sha256_of
from bessemer.kernel.errors import DataLoss, NotFound

__all__ = ["JSON", "MEDIA_TYPE", "FileEntry", "Manifest", "canonical_json", "fetch", "read_manifest", "write_manifest"]

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"
MEDIA_TYPE = "application/vnd.bessemer.manifest+json"
_VERSION = 1


@dataclass(frozen=True)
class FileEntry:
    """One file of a version."""

    path: str
    key: str
    sha256: str
    size_bytes: int
    media_type: str

    @classmethod
    def of(cls, path: str, ref: ArtifactRef) -> FileEntry:
        """Return the entry that gives a blob a path."""
        return cls(path, ref.key, ref.sha256, ref.size_bytes, ref.media_type)

    @property
    def ref(self) -> ArtifactRef:
        """The blob behind the entry."""
        return ArtifactRef(key=self.key, sha256=self.sha256, size_bytes=self.size_bytes, media_type=self.media_type)


@dataclass(frozen=True)
class Manifest:
    """What a version consists of; `kind` is `dataset`, `model` or `checkpoint`."""

    kind: str
    files: tuple[FileEntry, ...]
    facts: Mapping[str, JSON] = field(default_factory=dict)

    def file(self, path: str) -> FileEntry:
        """Return the entry of a path.

        Raises: NotFound if there is none.
        """
        for entry in self.files:
            if entry.path == path:
                return entry
        raise NotFound(f"the {self.kind} has no file {path!r}; it has {', '.join(e.path for e in self.files[:20])}")

    def below(self, prefix: str) -> tuple[FileEntry, ...]:
        """Return the entries whose path starts with `prefix`, in order of path."""
        return tuple(entry for entry in self.files if entry.path.startswith(prefix))


def canonical_json(value: JSON) -> bytes:
    """Return the one way to write a value: sorted keys, no spaces, UTF-8, a line end."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def write_manifest(blobs: Blobs, manifest: Manifest) -> ArtifactRef:
    """Store a manifest; equal manifests get equal references."""
    files = sorted(manifest.files, key=lambda entry: entry.path)
    _check_paths([entry.path for entry in files])
    value: JSON = {
        "version": _VERSION,
        "kind": manifest.kind,
        "files": [asdict(entry) for entry in files],
        "facts": manifest.facts,
    }
    return blobs.put_bytes(canonical_json(value), MEDIA_TYPE)


def read_manifest(blobs: Blobs, ref: ArtifactRef) -> Manifest:
    """Return a verified manifest.

    Raises: NotFound; DataLoss if it is damaged or of a version this program does not know.
    """
    try:
        value = json.loads(blobs.get_bytes(ref))
        version = value["version"]
        manifest = Manifest(value["kind"], tuple(FileEntry(**entry) for entry in value["files"]), value["facts"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataLoss(f"{ref.key} is not a manifest: {error}", resource=ref.key) from error
    if version != _VERSION:
        raise DataLoss(f"{ref.key} has manifest version {version!r}; this program reads {_VERSION}", resource=ref.key)
    _check_paths([entry.path for entry in manifest.files])
    return manifest


def fetch(blobs: Blobs, manifest: Manifest, folder: Path, paths: Iterable[str] | None = None) -> Path:
    """Copy all files, or the named ones, verified, into `folder` and return it; intact files there are kept.

    Raises: NotFound, DataLoss.
    """
    entries = manifest.files if paths is None else [manifest.file(path) for path in paths]
    for entry in entries:
        target = folder / entry.path
        same_size = target.is_file() and target.stat().st_size == entry.size_bytes
        if not (same_size and sha256_of(target) == entry.sha256):
            blobs.get_file(entry.ref, target)
    return folder


def _check_paths(paths: Sequence[str]) -> None:
    """Refuse paths that could leave a folder, and duplicates."""
    for path in paths:
        parts = PurePosixPath(path).parts
        if not parts or path.startswith("/") or "\\" in path or any(part in {"..", "."} for part in path.split("/")):
            raise DataLoss(f"a manifest must hold relative paths without '..'; got {path!r}")
    if len(set(paths)) != len(paths):
        raise DataLoss("a manifest must not name a path twice")
