from __future__ import annotations

import random
from collections import Counter
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
from data_svc.domain.splitting import held_out
from data_svc.worker import containment, duplicates, minhash
from data_svc.worker.rejections import Rejections
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.data_svc.conftest import documents_of, prose


def families_of(texts: list[str], path: Path) -> dict[str, str]:
    documents = documents_of(texts, path)
    kept = duplicates.drop_near(documents, 0.7, Rejections(), scratch=path, tick=lambda *_: None)
    return {texts[int(r["source"])]: r["family"].hex() for r in kept.records(("source", "family"))}


def candidates_in_python(samples: list[set[int]]) -> list[list[int]]:
    holders = Counter(value for sample in samples for value in sample)
    telling = [{value for value in sample if holders[value] <= containment.HOLDERS_MAX} for sample in samples]
    found = []
    for first, second in combinations(range(len(samples)), 2):
        smaller = first if len(samples[first]) <= len(samples[second]) else second
        shared = len(telling[first] & telling[second])
        enough = shared >= 0.35 * len(telling[smaller]) and len(telling[smaller]) >= 0.25 * len(samples[smaller])
        if shared and enough:
            found.append([first, second])
    return found


@given(st.lists(st.sets(st.integers(0, 40), max_size=20), max_size=30), st.integers(1, 20))
@settings(max_examples=100, deadline=None)
def test_candidates_are_those_of_the_plain_definition_in_any_number_of_passes(samples, entries) -> None:
    values = np.array([value for sample in samples for value in sorted(sample)], np.uint32)
    before, containment._PASS_ENTRIES = containment._PASS_ENTRIES, entries
    try:
        found = containment.candidates(values, np.array([len(sample) for sample in samples], np.int64))
    finally:
        containment._PASS_ENTRIES = before
    assert found.tolist() == candidates_in_python(samples)


@given(st.lists(st.lists(st.integers(0, 200), max_size=50), max_size=5))
@settings(max_examples=50, deadline=None)
def test_samples_are_the_same_shingles_in_every_document(lists) -> None:
    hashes = np.array([value << 33 | value for each in lists for value in each], np.uint64)
    bounds = np.cumsum([0, *map(len, lists)])
    values, ends = minhash.sampled(hashes, bounds)
    expected = [sorted({(v << 33 | v) >> 32 for v in each if v % 16 == 0}) for each in lists]
    assert [values[a:b].tolist() for a, b in pairwise(ends)] == expected


def test_chapters_of_a_manual_are_of_its_family_and_other_documents_are_not(tmp_path: Path) -> None:
    chapters = [prose(number, 400) for number in range(12)]
    manual = "\n\n".join(" ".join(chapter.upper().split()) for chapter in chapters)
    others = [prose(number, 400) for number in range(100, 110)]
    found = families_of([manual, *chapters, *others], tmp_path)
    assert len({found[text] for text in [manual, *chapters]}) == 1
    assert len({found[text] for text in others} - {found[manual]}) == len(others)


def test_half_of_a_document_in_another_joins_them_and_a_third_does_not(tmp_path: Path) -> None:
    host, other, third = prose(1, 3000), prose(2, 3000), prose(3, 3000)
    words, more = host.split(), third.split()
    half = " ".join(words[100:400] + prose(4, 200).split()[:200])
    some = " ".join(more[100:300] + prose(5, 400).split()[:400])
    found = families_of([host, other, third, half, some], tmp_path)
    assert found[half] == found[host]
    assert found[some] != found[third]
    assert found[other] not in {found[host], found[third]}


def test_boilerplate_of_many_documents_joins_none_of_them(tmp_path: Path) -> None:
    notice = prose(999, 100)
    texts = [f"{notice}\n\n{prose(number, 500)}" for number in range(30)]
    found = families_of([notice, *texts], tmp_path)
    assert len(set(found.values())) == len(found)


def test_families_do_not_depend_on_the_order_of_documents(tmp_path: Path) -> None:
    chapters = [prose(number, 300) for number in range(8)]
    texts = ["\n\n".join(chapters), *chapters, *(prose(number, 300) for number in range(50, 56))]
    first = families_of(texts, tmp_path / "a")
    random.Random(1).shuffle(texts)
    assert families_of(texts, tmp_path / "b") == first


def test_family_that_is_most_of_the_text_is_never_held_out() -> None:
    shares = np.array([0.01, 0.5, 0.9])
    assert held_out(shares, 0.1, np.array([10, 10, 10])).tolist() == [True, False, False]
    assert held_out(shares, 0.1, np.array([50, 10, 10])).tolist() == [False, True, False]
    assert held_out(shares[:1], 0.1, np.array([50])).tolist() == [False]
