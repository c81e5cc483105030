import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serve_svc.engine.text import TextStream


def decode_bytes(tokens: list[int]) -> str:
    return bytes(tokens).decode(errors="replace")


def run(data: bytes, stop=()) -> tuple[list[str], bool]:
    stream = TextStream(decode_bytes, stop)
    pieces = []
    for token in data:
        pieces.append(stream.push(token))
        if stream.stopped:
            return pieces, True
    pieces.append(stream.finish())
    return pieces, stream.stopped


def test_text_split_character_is_held_until_whole():
    pieces, _ = run("aé漢😀b".encode())
    assert [piece for piece in pieces if piece] == ["a", "é", "漢", "😀", "b"]


def test_text_cut_inside_a_character_ends_with_replacement():
    pieces, _ = run("a😀".encode()[:-1])
    assert "".join(pieces) == "a\ufffd"


def test_text_stop_string_over_many_tokens_is_never_shown():
    pieces, stopped = run(b"one two STOP three", ["STOP"])
    assert stopped
    assert "".join(pieces) == "one two "
    assert all("S" not in piece for piece in pieces)


def test_text_false_beginning_of_stop_string_is_given_back():
    pieces, stopped = run(b"STSTOX", ["STOP"])
    assert not stopped
    assert "".join(pieces) == "STSTOX"


def test_text_held_back_at_the_end_is_given_back():
    assert "".join(run(b"almost STO", ["STOP"])[0]) == "almost STO"


@pytest.mark.parametrize(("stop", "expected"), [(["bcd", "c"], "ab"), (["abc", "b"], "a"), (["d", "cd"], "abc"[:2])])
def test_text_of_several_stops_the_first_to_end_wins(stop, expected):
    assert "".join(run(b"abcd", stop)[0]) == expected


@given(st.text(max_size=40), st.lists(st.text("ab", min_size=1, max_size=3), max_size=3), st.data())
def test_text_does_not_depend_on_how_tokens_cut_it(text, stop, data):
    """Tokens of several bytes give the same text as tokens of one byte."""
    whole = text.encode()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(whole)), max_size=8)) | {0, len(whole)})
    parts = [whole[a:b] for a, b in itertools.pairwise(cuts)]
    stream = TextStream(lambda tokens: b"".join(parts[t] for t in tokens).decode(errors="replace"), stop)
    pieces = []
    for token in range(len(parts)):
        pieces.append(stream.push(token))
        if stream.stopped:
            break
    else:
        pieces.append(stream.finish())
    expected, stopped = run(whole, stop)
    assert "".join(pieces) == "".join(expected)
    assert stream.stopped == stopped


@given(st.binary(max_size=60))
def test_text_of_any_bytes_equals_decoding_all_at_once(data):
    assert "".join(run(data)[0]) == decode_bytes(list(data))
