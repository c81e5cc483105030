"""Hashes of evaluation cases: which words, which runs, which file."""

from __future__ import annotations

import random

import numpy as np
import pytest
from bessemer.artifacts.contamination import (
    CODE_POINTS,
    ngram_hashes,
    pack_contamination_set,
    read_contamination_set,
    words_of,
)
from bessemer.kernel.errors import DataLoss

MASK = 2**64 - 1


def mixed(value: int) -> int:
    value ^= value >> 32
    value = value * 0xD6E8FEB86659FD93 & MASK
    return value ^ (value >> 29)


def plain_hash(words: list[str]) -> int:
    """Return the hash of one run, by the definition in the module's text."""
    run = 0
    for word in words:
        value = 0xCBF29CE484222325
        for character in word:
            value = (value ^ ord(character)) * 0x100000001B3 & MASK
        run = (run * 0xA24BAED4963EE407 + mixed(value)) & MASK
    return mixed(run)


def some_words(seed: int, count: int) -> str:
    rng = random.Random(seed)
    return " ".join("".join(rng.choices("abcdefghijklmnop", k=6)) for _ in range(count))


def entries(data: bytes) -> set[tuple[int, int, int]]:
    found = read_contamination_set(data)
    return set(zip(found.hashes.tolist(), found.cases.tolist(), found.words.tolist(), strict=True))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't PANIC: it's 1,000 m.", ["dont", "panic", "its", "1000", "m"]),
        ("**well-known** U.S. e\u0301tude, \u00c9TUDE", ["well", "known", "us", "\u00e9tude", "\u00e9tude"]),
        ("ΣΊΣΥΦΟΣ Σίσυφος Straße STRASSE", ["σίσυφοσ", "σίσυφοσ", "straße", "strasse"]),
        ("hin\u00adter \u0939\u093f\u0928\u094d\u0926\u0940", ["hinter", "\u0939\u093f\u0928\u094d\u0926\u0940"]),
        ("熱い鋼 steel", ["熱", "い", "鋼", "steel"]),
        ("... ''' \N{GRINNING FACE} \U000e0100", []),
    ],
)
def test_words_of_text_are_folded_and_without_punctuation(text, words):
    assert words_of(text) == words


def test_no_letter_lies_beyond_the_table():
    assert not any(chr(point).isalnum() for point in range(CODE_POINTS, 0x110000))


def test_hashes_of_runs_are_those_of_the_definition():
    words = words_of(some_words(1, 30) + " 熱い鋼")
    assert ngram_hashes(words).tolist() == [plain_hash(words[at : at + 8]) for at in range(len(words) - 7)]
    assert ngram_hashes(words[:7]).size == 0


def test_set_holds_every_run_of_every_case_in_order():
    texts = [some_words(seed, 9 + seed) for seed in range(4)]
    data = pack_contamination_set((f"c{number}", text) for number, text in enumerate(texts))
    expected = {
        (plain_hash(words[at : at + 8]), case, at)
        for case, words in enumerate(map(str.split, texts))
        for at in range(len(words) - 7)
    }
    found = read_contamination_set(data)
    assert entries(data) == expected
    assert np.all(np.diff(found.hashes.astype(object)) >= 0)
    assert found.sizes.tolist() == [9, 10, 11, 12]


def test_runs_that_tell_nothing_are_left_out():
    numbers = "1 2 3 4 5 6 7 8 9 10 11 12"
    dull = "no no no yes yes yes no yes no yes"
    short = "what is the capital of France"
    found = read_contamination_set(pack_contamination_set([("a", numbers), ("b", dull), ("c", short), ("d", "")]))
    assert found.hashes.size == 0
    assert found.sizes.tolist() == [0, 0, 0, 0]
    partly = read_contamination_set(pack_contamination_set([("a", numbers + " " + some_words(1, 6))]))
    assert partly.words.tolist() and min(partly.words.tolist()) == 9  # noqa: PT018 - one statement about one list


def test_notice_that_some_cases_share_is_no_entry_but_part_of_them():
    notice = some_words(1, 20)
    texts = [f"{notice if number < 3 else ''} {some_words(number + 2, 10)}" for number in range(8)]
    found = read_contamination_set(pack_contamination_set((str(number), text) for number, text in enumerate(texts)))
    assert found.words[found.cases < 3].min() == 13
    assert found.sizes.tolist() == [30] * 3 + [10] * 5


def test_wording_of_a_suite_is_left_out_and_what_two_clusters_share_stays():
    wording = some_words(1, 20)
    texts = [f"{wording} {some_words(seed, 10)}" for seed in (2, 3, 4)]
    three = read_contamination_set(pack_contamination_set(zip("abc", texts, strict=True)))
    assert three.words.min() == 13  # the last seven words of the wording still tell the case by what follows
    assert three.sizes.tolist() == [17, 17, 17]
    two = read_contamination_set(pack_contamination_set(zip("aba", texts, strict=True)))
    assert two.sizes.tolist() == [30, 30, 30]


def test_long_text_of_many_cases_of_one_cluster_is_told_by_some_of_them():
    text = some_words(1, 20)
    found = read_contamination_set(pack_contamination_set([("a", text)] * 100))
    assert found.hashes.size == 32 * 13
    assert len(set(found.cases.tolist())) == 32


def test_case_that_repeats_itself_has_one_entry_per_run():
    text = some_words(1, 10)
    found = read_contamination_set(pack_contamination_set([("a", " ".join([text] * 50))]))
    assert found.hashes.size == 10


def test_suite_without_cases_makes_an_empty_set():
    found = read_contamination_set(pack_contamination_set([]))
    assert (found.hashes.size, found.sizes.size) == (0, 0)


@pytest.mark.parametrize("damage", [lambda d: d[:-1], lambda d: b"X" + d[1:], lambda d: d[:10], lambda d: d + b"\0"])
def test_damaged_set_is_refused(damage):
    with pytest.raises(DataLoss):
        read_contamination_set(damage(pack_contamination_set([("a", some_words(1, 20))])))


def test_case_with_marks_inside_words_is_found_with_and_without_them():
    case = f"{some_words(1, 4)} don't pay $1,000 for 2.5 {some_words(2, 4)}"
    found = read_contamination_set(pack_contamination_set([("a", case), ("b", some_words(3, 9) + ", and. 'so' on")]))
    assert found.sizes.tolist() == [13, 16, 12]
    for read in (case, case.replace(",", "").replace("'", "").replace(".", "")):
        assert set(ngram_hashes(words_of(read)).tolist()) == set(found.hashes[found.cases == 0].tolist())
    apart = case.replace(",", " ").replace("'", " ").replace(".", " ")
    told = set(found.hashes[found.cases == 1].tolist())  # but for runs of mostly numbers
    assert told < set(ngram_hashes(words_of(apart)).tolist())
    assert len(told) == 5
