from __future__ import annotations

import random

import numpy as np
from data_svc.worker.topics import find_topics, type_token_curve
from hypothesis import given
from hypothesis import strategies as st

SUBJECTS = {
    "steel": ["furnace", "slag", "ladle", "converter", "billet", "rolling", "casting", "blast", "charge", "melt"],
    "law": ["contract", "clause", "liability", "tenant", "notice", "court", "statute", "breach", "remedy", "party"],
    "food": ["flour", "butter", "oven", "knead", "simmer", "onion", "garlic", "recipe", "pastry", "salt"],
}


def texts(each: int) -> list[tuple[str, str]]:
    rng = random.Random(3)
    common = ["the", "with", "from", "this", "that", "have", "will", "when", "must", "only"]
    return [
        (subject, " ".join(rng.choice(words + common) for _ in range(80)))
        for _ in range(each)
        for subject, words in SUBJECTS.items()
    ]


def test_topics_are_the_planted_ones_called_by_their_words():
    planted = texts(8)
    found = find_topics([text for _, text in planted])
    assert len(found.topics) == 3
    for topic in found.topics:
        subjects = {planted[member][0] for member in topic.members}
        assert len(subjects) == 1
        assert set(topic.words) <= set(SUBJECTS[subjects.pop()])


def test_variety_falls_when_documents_are_copied_and_rises_with_subjects():
    planted = [text for _, text in texts(20)]
    law = [text for subject, text in texts(60) if subject == "law"]
    assert find_topics(planted) == find_topics(planted)
    assert find_topics(law).effective_number < 0.9 * find_topics(planted).effective_number
    copied = find_topics(planted[:15] * 4)
    assert copied.compared == 60
    assert copied.effective_number < 15 + 1e-4


def test_variety_of_documents_without_a_common_word_is_their_number():
    pairs = [f"{a}{b}ly {a}{b}ness" for a in "abcdefgh" for b in ("bcd", "fgh")] * 2
    assert abs(find_topics(pairs).effective_number - 16) < 1e-4


def test_topics_of_nothing_shared_are_none():
    assert find_topics([]).topics == ()
    assert find_topics(["alpha beta", "gamma delta"]).topics == ()
    assert find_topics(["", "", "", "", "", "", "", "", ""]).topics == ()


def test_variety_of_equal_texts_is_that_of_one():
    found = find_topics(["same text with some words"] * 20)
    assert [len(topic.members) for topic in found.topics] == [20]
    assert abs(found.effective_number - 1) < 1e-4


@given(st.lists(st.integers(0, 5), max_size=60))
def test_type_token_curve_counts_different_words_so_far(words):
    for place, different in type_token_curve(np.array(words, np.uint64), points=7):
        assert different == len(set(words[:place]))
