"""Cases of evaluation suites in documents: the compiled pass against plain definitions, and what is dropped for it."""

from __future__ import annotations

import json
import random
import unicodedata
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.contamination import (
    ContaminationSet,
    ngram_hashes,
    pack_contamination_set,
    read_contamination_set,
    words_of,
)
from bessemer.artifacts.manifest import fetch, read_manifest
from bessemer.artifacts.texts import read_texts
from bessemer.kernel.errors import FailedPrecondition
from data_svc.domain.contamination import Overlap, gives_away
from data_svc.domain.recipes import Recipe
from data_svc.worker.curate import curate
from data_svc.worker.decontamination import ContaminationIndex
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.data_svc.conftest import prose

SUITE = "projects/p/evaluationSuites/exam"
RECIPE = Recipe(sequence_length=64, heldout_fraction=0.2)
# Words of few letters repeat; the rest is everything that a byte loop gets wrong.
WORDS = ["a", "b", "c", "d", "e", "f", "\u00c4", "\u00df", "\u0130", "\u03a3", "1", "\u0663", "e\u0301", "don't"]
WORDS += ["\u71b1\u3044", "\u0e44\u0e17\u0e22", "\u0928\u093f", "\U00010400", "\U0001d4b3"]
GAPS = [" ", " ", " ", "\n", ", ", "-", ".", "'", "\u00ad", "\u200d", "\u2014", " \U0001f600 ", "\U000e0100", "_", ""]
TEXTS = st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(GAPS)), max_size=60).map(
    lambda pieces: unicodedata.normalize("NFC", "".join(word + gap for word, gap in pieces))
)


def suite(*texts: str) -> ContaminationSet:
    return read_contamination_set(pack_contamination_set((f"c{at}", text) for at, text in enumerate(texts)))


def plain_overlaps(text: str, found: ContaminationSet) -> dict[int, tuple[float, int]]:
    """Return share and longest run per case, by walking over the words."""
    entries = defaultdict(list)
    for value, case, word in zip(found.hashes.tolist(), found.cases.tolist(), found.words.tolist(), strict=True):
        entries[value].append((case, word))
    covered, runs = defaultdict(set), defaultdict(int)
    before: dict[tuple[int, int], int] = {}
    for gram in ngram_hashes(words_of(text)).tolist():
        now = {}
        for case, word in entries.get(gram, []):
            covered[case] |= set(range(word, word + 8))
            now[case, word] = before.get((case, word - 1), 7) + 1
            runs[case] = max(runs[case], now[case, word])
        before = now
    return {case: (len(words) / found.sizes[case], runs[case]) for case, words in covered.items()}


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=3), st.lists(TEXTS, min_size=1, max_size=3), st.booleans())
def test_compiled_pass_finds_what_the_definition_finds(cases, texts, copied):
    texts = [text + (f" {cases[0]} " if copied else "") for text in texts]
    texts = [unicodedata.normalize("NFC", text) for text in texts]
    found = suite(*cases)
    each = [(f"{SUITE}{case}", read_contamination_set(only(found, case))) for case in range(found.sizes.size)]
    index = ContaminationIndex(dict(each))
    for text, overlaps in zip(texts, index.annotate([text.encode() for text in texts]), strict=True):
        shares = {int(overlap.suite.removeprefix(SUITE)): (overlap.share, overlap.run_words) for overlap in overlaps}
        assert shares == plain_overlaps(text, found)
        for overlap in overlaps:
            inside = text.encode()[overlap.start : overlap.end].decode()  # cut between characters
            assert len(words_of(inside)) >= overlap.run_words
            assert plain_overlaps(inside, found)[int(overlap.suite.removeprefix(SUITE))][1] == overlap.run_words


def only(found: ContaminationSet, case: int) -> bytes:
    """Return the file of a set with one case of another set, so that each case can be told in the answer."""
    mine = found.cases == case
    parts = (found.hashes[mine], np.zeros(mine.sum(), "<u4"), found.words[mine], found.sizes[case : case + 1])
    header = pack_contamination_set([("", "")])[:16] + int(mine.sum()).to_bytes(8, "little")
    return header + b"".join(part.tobytes() for part in parts)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_bytes_that_are_no_text_do_no_harm(data):
    index = ContaminationIndex({SUITE: suite(prose(1, 30))})
    assert index.annotate([data, prose(1, 30).encode()])[1][0].share == 1


def test_text_does_not_run_on_into_the_next():
    case = prose(1, 20)
    half = len(case) // 2
    index = ContaminationIndex({SUITE: suite(case)})
    apart, whole = index.annotate([case[:half].encode(), case[half:].encode()]), index.annotate([case.encode()])
    assert whole[0][0].share == 1
    assert max(overlap.run_words for overlaps in apart for overlap in overlaps) < whole[0][0].run_words
    assert index.annotate([]) == []


def test_worst_suite_and_worst_case_come_first():
    long, short = prose(1, 200), prose(2, 40)
    index = ContaminationIndex({"a": suite(long, short), "b": suite(short), "none": suite()})
    text = " ".join(long.split()[:12]) + " and then " + " ".join(short.split()[:20])
    (overlaps,) = index.annotate([text.encode()])
    assert [overlap.suite for overlap in overlaps] == ["a", "b"] or overlaps[0].share == overlaps[1].share
    assert all(gives_away(overlap) and overlap.run_words == 20 for overlap in overlaps)


@pytest.mark.parametrize(
    ("share", "run_words", "verdict"),
    [(0.5, 8, True), (0.49, 12, False), (0.2, 13, True), (0.19, 13, False), (1.0, 8, True), (0.04, 40, False)],
)
def test_verdict_needs_half_a_case_or_a_long_run_that_is_a_fifth_of_it(share, run_words, verdict):
    assert gives_away(Overlap(SUITE, share, run_words, 0, 1)) is verdict


