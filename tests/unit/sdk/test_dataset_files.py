"""Versions compared and taken away."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import FileEntry, Manifest, write_manifest
from bessemer.artifacts.texts import part_path
from bessemer.kernel.errors import AlreadyExists, DataLoss
from bessemer.sdk.dataset_files import compare_documents, export_version, read_documents
from bessemer.svckit.objects_files import FileObjects


class DirectDownloads:
    """A client whose downloads come straight from the store."""

    def __init__(self, objects: FileObjects) -> None:
        self.objects = objects

    def download(self, artifact, path):
        self.objects.get_file(artifact.key, path)
        return path


def record(id_: str, source: str, split: str = "train") -> dict[str, str]:
    return {"id": id_, "source": source, "split": split}


@pytest.fixture
def sealed(tmp_path):
    objects = FileObjects(tmp_path / "objects")
    blobs = Blobs(objects, "p")
    texts = b"".join(json.dumps({"id": i, "source": i, "text": "one two"}).encode() + b"\n" for i in "ab")
    files = {
        "documents.jsonl": json.dumps(record("a", "a.md")).encode() + b"\n",
        part_path("train", 0): texts,
        part_path("heldout", 2): texts[: len(texts) // 2],
        part_path("heldout", 3): texts[len(texts) // 2 :],
        "train/00000.bin": b"12",
    }
    entries = tuple(FileEntry.of(path, blobs.put_bytes(data, "application/jsonl")) for path, data in files.items())
    manifest = write_manifest(blobs, Manifest("dataset", entries, {"kind": "TEXT"}))
    version = SimpleNamespace(name="projects/p/datasets/d/versions/v1", manifest=manifest, sources=["projects/p/u"])
    return DirectDownloads(objects), version


def test_comparison_tells_added_removed_changed_and_moved():
    before = [record("1", "same"), record("2", "edited"), record("3", "gone"), record("4", "moved")]
    after = [record("1", "same"), record("5", "edited"), record("6", "new"), record("4", "moved", "heldout")]
    found = compare_documents(before, after)
    assert (found.added, found.removed, found.changed) == (["new"], ["gone"], ["edited"])
    assert (found.moved_split, found.num_unchanged) == (["moved"], 1)


def test_documents_are_read_from_the_sealed_files(sealed):
    assert read_documents(*sealed) == [record("a", "a.md")]


def test_export_is_a_folder_that_loaders_know(sealed, tmp_path):
    target = tmp_path / "out"
    assert export_version(*sealed, target) == {"train": 2, "test": 2}
    assert sorted(path.name for path in target.iterdir()) == ["README.md", "manifest.json", "test.jsonl", "train.jsonl"]
    assert "path: train.jsonl" in (target / "README.md").read_text()
    with pytest.raises(AlreadyExists):
        export_version(*sealed, target)


def test_export_of_damaged_bytes_leaves_nothing_behind(sealed, tmp_path):
    client, version = sealed
    damaged = tmp_path / "objects" / version.manifest.key
    damaged.chmod(0o644)
    damaged.write_bytes(b"{}")
    with pytest.raises(DataLoss):
        export_version(client, version, tmp_path / "out")
    assert not (tmp_path / "out").exists()
