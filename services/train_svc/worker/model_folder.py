"""Model folders as immutable versions: what belongs in one, and how it is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import JSON, FileEntry, Manifest, write_manifest
from bessemer.modeling.adapter_files import ADAPTER_FILES
from bessemer.modeling.language_model import LanguageConfig, read_config
from bessemer.modeling.load import REWARD_HEAD, read_json

__all__ = ["ADAPTER_FOLDER", "REQUIRED_FILES", "TOKENIZER_FILES", "StoredModel", "store_model"]

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json")
REQUIRED_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
ADAPTER_FOLDER = "adapter"  # what was merged into the weights, in PEFT format
_MEDIA_TYPES = {".json": "application/json", ".safetensors": "application/octet-stream", ".jinja": "text/plain"}


@dataclass(frozen=True)
class StoredModel:
    """A stored version; `artifacts` are all its blobs, the manifest first."""

    manifest: ArtifactRef
    tokenizer: ArtifactRef
    config: LanguageConfig
    artifacts: tuple[ArtifactRef, ...]


def store_model(blobs: Blobs, folder: Path, facts: Mapping[str, JSON]) -> StoredModel:
    """Store the files of a model folder, adapters beside its weights included, and last the manifest of the version.

    A reward model has the fact `head`.

    Raises: LimitReached STORAGE_FULL.
    """
    optional = (*TOKENIZER_FILES[2:], REWARD_HEAD, *(f"{ADAPTER_FOLDER}/{name}" for name in ADAPTER_FILES))
    names = [*REQUIRED_FILES, *(name for name in optional if (folder / name).is_file())]
    refs = {name: blobs.put_file(folder / name, _MEDIA_TYPES[Path(name).suffix]) for name in names}
    config = read_config(read_json(folder / "config.json"))
    stated: dict[str, JSON] = {
        "architecture": config.model_type,
        "parameters": config.num_parameters,
        "context_length": config.context_length,
        **({"head": "reward"} if REWARD_HEAD in refs else {}),
        **facts,
    }
    entries = tuple(FileEntry.of(name, ref) for name, ref in refs.items())
    manifest = write_manifest(blobs, Manifest("model", entries, stated))
    return StoredModel(manifest, refs["tokenizer.json"], config, (manifest, *refs.values()))
