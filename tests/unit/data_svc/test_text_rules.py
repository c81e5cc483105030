from __future__ import annotations

import numpy as np
import pytest
from bessemer.api.data.v1.dataset_pb2 import CurationRecipe
from bessemer.kernel.errors import InvalidRequest
from data_svc.domain.conversations import RowInvalid, read_row, render
from data_svc.domain.decoding import decode, is_damaged
from data_svc.domain.end_of_text import end_of_text
from data_svc.domain.formats import Format, sniff
from data_svc.domain.gates import Measures, gate
from data_svc.domain.markup import headers_to_text, record_to_text, rst_to_markdown
from data_svc.domain.normal_form import cut, normalise
from data_svc.domain.recipes import Recipe, recipe_of
from data_svc.domain.splitting import HELDOUT, TRAIN, splits_of, within_budget
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("head", "name", "expected"),
    [
        (b"%PDF-1.7 ...", "x", Format.PDF),
        (b"# Title\ntext", "x", Format.MARKDOWN),
        (b"<!DOCTYPE html><p>", "x", Format.HTML),
        (b'{"text": "a"}\n{"text": "b"}\n', "x", Format.JSONL),
        (b"Name: x\nVersion: 1\nSummary: y\nLicense: MIT\n\nbody", "x", Format.METADATA),
        (b"plain", "METADATA", Format.METADATA),
        (b"Title\n=====\n", "x.rst", Format.RST),
        (b"BM is how this text begins", "x.txt", Format.TEXT),
        ("Привет, мир. ".encode("koi8-r") * 40, "x.txt", Format.TEXT),
        ("hello wörld".encode("utf-16-le") * 40, "x.txt", Format.TEXT),
        (b"PK\x03\x04rest", "x.docx", Format.DOCX),
        (b"PK\x03\x04rest", "x.xlsx", Format.XLSX),
        (b"\0" * 300 + b"abc", "x.txt", Format.BINARY),
    ],
)
def test_sniff_of_head_and_name_finds_the_format(head: bytes, name: str, expected: Format) -> None:
    assert sniff(head, name)[0] == expected


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("Straße".encode(), "Straße"),
        ("\ufeffStraße".encode(), "Straße"),
        ("Straße und Café".encode("latin-1"), "Straße und Café"),
        ("Straße".encode("utf-16"), "Straße"),
        (("Wide text " * 9).encode("utf-16-be"), "Wide text " * 9),
        (b'<meta charset="koi8-r">' + "Привет".encode("koi8-r"), '<meta charset="koi8-r">Привет'),
    ],
)
def test_decode_of_known_encodings_loses_nothing(data: bytes, text: str) -> None:
    decoded = decode(data)
    assert decoded.text == text
    assert decoded.num_replaced == 0


