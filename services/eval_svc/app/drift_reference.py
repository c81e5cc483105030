"""What a model was trained on as the reference of a monitor: whether users ask what it was made for."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Iterator, Mapping
from typing import Any

from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.lexical import sketch
from bessemer.artifacts.manifest import read_manifest

from eval_svc.domain.drift.features import Row

__all__ = ["reference_rows"]


def reference_rows(blobs: Blobs, manifest: ArtifactRef, *, num_max: int) -> list[Row]:
    """Return a sample of a version's training records as requests: what a user said last, or the text of a document.

    Which records are taken depends on their own digests alone, so a monitor made twice has the same reference. Only
    the buckets of words are kept.
    """
    found: dict[str, Row] = {}
    for identifier, text in heapq.nsmallest(num_max, _records(blobs, manifest)):
        if identifier not in found and (buckets := sketch(text)):
            found[identifier] = Row(id=identifier, time_s=0.0, buckets=buckets)
    return list(found.values())


def _records(blobs: Blobs, manifest: ArtifactRef) -> Iterator[tuple[str, str]]:
    """Yield digest and text of every training record, one part of the version at a time in memory."""
    for entry in read_manifest(blobs, manifest).below("train/"):
        if entry.path.endswith(".jsonl"):
            for line in blobs.get_bytes(entry.ref).splitlines():
                text = _asked(json.loads(line))
                yield hashlib.sha256(text.encode()).hexdigest()[:32], text


def _asked(record: Mapping[str, Any]) -> str:
    """Return what a record asks: the newest turn of a user, a prompt, or else its text."""
    for key in ("messages", "prompt"):
        turns = record.get(key)
        if isinstance(turns, str):
            return turns
        said = [turn.get("content") for turn in turns or () if turn.get("role") == "user"]
        if said and isinstance(said[-1], str):
            return said[-1]
    text = record.get("text")
    return text if isinstance(text, str) else ""
