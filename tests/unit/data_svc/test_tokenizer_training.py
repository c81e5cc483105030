from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from bessemer.kernel.errors import InvalidRequest
from data_svc.domain.byte_alphabet import ALPHABET, bytes_of, letters_of
from data_svc.domain.tokenizer_training import Listed, choose_sample, judge_extension
from data_svc.worker.merges import Start, learn
from data_svc.worker.pretokens import PieceCounter
from data_svc.worker.tokenizer_file import read_base
from data_svc.worker.train_tokenizer import extend, train
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = ("<|endoftext|>", "<|im_start|>")
TEXTS = [path.read_text() for path in sorted(Path(__file__).parents[3].glob("services/data_svc/w*/*.py"))]
GERMAN = [
    "Der Hochofen wird beschickt, und die Schlacke fließt ab. Die Gießerei gießt die Gußform; 1234 °C sind üblich.\n"
    * 3,
    "Rußfilterüberwachungsanlage, Hochofenschlackenabfuhr, Gießereischlackenabfuhr: 2024-11-25\t✓ naïve 漢字 😀\n" * 5,
]
# Letters that Python's Unicode knows; of others nothing is learned.
text = st.text(st.characters(exclude_categories=("Cs", "Cn")), max_size=80) | st.text(
    "ab 'slrtvemd1\uff12.\n\t\u00a0é漢", max_size=40
)


def hugging_face(texts: list[str], size: int, split: object, special: tuple[str, ...] = SPECIAL) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=list(special),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            min_frequency=2,
            show_progress=False,
        ),
    )
    return tokenizer


def digits_apart() -> object:
    return pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )


BASES = {
    "smollm2": digits_apart,
    "gpt2": lambda: pre_tokenizers.ByteLevel(add_prefix_space=False),
    "llama3": lambda: pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(
                Regex(r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|\s+|[^\s\p{L}\p{N}]+"), "isolated"
            ),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    ),
}


@pytest.fixture(scope="module", params=sorted(BASES))
def base_path(request, tmp_path_factory) -> Path:
    tokenizer = hugging_face(TEXTS, 700, BASES[request.param]())
    tokenizer.add_special_tokens([AddedToken("<|late|>", special=True)])  # beyond the vocabulary, as in Llama 3
    path = tmp_path_factory.mktemp("base") / "tokenizer.json"
    tokenizer.save(str(path))
    return path


@pytest.fixture(scope="module")
def extended(base_path) -> tuple[Tokenizer, Tokenizer, dict[int, list[int]]]:
    made = extend(GERMAN, read_base(base_path), 120)
    return Tokenizer.from_file(str(base_path)), Tokenizer.from_str(made.text), made.stands_for


@given(text, st.booleans())
@settings(max_examples=300, deadline=None)
def test_pieces_are_those_of_the_library(words, splits_digits):
    counter = PieceCounter(splits_digits=splits_digits)
    counter.add(words)
    library = digits_apart() if splits_digits else pre_tokenizers.ByteLevel(add_prefix_space=False)
    expected = Counter(piece for piece, _ in library.pre_tokenize_str(words))
    found = counter.result()
    assert dict(zip(map(letters_of, found.pieces()), found.counts.tolist(), strict=True)) == expected


def test_piece_counter_grows_and_forgets_nothing():
    counter = PieceCounter(splits_digits=False)
    for number in range(300):
        counter.add(
            " ".join(f"w{'x' * (number % 7)}{chr(97 + n % 26)}{chr(97 + n // 26 % 26)}{number}" for n in range(400))
        )
    assert int(counter.result().counts.sum()) == 300 * 400 * 2
    assert len(set(counter.result().pieces())) == len(counter.result().counts)


def test_unknown_letters_and_endless_pieces_are_not_learned_from():
    counter = PieceCounter(splits_digits=True)
    counter.add("a\u0378b " + "x" * 5000)
    assert set(counter.result().pieces()) == {b"a", b"b"}


def plain_merges(words: dict[bytes, int], start: Start, num_new: int) -> list[tuple[int, int]]:
    """Sennrich's loop, with every count made anew."""
    pieces = {word: [start.byte_ids[byte] for byte in word] for word in words}
    names = {number: bytes([byte]) for byte, number in enumerate(start.byte_ids)}
    taken = set(start.taken)
    barred: set[tuple[int, int]] = set()
    found: list[tuple[int, int]] = []
    while len(found) < num_new:
        counts: Counter[tuple[int, int]] = Counter()
        for word, ids in pieces.items():
            for pair in pairwise(ids):
                counts[pair] += words[word]
        ranked = [(-count, pair) for pair, count in counts.items() if pair not in barred and count > 1]
        if not ranked:
            break
        pair = min(ranked)[1]
        token = names[pair[0]] + names[pair[1]]
        if token in taken:
            barred.add(pair)
            continue
        taken.add(token)
        new = start.next_id + len(found)
        names[new] = token
        found.append(pair)
        for word, ids in pieces.items():
            joined: list[int] = []
            for number in ids:
                if joined and (joined[-1], number) == pair and joined[-1] != new:
                    joined[-1] = new
                else:
                    joined.append(number)
            pieces[word] = joined
    return found


