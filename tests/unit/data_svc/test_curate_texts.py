from __future__ import annotations

import io
import json
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bessemer.api.data.v1.dataset_service_pb2 import DatasetProfile
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import fetch, read_manifest
from bessemer.artifacts.shard import open_split
from bessemer.artifacts.texts import read_texts
from bessemer.kernel.errors import FailedPrecondition, InvalidRequest
from data_svc.domain.recipes import Recipe
from data_svc.worker.curate import curate
from google.protobuf import json_format
from tokenizers import Tokenizer

from tests.unit.data_svc.conftest import prose

RECIPE = Recipe(sequence_length=64, heldout_fraction=0.2)


def reasons(result) -> dict[str, int]:
    return {count.reason: count.documents for count in result.reasons}


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_text_version_holds_every_token_of_every_kept_document(
    documents: Path, tokenizer_path: Path, blobs: Blobs, tmp_path: Path
) -> None:
    result = curate([documents], RECIPE, tokenizer_path, blobs)
    manifest = read_manifest(blobs, result.manifest)
    folder = fetch(blobs, manifest, tmp_path / "version")
    assert reasons(result) == {"kept": 40}
    assert manifest.facts["eos_token"] == "<|endoftext|>"
    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    listed = {record["number"]: record for record in rows(folder / "documents.jsonl")}
    for counts in result.splits:
        split = open_split(folder, manifest, counts.split)
        texts = {record["id"]: record["text"] for record in read_texts(folder, counts.split)}
        assert len(split) == counts.rows
        assert split.num_tokens == counts.tokens
        pieces: dict[int, list[tuple[int, list[int]]]] = {}
        for row in range(len(split)):
            bounds = np.fromfile(folder / f"{counts.split}/00000.bounds", "<u4").reshape(-1, 5)
            starts = {(int(b[1]), int(b[3])): int(b[4]) for b in bounds if b[0] == row}
            for offset, length, number in split.row_documents(row):
                ids = split.rows[row][offset : offset + length].tolist()
                pieces.setdefault(number, []).append((starts[offset, number], ids))
        assert {listed[number]["id"] for number in pieces} == set(texts)
        for number, parts in pieces.items():
            ids = [token for _, part in sorted(parts) for token in part]
            assert ids == [*tokenizer.encode(texts[listed[number]["id"]]).ids, 1]
    json_format.Parse((folder / "profile.json").read_text(), DatasetProfile())
    assert (folder / "report.html").read_text().startswith("<!doctype html>")


def test_text_version_of_the_same_uploads_is_the_same(
    documents: Path, tokenizer_path: Path, blobs: Blobs, tmp_path: Path
) -> None:
    first = curate([documents], RECIPE, tokenizer_path, blobs)
    files = sorted(documents.iterdir(), reverse=True)
    assert curate(files, RECIPE, tokenizer_path, blobs).manifest == first.manifest
    assert curate(files, replace(RECIPE, seed=1), tokenizer_path, blobs).manifest != first.manifest


def test_text_version_of_mixed_quality_counts_every_fate(
    documents: Path, tokenizer_path: Path, blobs: Blobs, tmp_path: Path
) -> None:
    text = prose(1000, 300)
    shutil.copy(documents / "00.md", documents / "copy.md")
    (documents / "near.txt").write_text(text)
    (documents / "near2.txt").write_text(text.upper() + "\n\nOne more line.")
    (documents / "short.txt").write_text("too short")
    (documents / "empty.txt").write_bytes(b"")
    (documents / "image.md").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(1000))
    (documents / "spam.txt").write_text("buy cheap pills now " * 300)
    (documents / "broken.txt").write_bytes(("жизнь стали и печи " * 40 + prose(2000)).encode() + b"\xff\xfe\xfd" * 50)
    (documents / "broken.pdf").write_bytes(b"%PDF-1.7 nothing")
    (documents / "rows.jsonl").write_text(json.dumps({"text": prose(3000)}) + "\nnot a row\n")
    (documents / "link.txt").symlink_to("/etc/passwd")
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        info = tarfile.TarInfo("../escape.txt")
        info.size = 4
        archive.addfile(info, io.BytesIO(b"evil"))
    (documents / "a.tar.gz").write_bytes(stream.getvalue())
    result = curate([documents], RECIPE, tokenizer_path, blobs)
    assert reasons(result) == {
        "kept": 42,
        "EXACT_DUPLICATE": 1,
        "NEAR_DUPLICATE": 1,
        "TOO_SHORT": 1,
        "EMPTY": 1,
        "BINARY": 1,
        "REPETITIVE": 1,
        "ENCODING_DAMAGED": 1,
        "PARSE_FAILED": 1,
        "ROW_INVALID": 1,
        "ARCHIVE_UNSAFE_PATH": 1,
    }
    folder = fetch(blobs, read_manifest(blobs, result.manifest), tmp_path / "version")
    rejected = {row["source"]: row for row in rows(folder / "rejections.jsonl")}
    assert rejected["near.txt"]["reason"] == "NEAR_DUPLICATE"
    assert rejected["rows.jsonl#row2"]["reason"] == "ROW_INVALID"
    assert rejected["copy.md"]["duplicate_of"]


