from __future__ import annotations

import json
import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import fetch, read_manifest
from bessemer.kernel.errors import FailedPrecondition, InvalidRequest
from data_svc.domain.quality_labels import QualityLabel, read_labels
from data_svc.domain.recipes import Recipe
from data_svc.worker import classifier, minhash
from data_svc.worker.curate import curate
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.data_svc.conftest import prose

RECIPE = Recipe(sequence_length=64, heldout_fraction=0.2)
DULL = ("quarter", "synergy", "stakeholder", "pipeline", "alignment", "deliverable", "offsite", "agenda")


def dull(seed: int) -> str:
    chance = random.Random(seed)
    return " ".join(f"{chance.choice(DULL)} {chance.choice(DULL)}{chance.randrange(50)}." for _ in range(80))


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Fifty documents to accept, `good/`, and fifty to reject, `dull/`."""
    for name, make in (("good", prose), ("dull", dull)):
        (tmp_path / "mixed" / name).mkdir(parents=True)
        for number in range(50):
            (tmp_path / "mixed" / name / f"{number:02d}.txt").write_text(make(number))
    return tmp_path / "mixed"


def labels_of(path: Path, num: int = 20) -> Path:
    lines = [{"source": f"good/{n:02d}.txt", "accept": True} for n in range(num)]
    lines += [{"source": f"dull/{n:02d}.txt", "accept": False} for n in range(num - 1)]
    lines.append({"text": dull(num - 1), "accept": False})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def features_in_python(hashes: list[int]) -> set[int]:
    mask = (1 << 64) - 1

    def mixed(value: int) -> int:
        value ^= value >> 32
        value = value * 0xD6E8FEB86659FD93 & mask
        return (value ^ value >> 29) >> 46

    pairs = pairwise(hashes)
    return {mixed(word) for word in hashes} | {mixed(a * 0x9E3779B97F4A7C15 + b & mask) for a, b in pairs}


@given(st.lists(st.text(alphabet="ab c", min_size=1, max_size=40), min_size=1, max_size=4))
@settings(max_examples=50, deadline=None)
def test_features_are_the_words_and_pairs_of_the_plain_definition(texts: list[str]) -> None:
    buckets, bounds = classifier.features([text.encode() for text in texts])
    for number, text in enumerate(texts):
        data = np.frombuffer(text.encode(), np.uint8)
        hashes, _ = minhash.words(data, np.array([0, len(data)]), minhash.fold_table())
        mine = buckets[bounds[number] : bounds[number + 1]].tolist()
        assert len(mine) == len(set(mine))
        assert set(mine) == features_in_python(hashes.tolist())


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.3, 0.4]), st.booleans()), min_size=1, max_size=20))
def test_area_under_curve_is_the_share_of_pairs_in_order(pairs: list[tuple[float, bool]]) -> None:
    scores, accepted = (np.array(column) for column in zip(*pairs, strict=True))
    won = [(a > b) + (a == b) / 2 for a, x in pairs for b, y in pairs if x and not y]
    assert classifier.area_under_curve(scores, accepted) == pytest.approx(sum(won) / max(len(won), 1))


def test_classifier_learns_a_pattern_and_finds_none_in_chance() -> None:
    texts = [make(number).encode() for number in range(30) for make in (prose, dull)]
    learnt, accepted = classifier.features(texts), np.arange(60) % 2 == 0
    assert classifier.cross_validate(*learnt, accepted).auc == 1
    assert classifier.fit(*learnt, accepted).tobytes() == classifier.fit(*learnt, accepted).tobytes()
    drawn = np.random.default_rng(1).random(200) < 0.5
    assert (
        0.3 < classifier.cross_validate(*classifier.features([prose(n).encode() for n in range(200)]), drawn).auc < 0.7
    )


def test_version_with_labels_scores_all_documents_and_drops_none(
    mixed: Path, tokenizer_path: Path, blobs: Blobs, tmp_path: Path
) -> None:
    result = curate([mixed], RECIPE, tokenizer_path, blobs, labels=labels_of(tmp_path / "labels.jsonl"))
    manifest = read_manifest(blobs, result.manifest)
    folder = fetch(blobs, manifest, tmp_path / "version")
    assert [(count.reason, count.documents) for count in result.reasons] == [("kept", 100)]
    facts = manifest.facts["classifier"]
    assert (facts["accepted"], facts["rejected"], facts["auc"], facts["accuracy"]) == (20, 20, 1, 1)
    for record in rows(folder / "documents.jsonl"):
        assert (record["accept_probability"] > 0.5) == record["source"].startswith("good/")
    histograms = {shown["measure"]: shown for shown in json.loads((folder / "profile.json").read_text())["histograms"]}
    assert sum(histograms["accept_probability"]["counts"]) == 100
    assert "Least likely" in (folder / "report.html").read_text()


def test_version_with_a_threshold_keeps_what_is_likely_and_what_a_person_accepted(
    mixed: Path, tokenizer_path: Path, blobs: Blobs, tmp_path: Path
) -> None:
    labels = labels_of(tmp_path / "labels.jsonl")
    with labels.open("a") as file:
        file.write(json.dumps({"source": "dull/40.txt", "accept": True}) + "\n")
    recipe = replace(RECIPE, classifier_threshold=0.5)
    results = [curate([mixed], recipe, tokenizer_path, blobs, labels=labels, workers=n) for n in (1, 2)]
    assert results[0].manifest == results[1].manifest
    folder = fetch(blobs, read_manifest(blobs, results[0].manifest), tmp_path / "version")
    kept = {record["source"] for record in rows(folder / "documents.jsonl")}
    assert kept == {f"good/{n:02d}.txt" for n in range(50)} | {"dull/40.txt"}
    rejected = rows(folder / "rejections.jsonl")
    assert {record["reason"] for record in rejected} == {"REJECTED_BY_CLASSIFIER"}
    assert "a person rejected it" in {record["detail"] for record in rejected}


def test_labels_that_are_too_few_or_malformed_are_refused(
    mixed: Path, tokenizer_path: Path, blobs: Blobs, tmp_path: Path
) -> None:
    few = labels_of(tmp_path / "few.jsonl", 19)
    with pytest.raises(InvalidRequest, match="20 accepted and 20 rejected documents; the labels name 19 and 19"):
        curate([mixed], RECIPE, tokenizer_path, blobs, labels=few)
    assert read_labels([b'{"id": "a", "accept": true}\n', b"\n"]) == [QualityLabel("id", "a", accept=True)]
    for line in (
        b"[]",
        b"{",
        b'{"id": "a"}',
        b'{"id": "a", "text": "b", "accept": true}',
        b'{"id": 3, "accept": true}',
    ):
        with pytest.raises(InvalidRequest, match="line 2 of the labels"):
            read_labels([b"", line])
    with pytest.raises(InvalidRequest, match="line 2 of the labels contradicts"):
        read_labels([b'{"id": "a", "accept": true}', b'{"id": "a", "accept": false}'])


def test_sample_is_drawn_by_content_and_a_dry_run_stores_its_report_alone(
    mixed: Path, tokenizer_path: Path, blobs: Blobs, tmp_path: Path
) -> None:
    recipe = replace(RECIPE, sample_fraction=0.3)
    (mixed / "rows.jsonl").write_text("".join(json.dumps({"text": prose(1000 + n)}) + "\n" for n in range(200)))
    counts = []
    for paths in ([mixed], sorted(mixed.rglob("*.*"), reverse=True)):
        result = curate(paths, recipe, tokenizer_path, blobs, dry_run=True)
        assert not result.HasField("manifest")
        assert b"of a sample: 0.3" in blobs.get_bytes(result.report)
        counts.append((result.reasons[0].documents, result.reasons[0].bytes, result.splits[0].tokens))
    assert counts[0] == counts[1]
    assert 60 < counts[0][0] < 120
    stored = [path for path in (tmp_path / "objects").rglob("*") if path.is_file() and "/work/" not in path.as_posix()]
    assert len({path.read_bytes()[:9] for path in stored}) == 1
    whole = curate([mixed], replace(RECIPE, sample_fraction=1), tokenizer_path, blobs, dry_run=True)
    assert whole.reasons[0].documents == 300
    with pytest.raises(FailedPrecondition, match="no document could be kept"):
        curate([mixed / "good" / "00.txt"], replace(recipe, sample_fraction=0.0001), tokenizer_path, blobs)
