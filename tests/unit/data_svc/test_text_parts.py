"""Texts in parts: named by their first document, bounded by content alone, and read as one."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from bessemer.api.data.v1.dataset_job_pb2 import ErasureReceipt
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import Manifest, fetch, read_manifest
from bessemer.artifacts.texts import first_number, is_text_part, part_of, part_path, read_texts, text_parts
from bessemer.kernel.errors import DataLoss
from data_svc.domain.erasure import selector_of_task
from data_svc.domain.recipes import Recipe
from data_svc.worker import texts as writing
from data_svc.worker.curate import curate
from data_svc.worker.erase import erase_documents

from tests.unit.data_svc.conftest import prose

RECIPE = Recipe(sequence_length=64, heldout_fraction=0.2)
PART_BYTES = 6000


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "TEXT_PART_BYTES", PART_BYTES)


@pytest.fixture
def made(documents: Path, tokenizer_path: Path, blobs: Blobs) -> Manifest:
    return read_manifest(blobs, curate([documents], RECIPE, tokenizer_path, blobs).manifest)


def paths(manifest: Manifest, split: str) -> list[str]:
    return [entry.path for entry in text_parts(manifest, split)]


def test_parts_hold_every_document_once_from_the_number_in_their_name_on(made, blobs, tmp_path):
    folder = fetch(blobs, made, tmp_path / "version")
    records = [json.loads(line) for line in (folder / "documents.jsonl").read_text().splitlines()]
    for split in ("train", "heldout"):
        listed = [record for record in records if record["split"] == split]
        assert [text["id"] for text in read_texts(folder, split)] == [record["id"] for record in listed]
        found = paths(made, split)
        assert len(found) > 1
        assert all(entry.size_bytes <= PART_BYTES for entry in text_parts(made, split))
        assert first_number(found[0]) == listed[0]["number"]
        for record in listed:
            part = (folder / part_of(found, record["number"])).read_bytes()
            assert record["id"].encode() in part
        with pytest.raises(DataLoss):
            part_of(found, -1)


def test_versions_share_all_parts_but_those_near_a_new_document(made, documents, tokenizer_path, blobs):
    (documents / "000-new.txt").write_text(prose(4321))
    after = read_manifest(blobs, curate([documents], RECIPE, tokenizer_path, blobs).manifest)
    before, now = ({entry.sha256 for s in ("train", "heldout") for entry in text_parts(m, s)} for m in (made, after))
    assert len(now) > 6
    assert len(now - before) <= 3


def test_erasure_rewrites_only_the_part_that_held_the_document_and_drops_one_that_held_no_other(
    made, documents, tokenizer_path, blobs, tmp_path
):
    manifest = curate([documents], RECIPE, tokenizer_path, blobs).manifest
    folder = fetch(blobs, made, tmp_path / "version")
    first, second = paths(made, "train")[:2]
    end = first_number(second)
    records = [json.loads(line) for line in (folder / "documents.jsonl").read_text().splitlines()]
    inside = [record for record in records if record["split"] == "train" and record["number"] < end]
    assert len(inside) > 1
    for gone, left in ((inside[:1], True), (inside, False)):
        receipt = ErasureReceipt()
        work = tmp_path / f"work-{len(gone)}"
        work.mkdir()
        selector = selector_of_task([], [record["id"] for record in gone], "")
        sealed = erase_documents(blobs, manifest, selector, work, receipt)
        assert [file.path for file in receipt.files if is_text_part(file.path)] == [first]
        kept = paths(read_manifest(blobs, sealed.manifest), "train")
        assert kept == paths(made, "train")[0 if left else 1 :]
        after = fetch(blobs, read_manifest(blobs, sealed.manifest), tmp_path / f"after-{len(gone)}")
        expected = [text for text in read_texts(folder, "train") if text["id"] not in {r["id"] for r in gone}]
        assert [*read_texts(after, "train")] == expected


def test_paths_of_parts_are_in_order_of_their_documents():
    numbers = [0, 9, 10, 4_000_000_000]
    assert all(one < other for one, other in pairwise(part_path("train", number) for number in numbers))
    assert [first_number(part_path("train", number)) for number in numbers] == numbers
    for other in ("train/rows.jsonl", "train/texts.jsonl", "documents.jsonl", "train/texts/1.jsonl"):
        assert not is_text_part(other)
        with pytest.raises(ValueError, match="no part"):
            first_number(other)