@given(st.lists(st.text("abc", min_size=1, max_size=12), min_size=1, max_size=12), st.sampled_from(["", "ab", "cc"]))
@settings(max_examples=200, deadline=None)
def test_merges_are_those_of_the_plain_loop(words, special):
    counter = PieceCounter(splits_digits=True)
    for word in words:
        counter.add(word)
    start = Start([byte + 1 for byte in range(256)], (), [special.encode()] if special else [], 257)
    counts = Counter(word.encode() for word in words)
    assert learn(counter.result(), start, 20) == plain_merges(counts, start, 20)


def test_new_tokenizer_has_the_merges_of_the_library():
    ours = json.loads(train(TEXTS, 1500, SPECIAL))
    theirs = json.loads(hugging_face(TEXTS, 1500, digits_apart()).to_str())
    assert ours["model"]["merges"] == theirs["model"]["merges"]
    assert ours["model"]["vocab"] == theirs["model"]["vocab"]


def test_training_is_deterministic_and_keeps_special_tokens_out_of_merges():
    texts = [*TEXTS, "PAD PAD PAD <|endoftext|> " * 50]
    made = train(texts, 800, ("<|endoftext|>", "PAD"))
    assert made == train(texts, 800, ("<|endoftext|>", "PAD"))
    tokenizer = Tokenizer.from_str(made)
    assert [tokenizer.token_to_id(token) for token in ("<|endoftext|>", "PAD")] == [0, 1]
    assert all("".join(pair) != "PAD" for pair in json.loads(made)["model"]["merges"])
    tokenizer.encode_special_tokens = True
    assert 1 not in tokenizer.encode("PAD").ids


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Tokenizer, object, object]:
    import fastokens
    from transformers import PreTrainedTokenizerFast

    path = tmp_path_factory.mktemp("trained") / "tokenizer.json"
    path.write_text(train([*TEXTS, *GERMAN], 1200, SPECIAL))
    return (
        Tokenizer.from_file(str(path)),
        PreTrainedTokenizerFast(tokenizer_file=str(path)),
        fastokens.Tokenizer.from_file(str(path)),
    )


@given(text)
@settings(max_examples=200, deadline=None)
def test_new_tokenizer_is_the_same_in_three_libraries_and_gives_every_text_back(trained, words):
    ours, transformers, fast = trained
    ids = ours.encode(words).ids
    assert transformers(words, add_special_tokens=False)["input_ids"] == ids
    assert list(fast.encode(words, add_special_tokens=False).ids) == ids
    assert ours.decode(ids, skip_special_tokens=False) == words
    assert transformers.decode(ids, clean_up_tokenization_spaces=False) == words


@given(st.binary(max_size=60))
@settings(deadline=None)
def test_new_tokenizer_has_a_token_for_every_byte(trained, data):
    ours = trained[0]
    names = [ALPHABET[byte] for byte in data]
    ids = [ours.token_to_id(name) for name in names]
    assert b"".join(bytes_of(ours.id_to_token(number)) for number in ids) == data


@given(text | st.sampled_from([*GERMAN, *TEXTS[:3]]))
@settings(max_examples=200, deadline=None)
def test_extension_never_needs_more_tokens_and_gives_every_text_back(extended, words):
    base, new, stands_for = extended
    before, after = base.encode(words).ids, new.encode(words).ids
    assert len(after) <= len(before)
    assert [old for number in after for old in stands_for.get(number, [number])] == before
    assert new.decode(after, skip_special_tokens=False) == words


def test_extension_keeps_old_ids_and_every_new_token_is_reached(extended):
    import fastokens

    base, new, stands_for = extended
    old_ids = base.get_vocab()
    assert {token: new.token_to_id(token) for token in old_ids} == old_ids
    assert sorted(stands_for) == list(range(len(old_ids), new.get_vocab_size()))
    assert len(stands_for) > 60
    for number in stands_for:
        assert [token.id for token in new.model.tokenize(new.id_to_token(number))] == [number]
    new.encode_special_tokens = False
    assert new.encode("<|late|>").ids == [old_ids["<|late|>"]]
    fast = fastokens.Tokenizer.from_json_str(new.to_str())
    assert all(list(fast.encode(words).ids) == new.encode(words).ids for words in (*GERMAN, *TEXTS))


def test_base_that_is_not_byte_level_is_refused(tmp_path):
    path = tmp_path / "tokenizer.json"
    Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]")).save(str(path))
    with pytest.raises(InvalidRequest, match="byte-level BPE"):
        read_base(path)


def test_sample_takes_each_source_group_by_its_share():
    documents = [Listed(f"{n}", f"{n * 7919 % 997:03}", f"{'a' if n % 4 else 'b'}/{n}.txt", 100) for n in range(400)]
    documents.append(Listed("x", "0", "lonely.txt", 100))
    chosen = choose_sample(documents, 8000)
    groups = Counter(d.source.split("/")[0] for d in documents if d.id in chosen)
    assert groups == {"a": 59, "b": 19, "lonely.txt": 1}
    assert choose_sample(documents[::-1], 8000) == chosen
    assert len(choose_sample(documents, 10**9)) == 401


def test_verdict_names_the_number_that_decides():
    assert judge_extension(1000, 850, 60_000_000).worth_it
    few = judge_extension(1000, 850, 20_000_000)
    assert not few.worth_it
    assert "from 50 M on" in few.reason
    little = judge_extension(1000, 950, 60_000_000)
    assert not little.worth_it
    assert "from 10%" in little.reason
