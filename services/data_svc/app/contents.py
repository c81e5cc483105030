"""What is inside a sealed version: a few rows, and the distributions measured when it was made."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from bessemer.api.data.v1 import dataset_service_pb2 as pb
from bessemer.api.data.v1.dataset_pb2 import DatasetKind, DatasetVersion
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import Manifest, fetch, read_manifest
from bessemer.artifacts.texts import text_parts
from bessemer.kernel.errors import DataLoss, NotFound
from bessemer.kernel.ids import project_of
from bessemer.svckit.objects import ObjectStore
from bessemer.svckit.store import Store
from google.protobuf import json_format

from data_svc.app.datasets import live_version
from data_svc.domain.splitting import HELDOUT, TRAIN

__all__ = ["Contents"]

ROWS = 10
TEXT_CHARACTERS_MAX = 4096
ROW_BYTES_MAX = 64 * 2**20


class Contents:
    """Use cases of looking into a version."""

    def __init__(self, store: Store, objects: ObjectStore, *, scratch: Path) -> None:
        self._store = store
        self._objects = objects
        self._scratch = scratch

    async def preview(self, request: pb.PreviewDatasetVersionRequest) -> pb.PreviewDatasetVersionResponse:
        """Return a few rows as text."""
        version = await self._version(request.name)
        split, count = request.split or "train", request.rows or ROWS
        rows = await asyncio.to_thread(self._rows, version, split, count)
        return pb.PreviewDatasetVersionResponse(rows=rows)

    async def profile(self, name: str) -> pb.DatasetProfile:
        """Return the distributions of a version."""
        version = await self._version(name)
        data = await asyncio.to_thread(self._profile, version)
        profile = pb.DatasetProfile()
        try:
            json_format.Parse(data, profile, ignore_unknown_fields=True)
        except json_format.ParseError as error:
            raise DataLoss(f"the profile of {name} cannot be read: {error}", resource=name) from error
        profile.name = version.name
        return profile

    async def _version(self, name: str) -> DatasetVersion:
        return await self._store.read(lambda tx: live_version(tx, name))

    def _profile(self, version: DatasetVersion) -> bytes:
        blobs, manifest = self._open(version)
        return blobs.get_bytes(manifest.file("profile.json").ref)

    def _rows(self, version: DatasetVersion, split: str, count: int) -> list[pb.PreviewRow]:
        blobs, manifest = self._open(version)
        paths = [entry.path for entry in text_parts(manifest, split)]
        if version.kind != DatasetKind.DATASET_KIND_TEXT:
            paths = [entry.path for entry in manifest.below(f"{split}/rows.jsonl")]
        if split not in {TRAIN, HELDOUT}:
            raise NotFound(f"{version.name} has no rows in its split {split!r}", resource=version.name)
        self._scratch.mkdir(parents=True, exist_ok=True)
        rows: list[pb.PreviewRow] = []
        with tempfile.TemporaryDirectory(dir=self._scratch) as name:
            while paths and len(rows) < count:
                path = paths.pop(0)
                lines = _lines(fetch(blobs, manifest, Path(name), [path]) / path)
                rows += map(_preview, islice(lines, count - len(rows)))
        return rows

    def _open(self, version: DatasetVersion) -> tuple[Blobs, Manifest]:
        blobs = Blobs(self._objects, project_of(version.name))
        return blobs, read_manifest(blobs, version.manifest)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        while line := file.readline(ROW_BYTES_MAX):
            yield json.loads(line)


def _preview(row: dict[str, Any]) -> pb.PreviewRow:
    """Return a document's text, or a conversation as `role: content` lines."""
    if "text" in row:
        text = str(row["text"])
    elif "messages" in row:
        text = _conversation(row["messages"])
    elif "completion" in row:
        rating = "liked" if row["label"] else "disliked"
        text = f"{_conversation(row['prompt'])}\n\n{rating}: {row['completion']}"
    else:
        text = f"{_conversation(row['prompt'])}\n\nchosen: {row['chosen']}\n\nrejected: {row['rejected']}"
    return pb.PreviewRow(source=str(row.get("source", "")), text=text[:TEXT_CHARACTERS_MAX])


def _conversation(messages: list[dict[str, str]]) -> str:
    return "\n\n".join(f"{message['role']}: {message['content']}" for message in messages)
