"""Cases that stand in training data: the plain search of a run agrees with the compiled one of curation."""

from __future__ import annotations

import json
import random

import pytest
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.contamination import pack_contamination_set, read_contamination_set
from bessemer.artifacts.manifest import FileEntry, Manifest, write_manifest
from bessemer.svckit.objects import ObjectsConfig, open_objects
from eval_svc.domain.cases import Case, Grader, given_away
from eval_svc.worker.contamination import CaseIndex, format_overlaps, parse_overlaps, texts_of, untraceable

WORDS = [f"w{number:03d}" for number in range(800)]


@pytest.fixture(scope="module")
def cases():
    generator = random.Random(2)
    found = [
        Case(id=f"q{i}", cluster=f"q{i}", prompt=" ".join(generator.choices(WORDS, k=40)), target="yes indeed")
        for i in range(60)
    ]
    return [*found, Case(id="short", cluster="short", prompt="Who are you?", target="me")]


@pytest.fixture(scope="module")
def packed(cases):
    return pack_contamination_set((case.cluster, given_away(case, Grader.EXACT)) for case in cases)


def index_of(cases, packed):
    index = CaseIndex()
    index.add("s", cases, Grader.EXACT, packed)
    return index


def damaged(text, generator):
    """Return a text with one word in twenty dropped, in other case, with commas between."""
    return ", ".join(word.upper() for word in text.split() if generator.random() > 0.05)


def test_planted_cases_are_found_as_curation_finds_them(cases, packed):
    from data_svc.domain.contamination import gives_away
    from data_svc.worker.decontamination import ContaminationIndex

    generator = random.Random(4)
    noise = [" ".join(generator.choices(WORDS, k=200)) for _ in range(40)]
    texts = [f"{noise[i]} {given_away(case, Grader.EXACT)} {noise[i]}" for i, case in enumerate(cases[:20])]
    texts += [damaged(given_away(case, Grader.EXACT), generator) for case in cases[20:40]]
    texts += [f"{noise[30]} {' '.join(case.prompt.split()[:14])}" for case in cases[40:45]] + noise
    found, count = index_of(cases, packed).scan(iter(texts))
    assert count == len(texts)
    given = {one.case for one in found if one.given}
    assert {case.id for case in cases[:20]} <= given
    assert len(given & {case.id for case in cases[20:40]}) >= 19
    assert {case.id for case in cases[40:45]} <= given
    assert not given & {case.id for case in cases[45:]}
    theirs = ContaminationIndex({"s": read_contamination_set(packed)}).annotate([text.encode() for text in texts])
    assert sum(map(gives_away, (one[0] for one in theirs if one))) == len(given)
    assert max(one.share for one in found) == pytest.approx(1.0)


def test_case_too_short_to_be_told_is_counted_and_never_found(cases, packed):
    found, _ = index_of(cases, packed).scan(iter(["Who are you? me"] * 3))
    assert found == []
    assert untraceable(cases, Grader.EXACT) == 1


def test_search_without_any_hash_finds_nothing(cases):
    empty = pack_contamination_set([("short", "Who are you?\nme")])
    assert index_of(cases[-1:], empty).scan(iter([cases[0].prompt])) == ([], 1)


def test_texts_of_a_version_are_those_a_model_reads(tmp_path):
    blobs = Blobs(open_objects(ObjectsConfig(f"file://{tmp_path}")), "p")
    files = {
        "train/texts/0000000000.jsonl": [{"id": "d", "source": "d.md", "text": "the furnace"}],
        "train/rows.jsonl": [{"id": "r", "messages": [{"role": "user", "content": "hot?"}], "chosen": ["yes"]}],
        "heldout/rows.jsonl": [{"id": "h", "messages": [{"role": "user", "content": "sealed"}]}],
    }
    entries = [
        FileEntry.of(
            path, blobs.put_bytes("".join(json.dumps(r) + "\n" for r in records).encode(), "application/jsonl")
        )
        for path, records in files.items()
    ]
    texts = list(texts_of(blobs, write_manifest(blobs, Manifest("dataset", tuple(entries), {}))))
    assert texts == ["user\nhot?\nyes", "the furnace"]


def test_overlaps_hold_no_text_and_survive_being_written(cases, packed):
    found, count = index_of(cases, packed).scan(iter([given_away(cases[0], Grader.EXACT)]))
    written = format_overlaps(found, count)
    assert parse_overlaps(written) == (found, 1)
    assert cases[0].prompt.split()[0].encode() not in written
