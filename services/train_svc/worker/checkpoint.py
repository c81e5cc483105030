"""Committed points to resume from: files first, manifest last, two kept, every byte verified on the way back.

Files lie under `projects/<p>/checkpoints/<job>/<sha256>`: by digest, apart from other jobs', so that old ones can go.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.train.v1.training_job_pb2 import Checkpoint, TrainingState, TrainingUsage
from bessemer.artifacts.blobs import Blobs, sha256_of
from bessemer.artifacts.manifest import JSON, FileEntry, Manifest, canonical_json, fetch, read_manifest, write_manifest
from bessemer.kernel.errors import DataLoss, FailedPrecondition, LimitReached, NotFound
from bessemer.kernel.ids import id_of
from bessemer.svckit.objects import ObjectStore
from google.protobuf.json_format import MessageToDict, ParseDict
from safetensors.torch import load_file, save_file
from torch import Tensor

__all__ = ["Checkpoints", "Snapshot"]

_LOG = logging.getLogger(__name__)
_TENSOR_FILES = ("weights", "moments", "extra")


@dataclass(frozen=True)
class Snapshot:
    """All that training needs to go on; `facts` are the small things: counters of the guard, for example."""

    step: int
    position: int
    usage: TrainingUsage
    weights: Mapping[str, Tensor]
    moments: Mapping[str, Tensor]
    extra: Mapping[str, Tensor]
    facts: Mapping[str, Any]


class Checkpoints:
    """Saves and loads the snapshots of one job; `identity` tells its inputs apart from all others."""

    def __init__(
        self,
        objects: ObjectStore,
        blobs: Blobs,
        *,
        job: str,
        attempt: int,
        identity: str,
        folder: Path,
        writes: bool = True,
    ) -> None:
        self._objects = objects
        self._blobs = blobs
        self._job = job
        self._attempt = attempt
        self._identity = identity
        self._folder = folder
        self._writes = writes  # of several processes with the same state one does
        self._prefix = f"projects/{blobs.project}/checkpoints/{id_of(job)}/"
        self.state = TrainingState()

    def save(self, snapshot: Snapshot) -> TrainingState:
        """Commit a snapshot and return the state that names it; report that state before pruning.

        A process that does not write returns a state that nobody reads.

        Raises: LimitReached STORAGE_FULL.
        """
        if not self._writes:
            return self.state
        self._folder.mkdir(parents=True, exist_ok=True)
        facts: dict[str, JSON] = {
            "step": snapshot.step,
            "position": snapshot.position,
            "usage": MessageToDict(snapshot.usage),
            "facts": snapshot.facts,
        }
        (self._folder / "state.json").write_bytes(canonical_json(facts))
        for name in _TENSOR_FILES:
            _write(getattr(snapshot, name), self._folder / f"{name}.safetensors")
        entries = tuple(self._put(path) for path in sorted(self._folder.iterdir()))
        identity: dict[str, JSON] = {
            "identity": self._identity,
            "job": self._job,
            "attempt": self._attempt,
            "step": snapshot.step,
        }
        manifest = write_manifest(self._blobs, Manifest("checkpoint", entries, identity))
        name = f"{self._job}/checkpoints/step-{snapshot.step:06d}"
        state = TrainingState(
            checkpoint=Checkpoint(name=name, step=snapshot.step, manifest=manifest), usage=snapshot.usage
        )
        if self.state.HasField("checkpoint"):
            state.previous.CopyFrom(self.state.checkpoint)
        self.state = state
        return state

    def load(self, state: TrainingState) -> Snapshot | None:
        """Return the newest intact snapshot of a state; None if there is none.

        Raises: FailedPrecondition if it belongs to other inputs.
        """
        found = (("newest", state.checkpoint), ("previous", state.previous))
        for which, checkpoint in found:
            if not checkpoint.name:
                continue
            try:
                snapshot = self._read(checkpoint)
            except (DataLoss, NotFound) as error:
                _LOG.warning("the %s checkpoint %s is damaged, left out: %s", which, checkpoint.name, error)
                continue
            self.state = TrainingState(checkpoint=checkpoint, usage=snapshot.usage)
            if which == "newest" and state.HasField("previous"):
                self.state.previous.CopyFrom(state.previous)
            elif self._writes:  # damaged files stand where good ones would be written again
                self.prune()
            return snapshot
        return None

    def prune(self) -> None:
        """Delete all files of this job that neither the newest nor the previous checkpoint needs."""
        kept = set()
        for checkpoint in (self.state.checkpoint, self.state.previous):
            if checkpoint.name:
                kept |= {entry.key for entry in read_manifest(self._blobs, checkpoint.manifest).files}
        for key in list(self._objects.list(self._prefix)):
            if key not in kept:
                self._objects.delete(key)

    def _put(self, path: Path) -> FileEntry:
        sha256, size = sha256_of(path), path.stat().st_size
        self._objects.put_file(self._prefix + sha256, path)
        path.unlink()
        ref = ArtifactRef(
            key=self._prefix + sha256, sha256=sha256, size_bytes=size, media_type="application/octet-stream"
        )
        return FileEntry.of(path.name, ref)

    def _read(self, checkpoint: Checkpoint) -> Snapshot:
        manifest = read_manifest(self._blobs, checkpoint.manifest)
        if manifest.facts.get("identity") != self._identity:
            raise FailedPrecondition(
                f"{checkpoint.name} was made from another model, other data or another recipe; start a new job",
                resource=checkpoint.name,
            )
        folder = fetch(self._blobs, manifest, self._folder)
        try:
            state = json.loads((folder / "state.json").read_bytes())
            weights, moments, extra = (load_file(folder / f"{name}.safetensors") for name in _TENSOR_FILES)
        except (ValueError, safetensors.SafetensorError) as error:
            raise DataLoss(f"{checkpoint.name} cannot be read: {error}", resource=checkpoint.name) from error
        usage = ParseDict(state["usage"], TrainingUsage())
        return Snapshot(state["step"], state["position"], usage, weights, moments, extra, state["facts"])


def _write(tensors: Mapping[str, Tensor], path: Path) -> None:
    try:
        save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, path)
    except safetensors.SafetensorError as error:
        raise LimitReached(f"cannot write {path.name}: {error}; free some space", reason="STORAGE_FULL") from error