def test_decode_of_broken_utf8_is_damaged() -> None:
    decoded = decode(("жизнь " * 50).encode() + b"\xff\xfe\xfd" * 10)
    assert decoded.encoding == "utf-8"
    assert is_damaged(decoded.num_replaced, len(decoded.text))


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_decode_of_any_bytes_gives_text(data: bytes) -> None:
    assert isinstance(normalise(decode(data).text), str)
    sniff(data, "x")


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_normalise_twice_is_once(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert "\0" not in once
    assert "\r" not in once
    assert "\n\n\n" not in once


@given(st.text(alphabet="ab \n", max_size=300), st.integers(1, 50))
def test_cut_pieces_are_short_and_join_to_the_text(text: str, limit: int) -> None:
    pieces = list(cut(text, limit))
    assert "".join(pieces) == text
    assert all(len(piece) <= limit for piece in pieces)


def test_gate_keeps_manuals_and_drops_junk() -> None:
    good = Measures(5000, 0, 800, 0.4, 0.5, 0.3)
    assert gate(good, 200) is None
    assert gate(Measures(5000, 0, 0, 0, 0, 0), 200)[0] == "EMPTY"
    assert gate(Measures(100, 0, 20, 0, 0, 0.7), 200)[0] == "TOO_SHORT"
    assert gate(Measures(5000, 100, 800, 0, 0, 0.7), 200)[0] == "ENCODING_DAMAGED"
    assert gate(Measures(5000, 0, 800, 0.0, 0.95, 0.7), 200)[0] == "REPETITIVE"


def test_recipe_out_of_range_names_the_field() -> None:
    assert recipe_of(CurationRecipe(kind=1)) == Recipe()
    assert recipe_of(CurationRecipe(kind=1, heldout_fraction=0.0)).heldout_fraction == 0
    assert recipe_of(CurationRecipe(kind=1, quality=2)) == Recipe(quality="WEB")
    with pytest.raises(InvalidRequest) as caught:
        recipe_of(CurationRecipe(kind=1, quality=7))
    assert caught.value.fields["field"] == "curation_job.recipe.quality"
    with pytest.raises(InvalidRequest) as caught:
        recipe_of(CurationRecipe(kind=2, heldout_fraction=0.9))
    assert caught.value.fields["field"] == "curation_job.recipe.heldout_fraction"
    with pytest.raises(InvalidRequest):
        recipe_of(CurationRecipe())


def test_splits_depend_on_nothing_but_family_and_seed() -> None:
    keys = [f"k{n}" for n in range(1000)]
    splits = splits_of(keys, 0, 0.1)
    assert splits == splits_of(reversed(keys), 0, 0.1)
    assert splits != splits_of(keys, 1, 0.1)
    assert 60 < sum(split == HELDOUT for split in splits.values()) < 140
    assert sorted(splits_of(["a", "b"], 0, 0.01).values()) == [HELDOUT, TRAIN]
    assert splits_of(["a"], 0, 0.5) == {"a": TRAIN}
    assert set(splits_of(keys, 0, 0.0).values()) == {TRAIN}


def test_within_budget_takes_whole_documents() -> None:
    sizes = np.array([10, 40, 20, 10, 5])
    order = np.array([4, 2, 1, 0, 3])
    assert within_budget(sizes, order, 35).tolist() == [True, False, True, False, True]
    assert within_budget(sizes, order, 0).all()
    assert within_budget(sizes, order, 4).tolist() == [False, False, False, False, True]


def test_headers_to_text_joins_folded_and_repeated_headers() -> None:
    text = headers_to_text("Name: x\nLicense: MIT\n  more\nClassifier: A\nClassifier: B\n\nBody: kept\n")
    assert text == "Name: x\nLicense: MIT\nClassifier: A, B\n\n\nBody: kept\n"


def test_rst_to_markdown_keeps_headings_code_and_prose() -> None:
    text = rst_to_markdown(
        "=====\nTitle\n=====\n\nSee :ref:`the guide <x>` and `link <http://e>`_ with ``code``.\n\nPart\n----\n\n"
        ".. include:: /etc/passwd\n\n.. raw:: html\n\n   <b>x</b>\n\n.. note::\n   Mind this.\n\n"
        ".. code-block:: sh\n\n   ls\n"
    )
    assert "# Title" in text
    assert "## Part" in text
    assert "See the guide and [link](http://e) with `code`." in text
    assert "Mind this." in text
    assert "```sh\nls" in text
    assert "passwd" not in text
    assert "<b>" not in text


def test_record_to_text_writes_keys_and_dialogues() -> None:
    text = record_to_text(
        {"QUESTION": "Why?", "turns": [["agent", "Hi"], ["user", "Yo"]], "n": 3, "x": {"y": ["a", "b"]}}
    )
    assert text.startswith("Question: Why?")
    assert "agent: Hi\nuser: Yo" in text
    assert "y: a, b" in text


def test_read_row_of_the_three_forms_and_of_wrong_ones() -> None:
    chat = '{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"x":1}'
    assert (
        read_row(chat).canonical() == '{"messages":[{"content":"q","role":"user"},{"content":"a","role":"assistant"}]}'
    )
    assert render(read_row(chat)) == "User: q\n\nAssistant: a"
    assert read_row('{"prompt":"q","chosen":"a","rejected":"b"}').kind == "PREFERENCE"
    assert read_row('{"text":"t"}').text == "t"
    assert render(read_row('{"question":"q","answer":"a"}')) == "User: q\n\nAssistant: a"
    for wrong in (
        "nope",
        "[]",
        "{}",
        '{"text":""}',
        '{"messages":[]}',
        '{"messages":[{"role":"user","content":"q"}]}',
        '{"messages":[{"role":"wizard","content":"q"}]}',
        '{"prompt":"q","chosen":"a","rejected":"a"}',
        "[" * 100_000,
    ):
        with pytest.raises(RowInvalid):
            read_row(wrong)


def test_end_of_text_prefers_the_stated_then_the_usual() -> None:
    tokens = {"<|im_end|>": 2, "<|endoftext|>": 0, "<my_eos>": 7}
    assert end_of_text(tokens) == ("<|endoftext|>", 0)
    assert end_of_text(tokens, "<|im_end|>") == ("<|im_end|>", 2)
    assert end_of_text({"[EOT]": 5}) == ("[EOT]", 5)
    assert end_of_text({"<s>": 1}) is None
