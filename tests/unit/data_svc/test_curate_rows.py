from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from bessemer.api.data.v1.dataset_service_pb2 import DatasetProfile
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import fetch, read_manifest
from bessemer.kernel.errors import FailedPrecondition
from data_svc.domain.recipes import Recipe
from data_svc.worker.curate import curate
from google.protobuf import json_format

from tests.unit.data_svc.conftest import metadata, prose

CHAT = Recipe(kind="CHAT", heldout_fraction=0.2, rows_max=100)
PAIRS = replace(CHAT, kind="PREFERENCE")


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    folder = tmp_path / "packages"
    for number in range(40):
        (folder / f"p{number}").mkdir(parents=True)
        (folder / f"p{number}" / "METADATA").write_text(metadata(number))
    return folder


@pytest.fixture
def texts(packages: Path, tokenizer_path: Path, blobs: Blobs, tmp_path: Path) -> Path:
    result = curate([packages], Recipe(sequence_length=64, heldout_fraction=0.2), tokenizer_path, blobs)
    return fetch(blobs, read_manifest(blobs, result.manifest), tmp_path / "texts")


def test_chat_version_of_a_text_version_asks_only_within_splits(texts: Path, blobs: Blobs, tmp_path: Path) -> None:
    result = curate([], CHAT, None, blobs, texts=texts)
    manifest = read_manifest(blobs, result.manifest)
    folder = fetch(blobs, manifest, tmp_path / "chat")
    assert manifest.facts["kind"] == "CHAT"
    split_of = {record["id"]: record["split"] for record in rows(texts / "documents.jsonl")}
    forms = set()
    for split in ("train", "heldout"):
        for row in rows(folder / split / "rows.jsonl"):
            user, assistant = row["messages"]
            assert split_of[row["document"]] == split
            assert (user["role"], assistant["role"]) == ("user", "assistant")
            assert row["form"] == "closed-book" or assistant["content"] in user["content"]
            assert len(user["content"]) < 900
            forms.add((split, row["form"]))
    assert forms == {("train", "open-book"), ("train", "closed-book"), ("heldout", "open-book")}
    assert {split.split: split.rows for split in result.splits}["train"] == 200
    json_format.Parse((folder / "profile.json").read_text(), DatasetProfile())
    assert curate([], CHAT, None, blobs, texts=texts).manifest == result.manifest


def test_chat_version_holds_questions_for_an_evaluation(texts: Path, blobs: Blobs, tmp_path: Path) -> None:
    result = curate([], CHAT, None, blobs, texts=texts)
    folder = fetch(blobs, read_manifest(blobs, result.manifest), tmp_path / "chat")
    cases = rows(folder / "heldout" / "questions.jsonl")
    heldout = {record["id"] for record in rows(texts / "documents.jsonl") if record["split"] == "heldout"}
    assert len(cases) > 10
    assert {case["cluster"] for case in cases} <= heldout
    assert len({case["id"] for case in cases}) == len(cases)
    for case in cases:
        assert 0 < len(case["target"]) <= 60
        assert case["prompt"][-1]["role"] == "user"
        assert case["target"] in case["prompt"][-1]["content"]
        assert case["target"] in case.get("choices", [case["target"]])
        assert set(case) <= {"id", "prompt", "target", "choices", "cluster", "attribute"}


def test_preference_version_sets_right_against_wrong(texts: Path, blobs: Blobs, tmp_path: Path) -> None:
    result = curate([], PAIRS, None, blobs, texts=texts)
    folder = fetch(blobs, read_manifest(blobs, result.manifest), tmp_path / "pairs")
    found = rows(folder / "train" / "rows.jsonl")
    assert all(row["chosen"] != row["rejected"] and row["prompt"] for row in found)
    short = sum(len(row["rejected"]) < 60 for row in found)
    assert 0.4 < short / len(found) < 0.95
    assert not (folder / "heldout" / "questions.jsonl").exists()


def chat_line(question: str, answer: str) -> str:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": messages, "note": "dropped"})


def test_chat_version_of_uploaded_rows_checks_each(tmp_path: Path, blobs: Blobs) -> None:
    lines = [chat_line(f"question {n}", f"answer {n}") for n in range(50)]
    lines += [chat_line("question 0", "another answer"), lines[0], "junk", '{"messages": "no"}']
    lines.append(json.dumps({"prompt": "p", "chosen": "good", "rejected": "bad"}))
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    result = curate([tmp_path / "rows.jsonl"], CHAT, None, blobs)
    assert {count.reason: count.documents for count in result.reasons} == {
        "kept": 52,
        "EXACT_DUPLICATE": 1,
        "ROW_INVALID": 2,
    }
    folder = fetch(blobs, read_manifest(blobs, result.manifest), tmp_path / "chat")
    split_of: dict[str, set[str]] = {}
    for split in ("train", "heldout"):
        for row in rows(folder / split / "rows.jsonl"):
            assert set(row["messages"][0]) == {"role", "content"}
            split_of.setdefault(row["messages"][0]["content"], set()).add(split)
    assert all(len(splits) == 1 for splits in split_of.values())
    assert len(split_of) == 51


def test_preference_version_of_conversations_is_empty_and_says_why(tmp_path: Path, blobs: Blobs) -> None:
    (tmp_path / "rows.jsonl").write_text(chat_line("q", "a"))
    with pytest.raises(FailedPrecondition) as caught:
        curate([tmp_path / "rows.jsonl"], PAIRS, None, blobs)
    assert caught.value.reason == "DATASET_EMPTY"
    assert "ROW_INVALID" in caught.value.message


def test_chat_version_of_uploaded_documents_derives_questions(packages: Path, tmp_path: Path, blobs: Blobs) -> None:
    (packages / "prose.txt").write_text(prose(5000).lower())
    result = curate([packages], CHAT, None, blobs)
    assert {split.split: split.documents > 0 for split in result.splits} == {"train": True, "heldout": True}
    assert sum(split.documents for split in result.splits) >= 40
