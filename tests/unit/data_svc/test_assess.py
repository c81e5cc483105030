from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

import pytest
from bessemer.api.data.v1 import assessment_pb2 as pb
from bessemer.api.data.v1.dataset_pb2 import CurationRecipe, DatasetKind
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import Manifest, fetch, read_manifest
from bessemer.artifacts.texts import read_texts, text_files
from bessemer.svckit.objects_files import FileObjects
from data_svc.codec import curation_recipe
from data_svc.domain.recipes import recipe_of
from data_svc.worker.assess import assess_version
from data_svc.worker.curate import curate

from tests.unit.data_svc.conftest import prose

NAME = "projects/p/datasets/d/versions/v1"
BOILERPLATE = " ".join(f"clause{number}" for number in range(60))
KEY = "AKIAIOSFODNN7EXAMPLE"


@dataclass
class Version:
    """A sealed version's files, to be assessed."""

    folder: Path
    manifest: Manifest
    tokenizer: Path

    def assess(self, **task) -> pb.Assessment:
        return self.report(**task)[0]

    def report(self, **task) -> tuple[pb.Assessment, str]:
        return assess_version(
            self.folder, self.manifest, pb.AssessDatasetTask(dataset_version=NAME, **task), self.tokenizer
        )


@pytest.fixture
def make(tmp_path, tokenizer_path):
    """Curate texts by path into a version."""

    def run(texts: dict[str, str | bytes]) -> Version:
        folder = tmp_path / f"documents-{len(list(tmp_path.iterdir()))}"
        for path, text in texts.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(text if isinstance(text, bytes) else text.encode())
        blobs = Blobs(FileObjects(tmp_path / "objects"), "p")
        wanted = CurationRecipe(sequence_length=256, heldout_fraction=0.25)
        recipe = recipe_of(curation_recipe(wanted, DatasetKind.DATASET_KIND_TEXT))
        manifest = read_manifest(blobs, curate([folder], recipe, tokenizer_path, blobs).manifest)
        version = fetch(blobs, manifest, folder.with_suffix(".version"))
        return Version(version, manifest, tokenizer_path)

    return run


def good(number: int = 24) -> dict[str, str]:
    return {f"manuals/{n:02d}.txt": prose(n) for n in range(number)}


def measure(assessment: pb.Assessment, name: str) -> pb.Measure:
    return next(found for found in assessment.measures if found.name == name)


def source(assessment: pb.Assessment, name: str) -> pb.SourceAssessment:
    return next(found for found in assessment.sources if found.source == name)


def test_assessment_of_good_documents_finds_nothing_to_fix(make):
    found = make(good()).assess()
    assert found.tokens > 0
    assert found.unique_tokens == found.tokens
    assert found.unique_share == 1
    assert measure(found, "secrets").light == pb.LIGHT_GREEN
    assert source(found, "manuals").verdict == pb.SOURCE_VERDICT_USE
    assert [point.epochs for point in found.repetition] == [1, 2, 4, 8, 16]
    assert [found.advice[0].method, found.advice[0].light] == [pb.ADVICE_METHOD_COLLECT, pb.LIGHT_GREEN]
    assert len({measure.axis for measure in found.measures}) == 9


def test_assessment_is_the_same_when_it_is_made_again_and_needs_no_network(make):
    version = make(good())
    first, html = version.report(base_parameters=135_000_000)
    assert version.report(base_parameters=135_000_000) == (first, html)
    assert "d/v1" in html
    for outside in ("<script", " src=", "<link", "@import", "url("):
        assert outside not in html


def test_copies_lower_the_share_of_unique_tokens(make):
    copies = {f"copies/{n:02d}.txt": prose(n) + " " for n in range(24)}
    found = make(good() | copies).assess()
    assert 0.45 < found.unique_share < 0.55
    assert measure(found, "exact_copies").value == 0.5
    assert measure(found, "largest_cluster").value == 2
    assert source(found, "copies").verdict == pb.SOURCE_VERDICT_USE or source(found, "copies").kept_documents == 24


def test_boilerplate_counts_once_and_stands_in_both_splits(make):
    texts = {path: f"{BOILERPLATE}\n\n{text}" for path, text in good().items()}
    before, after = make(good()).assess(), make(texts).assess()
    assert measure(before, "phrase_share").value == 0
    assert measure(after, "phrase_share").value > 0.1
    assert measure(after, "run_share").value > 0.02
    assert measure(after, "phrase_share").worst[0].value > 0.1
    assert after.unique_tokens < 0.9 * after.tokens
    assert measure(after, "heldout_known_share").value > 0.1
    assert measure(before, "heldout_known_share").value == 0


def test_a_copy_in_the_held_out_half_is_a_leak(make):
    version = make(good())
    row = next(read_texts(version.folder, "train"))
    records = (version.folder / "documents.jsonl").read_text().splitlines()
    record = next(record for record in map(json.loads, records) if record["id"] == row["id"])
    for path, line in (
        (text_files(version.folder, "heldout")[-1], row | {"id": "planted", "source": "leak.txt"}),
        ("documents.jsonl", record | {"id": "planted", "source": "leak.txt", "split": "heldout"}),
    ):
        with (version.folder / path).open("a") as file:
            file.write(json.dumps(line) + "\n")
    found = version.assess()
    leaks = measure(found, "leaks")
    assert (leaks.value, leaks.light) == (1, pb.LIGHT_AMBER)
    assert (leaks.worst[0].source, leaks.worst[0].excerpt) == ("leak.txt", f"like {row['source']}")
    assert measure(found, "heldout_known_share").worst[0].value == 1


