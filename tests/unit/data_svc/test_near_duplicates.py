from __future__ import annotations

import random
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from data_svc.worker import duplicates, families, minhash
from data_svc.worker.documents import hexadecimal
from data_svc.worker.rejections import Rejections
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.data_svc.conftest import documents_of, prose


def words_of(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    data = [text.encode() for text in texts]
    offsets = np.cumsum([0, *(len(text) for text in data)])
    return minhash.words(np.frombuffer(b"".join(data), np.uint8), offsets, minhash.fold_table())


def words_in_python(text: str) -> list[str]:
    words = [""]
    for character in text:
        if 0x2E80 <= ord(character) < 0xA000 and unicodedata.category(character)[0] in "LMN":
            words += [character, ""]
        elif character == "_" or unicodedata.category(character)[0] in "LMN":
            folded = character.casefold()
            words[-1] += folded if len(folded) == 1 else character.lower()[0]
        else:
            words.append("")
    return [word for word in words if word] or [f"bytes {text}"]


@given(st.lists(st.text(alphabet="aAbB _éÉЖж\u201c\u5357\u4eac.\U0001f600ß", max_size=60), max_size=5))
@settings(max_examples=200, deadline=None)
def test_words_of_a_batch_are_those_of_the_plain_definition(texts: list[str]) -> None:
    expected = [words_in_python(text) for text in texts]
    hashes, starts = words_of(texts)
    assert np.diff(starts).tolist() == [len(words) for words in expected]
    pairs = set(zip((word for words in expected for word in words), hashes.tolist(), strict=True))
    assert len(pairs) == len({word for word, _ in pairs}) == len({value for _, value in pairs})


@given(st.lists(st.text(alphabet="abc d", max_size=80), min_size=1, max_size=5), st.sampled_from([3, 5]))
@settings(max_examples=100, deadline=None)
def test_shingle_sets_are_as_large_as_the_plain_definition_says(texts: list[str], num_words: int) -> None:
    _, bounds = families.distinct(*minhash.shingles(*words_of(texts), num_words))
    for text, size in zip(texts, np.diff(bounds), strict=True):
        words = words_in_python(text)
        runs = {tuple(words[at : at + num_words]) for at in range(max(len(words) - num_words + 1, 1))}
        assert size == len(runs)


def test_signatures_estimate_the_jaccard_similarity_whatever_the_batch() -> None:
    values = np.random.default_rng(0).integers(0, 1 << 62, 3000, np.uint64)
    left, right = values[:2000], values[500:2500]
    both = minhash.signatures(np.concatenate([left, right, right]), np.array([0, 2000, 4000, 6000]))
    assert abs(np.mean(both[0] == both[1]) - 0.6) < 0.12
    assert (both[1] == both[2]).all()
    assert (minhash.signatures(right[::-1].copy(), np.array([0, 2000]))[0] == both[1]).all()


def test_candidates_of_a_large_group_stay_few_and_say_so() -> None:
    rows = np.zeros((100, minhash.NUM_HASHES), np.uint32)
    pairs, complete = minhash.candidates(rows, np.arange(100), 0.35, 50)
    assert not complete
    assert len(pairs) == 99 + 98
    pairs, complete = minhash.candidates(rows, np.arange(5), 0.35, 50)
    assert complete
    assert len(pairs) == 10


def test_batch_ends_hold_no_more_text_than_allowed() -> None:
    pairs = np.array([[0, 1], [0, 2], [1, 2], [3, 4]])
    sizes = np.array([10, 10, 10, 50, 50])
    assert families.batch_ends(pairs, sizes, 30).tolist() == [3, 4]
    assert families.batch_ends(pairs, sizes, 1).tolist() == [1, 2, 3, 4]
    assert families.batch_ends(pairs, sizes, 1000).tolist() == [4]
    assert families.batch_ends(pairs[:0], sizes, 30).tolist() == []


def outcome(path: Path, texts: list[str], threshold: float = 0.8) -> tuple[list[str], dict[str, str], dict[str, str]]:
    """Return survivors, who stands for whom, and the families, by text."""
    documents, rejections = documents_of(texts, path), Rejections()
    by_id = dict(zip(hexadecimal(documents.ids), texts, strict=True))
    kept = duplicates.drop_near(documents, threshold, rejections, scratch=path, tick=lambda *_: None)
    survivors = [by_id[id_] for id_ in hexadecimal(kept.ids)]
    stand_ins = {texts[int(each.source)]: by_id[each.duplicate_of] for each in rejections.ordered()}
    families_of = [record["family"].hex() for record in kept.records(("family",))] if texts else []
    related = dict(zip(survivors, families_of, strict=True))
    related |= {text: related[other] for text, other in stand_ins.items()}
    return sorted(survivors), stand_ins, related


def copies(number: int, chance: random.Random) -> list[str]:
    words = prose(number, 300).split(" ")
    edited = [*words]
    for place in chance.sample(range(len(edited)), 4):
        edited[place] = "changed"
    return [
        " ".join(words),
        " ".join(edited),
        "A header of its own.\n\n" + " ".join(words),
        " ".join(words).upper() + "!",
    ]


def test_near_duplicates_do_not_depend_on_order_or_on_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(0)
    texts = [text for number in range(30) for text in copies(number, chance)]
    first = outcome(tmp_path / "a", texts)
    assert len(first[0]) == 30
    chance.shuffle(texts)
    monkeypatch.setattr(duplicates, "_BATCH_BYTES", 3000)
    assert outcome(tmp_path / "b", texts) == first


def test_near_duplicates_in_a_large_group_leave_one(tmp_path: Path) -> None:
    text = prose(1, 300)
    kept, stand_ins, related = outcome(tmp_path / "a", [f"{text} number {number}" for number in range(200)])
    assert len(kept) == 1
    assert set(stand_ins.values()) == set(kept)
    assert len(set(related.values())) == 1


def test_near_duplicates_of_near_duplicates_are_kept_when_unlike_the_survivor(tmp_path: Path) -> None:
    words = prose(1, 600).split()
    chain = [" ".join(words[shift : shift + 400 - shift // 40]) for shift in (0, 40, 80)]
    kept, stand_ins, related = outcome(tmp_path / "a", chain)
    assert kept == sorted([chain[0], chain[2]])
    assert set(stand_ins) == {chain[1]}
    assert len(set(related.values())) == 1


def test_near_duplicates_of_nothing_are_nothing(tmp_path: Path) -> None:
    assert outcome(tmp_path / "a", []) == ([], {}, {})
    assert outcome(tmp_path / "b", ["!!!", "???"])[1] == {}
