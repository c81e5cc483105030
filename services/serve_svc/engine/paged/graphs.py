"""Graphs of served models on disk: made once, written whole or not at all, verified at every start."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import openvino as ov
from bessemer.modeling.openvino_graph import build_graph

__all__ = ["Graph", "open_graph"]

_FORM = 1  # raise it when `build_graph` makes other graphs of the same weights
_FILES = ("graph.xml", "graph.bin")


class Graph:
    """A folder with a graph, and with notes of what was found out about it on this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self) -> ov.Model:
        """Return the graph; its weights stay in the file until they are used."""
        return ov.Core().read_model(self._folder / _FILES[0])

    def has_note(self, key: str) -> bool:
        """Say whether something was noted."""
        return (self._folder / f"{key}.note").exists()

    def note(self, key: str) -> None:
        """Note something for later starts."""
        (self._folder / f"{key}.note").touch()


def open_graph(model: Path, weights: str) -> Graph:
    """Return the graph of a model folder, made now unless it lies whole beside the folder.

    Raises: as `build_graph`.
    """
    folder = model.parent / "openvino" / model.name / weights
    facts = {"form": _FORM, "openvino": ov.__version__, "source": _fingerprint(model)}
    if not _is_whole(folder, facts):
        _make(model, folder, weights, facts)
    return Graph(folder)


def _make(model: Path, folder: Path, weights: str, facts: dict[str, Any]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{weights}-", dir=folder.parent))
    try:
        ov.save_model(build_graph(model, weights=weights, gathers=True), fresh / _FILES[0], compress_to_fp16=False)
        facts = {**facts, "sha256": {name: _sha256(fresh / name) for name in _FILES}}
        (fresh / "facts.json").write_text(json.dumps(facts, indent=2))
        for file in fresh.iterdir():
            _sync(file)
        if folder.exists():
            shutil.rmtree(folder)
        fresh.rename(folder)
        _sync(folder.parent)
    except OSError:
        if not _is_whole(folder, facts):  # another engine of the same model may have been quicker
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _is_whole(folder: Path, facts: dict[str, Any]) -> bool:
    try:
        found = json.loads((folder / "facts.json").read_text())
        sums = found.pop("sha256")
        expected = {key: value for key, value in facts.items() if key != "sha256"}
        return bool(found == expected and all(_sha256(folder / name) == sums[name] for name in _FILES))
    except (OSError, ValueError, KeyError, AttributeError):
        return False


def _fingerprint(model: Path) -> list[list[Any]]:
    """Return what changes when a folder is written anew; its contents were verified when they were fetched."""
    files = sorted([*model.glob("*.safetensors"), model / "config.json"])
    return [[file.name, stat.st_size, stat.st_mtime_ns] for file in files for stat in (file.stat(),)]


def _sha256(file: Path) -> str:
    with file.open("rb") as reader:
        return hashlib.file_digest(reader, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