def planted(documents: Path, case: str) -> None:
    """Put the case into all documents but the first ten."""
    for file in sorted(documents.iterdir())[10:]:
        file.write_text(file.read_text().replace(". ", f". {case} ", 1))


def reasons(result) -> dict[str, int]:
    return {count.reason: count.documents for count in result.reasons}


def test_training_documents_with_a_case_are_dropped_and_held_out_ones_stay(documents, tokenizer_path, blobs, tmp_path):
    case = (
        "Which alloy did Henrietta Quill pour when the northern bell of Zanzibar rang for the seventh time that night?"
    )
    planted(documents, case)
    index = ContaminationIndex({SUITE: suite(case)})
    clean = curate([documents], RECIPE, tokenizer_path, blobs)
    result = curate([documents], RECIPE, tokenizer_path, blobs, index=index)
    assert reasons(clean) == {"kept": 40}
    assert reasons(result)["CONTAMINATED"] == 40 - reasons(result)["kept"] > 10
    folder = fetch(blobs, read_manifest(blobs, result.manifest), tmp_path / "version")
    train, heldout = ("".join(t["text"] for t in read_texts(folder, split)) for split in ("train", "heldout"))
    assert "Zanzibar" not in train
    assert "Zanzibar" in heldout
    rejected = [json.loads(line) for line in (folder / "rejections.jsonl").read_text().splitlines()]
    assert all(f"100% of a case of {SUITE}, 19 words in a row, in bytes" in record["detail"] for record in rejected)
    for file in ("rejections.jsonl", "documents.jsonl", "profile.json", "report.html"):
        assert "Zanzibar" not in (folder / file).read_text()
    assert curate([documents], RECIPE, tokenizer_path, blobs, index=index).manifest == result.manifest


def test_document_that_shares_a_sentence_of_a_long_case_is_kept_and_counted(documents, tokenizer_path, blobs, tmp_path):
    sentence = prose(1000, 15).split(".")[0]
    planted(documents, sentence + ".")
    index = ContaminationIndex({SUITE: suite(sentence + " " + prose(2000, 100))})
    result = curate([documents], RECIPE, tokenizer_path, blobs, index=index)
    assert reasons(result) == {"kept": 40}
    folder = fetch(blobs, read_manifest(blobs, result.manifest), tmp_path / "version")
    records = [json.loads(line) for line in (folder / "documents.jsonl").read_text().splitlines()]
    sharing = [record for record in records if record["overlaps"]]
    assert {record["split"] for record in sharing} == {"train"}
    assert all(0 < record["overlaps"][SUITE] < 0.2 for record in sharing)
    counted = json.loads((folder / "profile.json").read_text())["categories"]
    assert counted["evaluation_overlap/exam"] == len(sharing) > 10
    assert "share a few words in a row" in (folder / "report.html").read_text()


def test_version_of_contaminated_documents_alone_is_refused_with_the_reason(documents, tokenizer_path, blobs):
    texts = [file.read_text() for file in documents.iterdir()]
    index = ContaminationIndex({SUITE: suite(*texts)})
    with pytest.raises(FailedPrecondition, match="CONTAMINATED"):
        curate([documents], RECIPE, tokenizer_path, blobs, index=index)


@pytest.mark.parametrize("kind", ["CHAT", "PREFERENCE"])
def test_given_rows_with_a_case_are_dropped_from_training_only(kind, blobs, tmp_path):
    rng = random.Random(3)
    rows = []
    for number in range(60):
        question = f"{prose(number, 12)} {'Zanzibar ' + prose(99, 20) if number % 3 == 0 else ''}"
        rows.append({"prompt": question, "chosen": prose(rng.randrange(10**6), 5), "rejected": "no"})
        if kind == "CHAT":
            rows[-1] = {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": "yes"}]}
    source = tmp_path / "rows.jsonl"
    source.write_text("\n".join(map(json.dumps, rows)))
    index = ContaminationIndex({SUITE: suite("Zanzibar " + prose(99, 20))})
    result = curate([source], Recipe(kind=kind, heldout_fraction=0.3), None, blobs, index=index)
    folder = fetch(blobs, read_manifest(blobs, result.manifest), tmp_path / "version")
    train, heldout = ((folder / split / "rows.jsonl").read_text() for split in ("train", "heldout"))
    assert "Zanzibar" not in train
    assert 0 < reasons(result)["CONTAMINATED"] == 20 - heldout.count("Zanzibar") < 20
    assert "Zanzibar" not in (folder / "rejections.jsonl").read_text() + (folder / "report.html").read_text()


def test_rows_made_of_a_text_version_leave_out_its_documents_that_hold_cases(
    documents, tokenizer_path, blobs: Blobs, tmp_path
):
    for number, file in enumerate(sorted(documents.iterdir())):
        file.write_text(f"Machine {number}\n\nWeight: {number + 100} kg\n\n{prose(number)}\n\nPower: {number + 3} kW\n")
    result = curate([documents], RECIPE, tokenizer_path, blobs)
    texts = fetch(blobs, read_manifest(blobs, result.manifest), tmp_path / "texts")
    index = ContaminationIndex({SUITE: suite(*(prose(number) for number in range(0, 40, 2)))})
    chat = Recipe(kind="CHAT", heldout_fraction=0.2)
    counted = reasons(curate([], chat, None, blobs, texts=texts, index=index))
    everything = reasons(curate([], chat, None, blobs, texts=texts))
    assert 10 < counted["CONTAMINATED"] < 20
    assert counted["kept"] < everything["kept"]
