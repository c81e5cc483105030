"""What owners state about their sources: it reaches every document, and nothing is used against it."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from bessemer.api.data.v1 import assessment_pb2
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import fetch, read_manifest
from bessemer.kernel.errors import FailedPrecondition, InvalidRequest
from data_svc.domain.recipes import Recipe
from data_svc.domain.terms import UNSTATED, Terms, check_dates, check_use, stated
from data_svc.worker.assess import assess_version
from data_svc.worker.curate import curate
from data_svc.worker.executor import Executor
from data_svc.worker.export import write_parquet
from data_svc.worker.ingest import ingest
from data_svc.worker.partitions import Upload
from data_svc.worker.rejections import Rejections
from data_svc.worker.work import Work

from .conftest import prose

RECIPE = Recipe(sequence_length=64, heldout_fraction=0.2)
OPEN = Terms("CC-BY-4.0", "internal-training", "2027-12-31")
TODAY = date(2026, 3, 1)


def records(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_terms_of_an_upload_reach_documents_profile_facts_report_and_export(
    documents: Path, tokenizer_path: Path, blobs: Blobs, tmp_path: Path
) -> None:
    plain = curate([documents], RECIPE, tokenizer_path, blobs)
    made = curate([documents], RECIPE, tokenizer_path, blobs, terms=OPEN)
    assert (plain.partitions, plain.partitions_reused) == (1, 0)
    assert (made.partitions, made.partitions_reused) == (1, 1), "what was read does not depend on terms"
    manifest = read_manifest(blobs, made.manifest)
    folder = fetch(blobs, manifest, tmp_path / "version")
    found = records(folder / "documents.jsonl")
    assert all({name: record[name] for name in OPEN.given()} == OPEN.given() for record in found)
    categories = json.loads((folder / "profile.json").read_text())["categories"]
    assert categories["license/CC-BY-4.0"] == categories["retain_until/2027-12-31"] == len(found) == 40
    assert manifest.facts["terms"][0] == {"source": "00.md", **OPEN.given()}
    assert "CC-BY-4.0" in (folder / "report.html").read_text()
    task = assessment_pb2.AssessDatasetTask(dataset_version="projects/p/datasets/d/versions/v1")
    assert "internal-training" in assess_version(folder, manifest, task)[1]
    [_, *files] = write_parquet(folder, manifest, tmp_path / "parquet")
    assert {(row["license"], row["retain_until"]) for file in files for row in pq.read_table(file).to_pylist()} == {
        ("CC-BY-4.0", "2027-12-31")
    }
    before = fetch(blobs, read_manifest(blobs, plain.manifest), tmp_path / "plain")
    assert "license" not in (before / "documents.jsonl").read_text() + (before / "profile.json").read_text()


def test_documents_of_several_uploads_keep_their_own_terms(tmp_path: Path, blobs: Blobs) -> None:
    each = [OPEN, UNSTATED, Terms("MIT"), OPEN]
    uploads = []
    for number, terms in enumerate(each):
        file = tmp_path / f"{number}.jsonl"
        rows = [{"text": prose(10 * number + row)} for row in range(number + 1)]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        uploads.append(Upload(file.name, file, terms=terms))
    (tmp_path / "scratch").mkdir()
    with Executor(Work(blobs.objects, "p"), tmp_path / "scratch") as executor:
        found = ingest(uploads, RECIPE, executor, Rejections(), scratch=tmp_path / "scratch", tick=lambda *_: None)
    got = Counter((r["source"][0], r["license"]) for r in found.documents.records(("source", "license")))
    assert got == {("0", "CC-BY-4.0"): 1, ("1", ""): 2, ("2", "MIT"): 3, ("3", "CC-BY-4.0"): 4}


def test_rows_made_of_a_version_carry_the_terms_of_its_documents(
    tokenizer_path: Path, blobs: Blobs, tmp_path: Path
) -> None:
    folder = tmp_path / "facts"
    folder.mkdir()
    for number in range(20):
        text = f"Metadata-Version: 2.4\nName: tool-{number}\nVersion: {number}.1\nLicense: MIT\n\n{prose(number)}\n"
        (folder / f"{number}.txt").write_text(text)
    texts = curate([folder], RECIPE, tokenizer_path, blobs, terms=OPEN)
    version = fetch(blobs, read_manifest(blobs, texts.manifest), tmp_path / "texts")
    rows = curate([], Recipe(kind="CHAT", heldout_fraction=0.2), None, blobs, texts=version)
    made = fetch(blobs, read_manifest(blobs, rows.manifest), tmp_path / "rows")
    listed = records(made / "documents.jsonl")
    assert listed
    assert all(record["consent"] == "internal-training" for record in listed)


def test_use_is_refused_without_consent_and_after_the_last_day() -> None:
    for terms in (UNSTATED, OPEN, Terms(retain_until=TODAY.isoformat())):
        check_use(terms, "uploads/1", "a.tar", TODAY)
    over = Terms(retain_until=(TODAY - timedelta(days=1)).isoformat())
    for terms, reason in ((over, "RETENTION_EXPIRED"), (Terms(consent="none"), "CONSENT_MISSING")):
        with pytest.raises(FailedPrecondition, match=r"a\.tar") as caught:
            check_use(terms, "uploads/1", "a.tar", TODAY)
        assert caught.value.reason == reason
    with pytest.raises(InvalidRequest, match="2026-02-30"):
        check_dates(Terms(retain_until="2026-02-30"))
    assert stated([("b", UNSTATED), ("a", OPEN), ("a", OPEN)]) == [{"source": "a", **OPEN.given()}]
