from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import FileEntry, Manifest, canonical_json, fetch, read_manifest, write_manifest
from bessemer.artifacts.shard import BOUND, open_split, split_shards, split_tokens, write_shard
from bessemer.kernel.errors import DataLoss, FailedPrecondition, NotFound


class Memory(dict):
    def put_bytes(self, key: str, data: bytes) -> None:
        self[key] = data

    def put_file(self, key: str, path: Path) -> None:
        self[key] = path.read_bytes()

    def get_bytes(self, key: str) -> bytes:
        if key not in self:
            raise NotFound(key)
        return self[key]

    def get_file(self, key: str, path: Path) -> None:
        path.write_bytes(self.get_bytes(key))


def test_blobs_put_twice_same_reference() -> None:
    blobs = Blobs(Memory(), "p")
    first = blobs.put_bytes(b"x", "text/plain")
    assert first == blobs.put_bytes(b"x", "text/plain")
    assert first.key == f"projects/p/blobs/sha256/{hashlib.sha256(b'x').hexdigest()}"
    assert blobs.get_bytes(first) == b"x"


def test_blobs_damaged_bytes_raise_data_loss_and_leave_no_file(tmp_path: Path) -> None:
    objects = Memory()
    blobs = Blobs(objects, "p")
    ref = blobs.put_bytes(b"right", "text/plain")
    objects[ref.key] = b"wrong"
    with pytest.raises(DataLoss) as caught:
        blobs.get_bytes(ref)
    assert caught.value.reason == "CHECKSUM_MISMATCH"
    with pytest.raises(DataLoss):
        blobs.get_file(ref, tmp_path / "f")
    assert list(tmp_path.iterdir()) == []


def test_manifest_round_trip_is_canonical_and_fetches(tmp_path: Path) -> None:
    blobs = Blobs(Memory(), "p")
    files = [FileEntry.of(path, blobs.put_bytes(path.encode(), "text/plain")) for path in ("b/c", "a")]
    ref = write_manifest(blobs, Manifest("dataset", tuple(files), {"z": 1, "ä": [0.5]}))
    assert ref == write_manifest(blobs, Manifest("dataset", tuple(reversed(files)), {"ä": [0.5], "z": 1}))
    back = read_manifest(blobs, ref)
    assert [entry.path for entry in back.files] == ["a", "b/c"]
    assert (fetch(blobs, back, tmp_path) / "b/c").read_text() == "b/c"
    assert canonical_json({"b": 1, "a": "é"}) == '{"a":"é","b":1}\n'.encode()


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../b", "", "a\\b"])
def test_manifest_path_that_leaves_the_folder_is_refused(path: str) -> None:
    with pytest.raises(DataLoss):
        write_manifest(Blobs(Memory(), "p"), Manifest("dataset", (FileEntry(path, "k", "0", 0, ""),)))


def test_fetch_damaged_local_file_is_replaced(tmp_path: Path) -> None:
    blobs = Blobs(Memory(), "p")
    manifest = Manifest("model", (FileEntry.of("a", blobs.put_bytes(b"good", "text/plain")),))
    (tmp_path / "a").write_bytes(b"evil")
    assert (fetch(blobs, manifest, tmp_path) / "a").read_bytes() == b"good"


def test_open_split_of_two_shards_returns_rows_and_documents(tmp_path: Path) -> None:
    blobs = Blobs(Memory(), "p")
    bounds = np.array([(0, 0, 3, 7, 0), (0, 3, 1, 8, 0), (1, 0, 2, 9, 0)], BOUND)
    written = [
        *write_shard(tmp_path, "train", 0, [np.arange(8, dtype="<u2").reshape(2, 4)], bounds),
        *write_shard(tmp_path, "train", 1, [np.arange(8, 12, dtype="<u2").reshape(1, 4)], bounds[:1]),
    ]
    files = tuple(
        FileEntry.of(str(p.relative_to(tmp_path)), blobs.put_file(p, "application/octet-stream")) for p in written
    )
    facts = {"kind": "TEXT", "sequence_length": 4, "token_bytes": 2}
    split = open_split(tmp_path, Manifest("dataset", tuple(sorted(files, key=lambda f: f.path)), facts), "train")
    assert split.rows.shape == (3, 4)
    assert split.rows[2].tolist() == [8, 9, 10, 11]
    assert split.rows[[2, 0]].tolist() == [[8, 9, 10, 11], [0, 1, 2, 3]]
    assert split.row_documents(0) == [(0, 3, 7), (3, 1, 8)]
    assert split.row_documents(1) == [(0, 2, 9)]
    assert split.row_documents(-1) == [(0, 3, 7)]
    assert split.num_tokens == 9
    assert len(open_split(tmp_path, Manifest("dataset", (), facts), "heldout")) == 0
    with pytest.raises(FailedPrecondition):
        open_split(tmp_path, Manifest("dataset", (), {"kind": "CHAT"}), "train")


def test_split_of_a_manifest_that_does_not_fit_its_files_is_refused() -> None:
    def manifest(size_bytes: int, rows: int, *, bounds: bool = True) -> Manifest:
        names = ["train/00000.bin", *(["train/00000.bounds"] if bounds else [])]
        facts = {"kind": "TEXT", "sequence_length": 4, "token_bytes": 2}
        stated = {"splits": {"train": {"rows": rows, "tokens": 7}}}
        return Manifest("dataset", tuple(FileEntry(name, name, "0", size_bytes, "") for name in names), facts | stated)

    assert [shard.num_rows for shard in split_shards(manifest(16, 2), "train")] == [2]
    assert split_tokens(manifest(16, 2), "train") == 7
    assert split_tokens(manifest(16, 2), "heldout") == 0
    for damaged in (manifest(15, 2), manifest(16, 3), manifest(16, 2, bounds=False)):
        with pytest.raises(DataLoss):
            split_tokens(damaged, "train")