def test_evaluation_cases_hold_a_source_out(make):
    version = make(good())
    line = {"source": "wiki/x.txt", "reason": "CONTAMINATED", "detail": "", "size_bytes": 400, "duplicate_of": ""}
    kept = {"source": "wiki/y.txt", "reason": "NEAR_DUPLICATE", "detail": "", "size_bytes": 9, "duplicate_of": ""}
    with (version.folder / "rejections.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n" + json.dumps(kept) + "\n")
    found = version.assess()
    assert (measure(found, "contaminated").value, measure(found, "contaminated").light) == (1, pb.LIGHT_AMBER)
    wiki = source(found, "wiki")
    assert (wiki.verdict, list(wiki.reasons)) == (pb.SOURCE_VERDICT_HOLD_OUT, ["CONTAMINATED"])
    assert wiki.tokens_at_stake > 0


def test_secrets_and_personal_data_are_counted_by_source_and_shown_nowhere(make):
    ops = {
        f"ops/{n}.txt": f"{prose(100 + n)}\n\naws_access_key_id {KEY} of j.doe@plant{n}.example.org\n" for n in range(3)
    }
    found, html = make(good() | ops).report()
    assert measure(found, "aws_key").light == measure(found, "secrets").light == pb.LIGHT_RED
    assert measure(found, "secrets").value == 3
    assert measure(found, "email").value > 0
    assert "[AWS_KEY]" in measure(found, "aws_key").worst[0].excerpt
    judged = source(found, "ops")
    assert judged.verdict == pb.SOURCE_VERDICT_USE_AFTER_FIXES
    assert list(judged.reasons) == ["SECRETS", "PERSONAL_DATA"]
    assert judged.tokens_at_stake == judged.tokens
    assert source(found, "manuals").verdict == pb.SOURCE_VERDICT_USE
    for text in (html, str(found)):
        assert KEY not in text
        assert "j.doe" not in text


def test_confidential_documents_are_held_out_and_licences_are_read(make):
    board = {"board/minutes.txt": f"CONFIDENTIAL\n\n{prose(50)}"}
    licensed = {f"manuals/{n}.txt": f"SPDX-License-Identifier: MIT\n\n{prose(n)}" for n in range(24)}
    found, html = make(board | licensed).report()
    assert measure(found, "restricted").value == 1
    assert list(source(found, "board").reasons) == ["RESTRICTED_LICENCE"]
    assert measure(found, "licence_named").value == 1
    assert ">MIT</text>" in html


def test_unreadable_files_are_counted_and_their_source_rejected(make):
    scans = {f"scans/{n}.pdf": b"%PDF-1.7\n" + bytes([n]) * 200 for n in range(1, 9)}
    found = make(good() | scans).assess()
    assert measure(found, "unreadable_share").value == 0.25
    assert measure(found, "unreadable_share").light == pb.LIGHT_AMBER
    assert source(found, "scans").verdict == pb.SOURCE_VERDICT_REJECT
    assert source(found, "scans").kept_documents == 0


def test_documents_that_repeat_themselves_are_named(make):
    repeating = "\n".join([*prose(77, 200).split("\n"), *["See the notes of the shift before you go on."] * 30])
    found = make(good() | {"manuals/repeating.txt": repeating}).assess()
    rule = measure(found, "gopher/duplicate_lines")
    assert rule.worst[0].source == "manuals/repeating.txt"
    assert rule.worst[0].excerpt.startswith("See the notes of the shift before you go on.")
    assert rule.value == 1 / 25
    assert rule.threshold == pytest.approx(0.3)
    assert sum(rule.histogram.counts) == 25
    assert "stood before in the document" in rule.interpretation


def test_questions_with_answers_make_fine_tuning_nearer(make):
    faq = "\n\n".join(f"## How is part {n} of the line checked?\n\n{prose(1000 + n, 30)}" for n in range(40))
    plain, asked = make(good()).assess(), make(good() | {"faq.md": faq}).assess()
    assert (measure(plain, "pairs").value, measure(asked, "pairs").value) == (0, 40)

    def missing(found: pb.Assessment) -> float:
        return next(a.flip_value for a in found.advice if a.method == pb.ADVICE_METHOD_SFT)

    assert missing(asked) <= missing(plain) - 40


def test_long_documents_are_measured_against_what_a_model_reads_at_once(make):
    version = make(good())
    assert measure(version.assess(context_length=64), "over_context_share").value == 1
    assert measure(version.assess(context_length=100_000), "over_context_share").value == 0


def test_words_that_the_tokenizer_breaks_up_are_listed(make):
    word = "Xylofonquarzwagen"
    texts = {path: text.replace("steel", word) for path, text in good().items()}
    version = make(texts)
    found, html = version.report()
    assert measure(found, "broken_words").value > measure(make(good()).assess(), "broken_words").value
    assert f"<td>{word}</td>" in html
    unknown = assess_version(version.folder, version.manifest, pb.AssessDatasetTask(dataset_version=NAME))[0]
    assert not measure(unknown, "broken_words").HasField("value")


def test_documents_on_one_subject_are_less_varied_than_on_many(make):
    def texts(subjects: str) -> dict[str, str]:
        rng = random.Random(5)
        words = {s: [f"{s}{a}{b}ing" for a in "aeiou" for b in "lmnrst"] for s in subjects}
        return {f"{n}.txt": " ".join(rng.choices(words[subjects[n % len(subjects)]], k=120)) for n in range(24)}

    one, many = make(texts("k")).assess(), make(texts("bdfgkpvz")).assess()
    assert measure(one, "unlike_share").value < 0.5 * measure(many, "unlike_share").value


def test_novelty_is_said_to_be_missing_or_decides(make):
    version = make(good())
    novelty = measure(version.assess(), "novelty")
    assert not novelty.HasField("value")
    assert "perplexity" in novelty.interpretation
    assert measure(version.assess(novelty_nats=0.5), "novelty").value == 0.5
