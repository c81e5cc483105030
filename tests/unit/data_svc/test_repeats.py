from __future__ import annotations

import random

import numpy as np
import pytest
from data_svc.worker import repeats
from data_svc.worker.repeats import Repeats
from hypothesis import given, settings
from hypothesis import strategies as st


def plain(documents: list[list[int]], words: int) -> list[tuple[int, int]]:
    """Runs looked at and runs that stood before, by the definition."""
    seen: set[tuple[int, ...]] = set()
    counts = []
    for document in documents:
        runs = [tuple(document[at : at + words]) for at in range(len(document) - words + 1)]
        before = 0
        for run in runs:
            before += run in seen
            seen.add(run)
        counts.append((len(runs), before))
    return counts


def flat(documents: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    bounds = np.cumsum([0, *map(len, documents)])
    return np.array([word for document in documents for word in document], np.uint64), bounds


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.lists(st.integers(1, 3), max_size=30), min_size=1, max_size=8), st.integers(1, 6))
def test_repeats_are_those_of_the_definition_whatever_the_batches(documents, words):
    counted = Repeats(words, 1000)
    half = len(documents) // 2
    found = []
    for batch in (documents[:half], documents[half:]):
        looked, seen = counted.add(*flat(batch))
        found += list(zip(looked.tolist(), seen.tolist(), strict=True))
    assert found == plain(documents, words)


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.integers(1, 3), max_size=40), st.lists(st.integers(1, 3), max_size=40))
def test_known_runs_are_those_added_before_and_nothing_is_added(train, heldout):
    counted = Repeats(3, 1000)
    counted.add(*flat([train]))
    stood = {tuple(train[at : at + 3]) for at in range(len(train) - 2)}
    runs = [tuple(heldout[at : at + 3]) for at in range(len(heldout) - 2)]
    for _ in range(2):
        looked, seen = counted.known(*flat([heldout]))
        assert (looked.tolist(), seen.tolist()) == ([len(runs)], [sum(run in stood for run in runs)])


def test_repeats_of_a_large_text_are_estimated_from_a_part(monkeypatch):
    rng = random.Random(1)
    documents = [[rng.getrandbits(60) for _ in range(1000)] for _ in range(100)]
    documents += [document[:500] + [rng.getrandbits(60) for _ in range(500)] for document in documents]
    expected = sum(seen for _, seen in plain(documents, 13)) / (200 * 988)
    monkeypatch.setattr(repeats, "_RUNS_MAX", 20_000)
    looked, seen = Repeats(13, 200_000).add(*flat(documents))
    assert looked.sum() < 20_000
    assert seen.sum() / looked.sum() == pytest.approx(expected, abs=0.02)


def test_repeats_end_with_more_words_than_expected():
    looked, seen = Repeats(1, 4).add(*flat([list(range(1000)), list(range(1000))]))
    assert looked.tolist() == [1000, 1000]
    assert seen[0] == 0
    assert 0 < seen[1] < 1000
