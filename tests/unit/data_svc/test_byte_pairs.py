from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_svc.worker.byte_pairs import BytePairs
from data_svc.worker.tokens import Encoder
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from tests.unit.data_svc.conftest import prose

SPECIAL = ("<|endoftext|>", "<|im_end|>")
SOURCES = [path.read_text() for path in sorted(Path(__file__).parents[3].glob("services/data_svc/worker/*.py"))]
MIXED = "Gießerei 漢字漢字 naïve ٣٤ ²½ \u00a0\u3000 <|endoftext|> it's we'll\t\t\n\n  \n   x"
MIXED += " 1234567890 ---===--- \u1fae8\U0001fae8 😀 "
BLANKS = "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\u00a0\u1680\u180e\u2000\u200a\u200b\u2028\u2029\u202f\u205f\u3000\ufeff"
letters = st.characters(exclude_categories=("Cs",))
odd = st.sampled_from(f"ab'sltrvemd 019\u00b2\u0663\u216b.,-éß中\u0301\U00020000\u0378\U0001fae8{BLANKS}")
text = st.lists(
    st.text(letters, max_size=20)
    | st.text(odd, max_size=40)
    | st.text("0123456789", max_size=80)
    | st.text(BLANKS, max_size=30)
    | st.sampled_from([*SPECIAL, MIXED, "abcdefghijklmnopqrstuvwxyz" * 2, " internationalisation", "x" * 600])
).map("".join)


def tokenizer_of(split: object) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1500, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([*SOURCES, MIXED * 20, *(prose(seed) for seed in range(5))], trainer)
    tokenizer.encode_special_tokens = True
    return tokenizer


def digits_apart() -> object:
    return pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )


def words() -> object:
    return pre_tokenizers.ByteLevel(add_prefix_space=False)


@pytest.fixture(scope="module", params=[digits_apart, words])
def library(request: pytest.FixtureRequest) -> Tokenizer:
    return tokenizer_of(request.param())


@pytest.fixture(scope="module")
def engine(library: Tokenizer) -> BytePairs:
    return BytePairs(library, 0)


def expected(library: Tokenizer, texts: list[str]) -> list[list[int]]:
    return [[*library.encode(one, add_special_tokens=False).ids, 0] for one in texts]


def found(engine: BytePairs, texts: list[str]) -> list[list[int]]:
    ids, offsets = engine.encode([one.encode() for one in texts])
    return [part.tolist() for part in np.split(ids, offsets[1:-1])]


@settings(max_examples=300, deadline=None)
@given(st.lists(text, min_size=1, max_size=4))
def test_ids_are_those_of_the_library(library: Tokenizer, engine: BytePairs, texts: list[str]) -> None:
    assert found(engine, texts) == expected(library, texts)


def test_ids_of_whole_files_are_those_of_the_library(library: Tokenizer, engine: BytePairs) -> None:
    assert found(engine, SOURCES) == expected(library, SOURCES)


def test_every_code_point_is_cut_as_the_library_cuts_it(library: Tokenizer, engine: BytePairs) -> None:
    points = [chr(point) for point in (*range(0xD800), *range(0xE000, 0x32000, 7), *range(0xE0000, 0x110000, 997))]
    texts = [
        "".join(f"a{one}a{one}{one}1{one} {one}'{one}\n{one} " for one in points[at : at + 500])
        for at in range(0, len(points), 500)
    ]
    assert found(engine, texts) == expected(library, texts)


def test_a_table_that_is_too_small_is_emptied_and_nothing_else_changes(library: Tokenizer) -> None:
    small = BytePairs(library, 0, slots=16)
    for _ in range(2):
        assert found(small, SOURCES[:5]) == expected(library, SOURCES[:5])


@pytest.mark.parametrize("piece", ["a", " ", "=", "\n", "漢", "ab"])
def test_endless_pieces_are_the_library_s(library: Tokenizer, engine: BytePairs, piece: str) -> None:
    texts = [f"steel {piece * size} iron" for size in (510, 511, 512, 513, 20_000)]
    assert found(engine, texts) == expected(library, texts)


def test_texts_do_not_run_into_each_other(library: Tokenizer, engine: BytePairs) -> None:
    texts = ["abc", "def", "", " ", "  ", "g", "'", "s", "é", "1", "2"]
    assert found(engine, texts) == expected(library, texts)


def test_bytes_without_a_token_are_passed_over_as_the_library_does() -> None:
    library = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))
    library.pre_tokenizer = words()
    texts = ["acb", "a\x04b", "ccc", ""]
    assert found(BytePairs(library, None), texts) == [library.encode(one).ids for one in texts] == [[2], [0, 1], [], []]


def test_damaged_utf8_is_refused(library: Tokenizer, engine: BytePairs) -> None:
    for damaged in (b"\xff", b"iron \xe6\xbc", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80"):
        with pytest.raises(UnicodeDecodeError):
            engine.encode([b"ok", damaged])
    assert found(engine, ["ok"]) == expected(library, ["ok"])


def _added(library: Tokenizer) -> None:
    library.add_tokens([AddedToken("steel works")])


def _prefix(library: Tokenizer) -> None:
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)


def _other_words(library: Tokenizer) -> None:
    split = pre_tokenizers.Split(Regex(r"\w+|\W+"), "isolated")
    library.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(use_regex=False)])


@pytest.mark.parametrize("change", [_added, _prefix, _other_words])
def test_tokenizers_that_cut_otherwise_are_left_to_others(change: Callable[[Tokenizer], None], tmp_path: Path) -> None:
    library = tokenizer_of(words())
    assert BytePairs.knows(library)
    change(library)
    assert not BytePairs.knows(library)
    path = tmp_path / "tokenizer.json"
    library.save(str(path))
    texts = ["the steel works's furnace", MIXED]
    assert [ids.tolist() for ids in Encoder(path).encode([one.encode() for one in texts])] == expected(library, texts)