def test_text_version_with_a_budget_keeps_whole_documents(
    documents: Path, tokenizer_path: Path, blobs: Blobs, tmp_path: Path
) -> None:
    result = curate([documents], replace(RECIPE, tokens_max=2000), tokenizer_path, blobs)
    assert all(0 < split.tokens <= 2000 for split in result.splits)
    assert reasons(result)["OVER_BUDGET"] > 0
    assert sum(split.documents for split in result.splits) == reasons(result)["kept"]


def test_text_version_families_stay_in_one_split(tmp_path: Path, tokenizer_path: Path, blobs: Blobs) -> None:
    folder = tmp_path / "versions"
    folder.mkdir()
    for number in range(30):
        paragraphs = prose(number, 500).split("\n\n")
        (folder / f"{number}-a.txt").write_text("\n\n".join(paragraphs))
        changed = [*paragraphs[: len(paragraphs) * 3 // 4], prose(9000 + number, 100)]
        (folder / f"{number}-b.txt").write_text("\n\n".join(changed))
    recipe = replace(RECIPE, heldout_fraction=0.5, near_duplicate_threshold=0.95)
    result = curate([folder], recipe, tokenizer_path, blobs)
    version = fetch(blobs, read_manifest(blobs, result.manifest), tmp_path / "out")
    splits: dict[str, set[str]] = {}
    for record in rows(version / "documents.jsonl"):
        splits.setdefault(record["source"].split("-")[0], set()).add(record["split"])
    assert reasons(result) == {"kept": 60}
    assert sum(len(found) > 1 for found in splits.values()) <= 1


def test_text_version_of_nothing_usable_says_why(tmp_path: Path, tokenizer_path: Path, blobs: Blobs) -> None:
    (tmp_path / "a.txt").write_text("short")
    with pytest.raises(FailedPrecondition) as caught:
        curate([tmp_path / "a.txt"], RECIPE, tokenizer_path, blobs)
    assert caught.value.reason == "DATASET_EMPTY"
    assert "TOO_SHORT" in caught.value.message


def test_text_version_keeps_what_breaks_web_rules_and_tells_of_it(
    tmp_path: Path, tokenizer_path: Path, blobs: Blobs
) -> None:
    folder = tmp_path / "sources"
    folder.mkdir()
    for number in range(4):
        table = "".join(f"{row} | {number} | {row * number}\n" for row in range(1000 * number, 1000 * number + 100))
        (folder / f"table{number}.txt").write_text(table)
    (folder / "article.md").write_text(prose(1, 600) + " That was the end of it.")
    kept = curate([folder], RECIPE, tokenizer_path, blobs)
    assert reasons(kept) == {"kept": 5}
    version = fetch(blobs, read_manifest(blobs, kept.manifest), tmp_path / "version")
    broken = {record["source"]: record["web_rules"] for record in rows(version / "documents.jsonl")}
    assert "gopher/letters" in broken["table1.txt"]
    assert broken["article.md"] == []
    assert json.loads((version / "profile.json").read_text())["categories"]["web_rule/any rule"] == 4
    report = (version / "report.html").read_text()
    assert "What a web corpus would drop" in report
    assert "letter_token_share 0 is below 0.8" in report
    web = curate([folder], replace(RECIPE, quality="WEB", heldout_fraction=0), tokenizer_path, blobs)
    assert reasons(web) == {"kept": 1, "LOW_QUALITY": 4}
    version = fetch(blobs, read_manifest(blobs, web.manifest), tmp_path / "web")
    dropped = rows(version / "rejections.jsonl")
    assert all(" is below " in row["detail"] or " is above " in row["detail"] for row in dropped)


def test_text_version_without_a_tokenizer_is_refused(tmp_path: Path, documents: Path, blobs: Blobs) -> None:
    with pytest.raises(InvalidRequest):
        curate([documents], RECIPE, None, blobs)
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(InvalidRequest):
        curate([documents], RECIPE, tmp_path / "bad.json", blobs)


def test_text_version_treats_spelled_out_special_tokens_as_text(
    documents: Path, tokenizer_path: Path, blobs: Blobs, tmp_path: Path
) -> None:
    (documents / "evil.txt").write_text(prose(777) + " <|endoftext|> <|im_end|> " + prose(778))
    result = curate([documents], RECIPE, tokenizer_path, blobs)
    manifest = read_manifest(blobs, result.manifest)
    folder = fetch(blobs, manifest, tmp_path / "version")
    ends = sum(int((open_split(folder, manifest, split.split).rows[:] == 1).sum()) for split in result.splits)
    assert ends == 41
