"""Pieces of a log are valid text however the bytes are cut."""

from __future__ import annotations

import pytest
from bessemer.jobs.logs import split_utf8
from hypothesis import given
from hypothesis import strategies as st


@given(st.text(), st.integers(1, 10))
def test_split_utf8_any_cut_of_text_joins_to_the_same_text(text, size):
    data, offset, pieces = text.encode(), 0, []
    while offset < len(data):
        step = size
        while not (piece := split_utf8(data[offset : offset + step])):
            step += 1
        pieces.append(piece.decode())  # strict
        offset += len(piece)
    assert "".join(pieces) == text


@given(st.binary(max_size=50))
def test_split_utf8_any_bytes_loses_at_most_an_unfinished_character(data):
    kept = split_utf8(data)
    assert data.startswith(kept)
    assert len(data) - len(kept) <= 3


@pytest.mark.parametrize("data", [b"\xff", b"a\x80", b"\x80\x80\x80\x80", b"ok"])
def test_split_utf8_bytes_that_are_no_beginning_are_not_waited_for(data):
    assert split_utf8(data) == data
