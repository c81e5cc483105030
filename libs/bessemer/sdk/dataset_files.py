"""The files of a sealed dataset version on the caller's side: what two versions differ in, and a copy to take away."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import Manifest, fetch, read_manifest
from bessemer.artifacts.texts import is_text_part, text_files, text_parts
from bessemer.kernel.errors import AlreadyExists, NotFound, PermissionDenied
from bessemer.kernel.ids import project_of

__all__ = ["Difference", "Downloader", "compare_documents", "export_version", "read_documents", "read_lines"]
__all__ += ["read_texts"]

_SPLITS = {"train": "train", "heldout": "test"}  # ours, and the name under which Hugging Face's loaders know it


class Downloader(Protocol):
    """The part of a client that is needed here."""

    def download(self, artifact: Any, path: str | Path) -> Path:
        """Download an artifact, verified, into `path`."""


class _SignedDownloads:
    """Blobs as a client reads them; a blob's key ends with its digest."""

    def __init__(self, client: Downloader) -> None:
        self._client = client

    def get_file(self, key: str, path: Path) -> None:
        self._client.download(ArtifactRef(key=key, sha256=key.rsplit("/", 1)[-1]), path)

    def get_bytes(self, key: str) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            self.get_file(key, Path(folder) / "blob")
            return (Path(folder) / "blob").read_bytes()

    def put_bytes(self, key: str, data: bytes) -> None:
        raise PermissionDenied(f"{key} ({len(data)} bytes) can only be written through an upload")

    def put_file(self, key: str, path: Path) -> None:
        raise PermissionDenied(f"{key} ({path}) can only be written through an upload")

    def move_file(self, key: str, path: Path) -> None:
        self.put_file(key, path)

    def local_path(self, key: str) -> Path | None:  # noqa: ARG002
        return None


@dataclass(frozen=True)
class Difference:
    """What the second of two versions has that the first has not, and the other way round; paths of documents.

    A document with other text under the same path is changed; the same text under another path is unchanged.
    """

    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    moved_split: list[str] = field(default_factory=list)
    num_unchanged: int = 0


def compare_documents(before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]]) -> Difference:
    """Compare two versions by the records of their `documents.jsonl`."""
    old, new = {record["id"]: record for record in before}, {record["id"]: record for record in after}
    gone = {record["source"] for id_, record in old.items() if id_ not in new}
    come = {record["source"] for id_, record in new.items() if id_ not in old}
    both = old.keys() & new.keys()
    moved = sorted(new[id_]["source"] for id_ in both if old[id_]["split"] != new[id_]["split"])
    return Difference(sorted(come - gone), sorted(gone - come), sorted(gone & come), moved, len(both) - len(moved))


def read_documents(client: Downloader, version: Any) -> list[dict[str, Any]]:
    """Return the records of a version's documents: number, id, source, sha256, split and more."""
    return read_lines(client, version, "documents.jsonl")


def read_lines(client: Downloader, version: Any, path: str) -> list[dict[str, Any]]:
    """Return the records of one of a version's files of JSON Lines."""
    with _opened(client, version, [path]) as (folder, _):
        return [*_lines(folder / path)]


def read_texts(client: Downloader, version: Any, split: str) -> Iterator[dict[str, Any]]:
    """Yield the documents `{"id", "source", "text"}` of one split of a text version.

    Raises: NotFound if the version holds no text.
    """
    blobs = Blobs(_SignedDownloads(client), project_of(version.name))
    manifest = read_manifest(blobs, version.manifest)
    if manifest.facts.get("kind") != "TEXT":
        raise NotFound(f"{version.name} holds no texts; name a text version", resource=version.name)
    for part in text_parts(manifest, split):
        with tempfile.TemporaryDirectory() as folder:
            fetch(blobs, manifest, Path(folder), [part.path])
            yield from _lines(Path(folder) / part.path)


def export_version(client: Downloader, version: Any, target: Path) -> dict[str, int]:
    """Write a version as a Hugging Face dataset folder of JSON Lines, all or nothing; return rows per split.

    Texts become `{"id", "source", "text"}`, conversations and pairs stay as they are.
    Raises: AlreadyExists if `target` holds anything.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise AlreadyExists(f"{target} is not empty; name a folder that does not exist yet", file=target)
    part = target.with_name(target.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    rows: dict[str, int] = {}
    with _opened(client, version, None) as (folder, manifest):
        for split, name in _SPLITS.items():
            files = [*text_files(folder, split), *folder.glob(f"{split}/rows.jsonl")]
            if files:
                with (part / f"{name}.jsonl").open("wb") as joined:
                    for file in files:
                        with file.open("rb") as piece:
                            shutil.copyfileobj(piece, joined)
                rows[name] = sum(1 for _ in _lines(part / f"{name}.jsonl"))
        (part / "manifest.json").write_text(json.dumps(dict(manifest.facts), indent=1, sort_keys=True) + "\n")
    (part / "README.md").write_text(_card(version, rows))
    if target.exists():
        target.rmdir()
    part.rename(target)
    return rows


@contextmanager
def _opened(client: Downloader, version: Any, paths: list[str] | None) -> Iterator[tuple[Path, Manifest]]:
    """Fetch the named files of a version, or all with rows in them, into a folder that lives as long as the block."""
    blobs = Blobs(_SignedDownloads(client), project_of(version.name))
    manifest = read_manifest(blobs, version.manifest)
    rows = [e.path for e in manifest.files if e.path.endswith("/rows.jsonl") or is_text_part(e.path)]
    with tempfile.TemporaryDirectory() as folder:
        yield fetch(blobs, manifest, Path(folder), rows if paths is None else paths), manifest


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        yield from map(json.loads, file)


def _card(version: Any, rows: Mapping[str, int]) -> str:
    """Return the dataset card whose header tells loaders where the splits are."""
    files = "".join(f"  - split: {name}\n    path: {name}.jsonl\n" for name in rows)
    return (
        f"---\nconfigs:\n- config_name: default\n  data_files:\n{files}---\n\n"
        f"# {version.name}\n\nSealed as SHA-256 {version.manifest.sha256}; made from {', '.join(version.sources)}.\n"
    )
