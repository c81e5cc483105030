"""Long documents are measured in pieces, and short ones as they were."""

from __future__ import annotations

import numpy as np
import pytest
from data_svc.domain.quality_rules import QualityMeasures
from data_svc.worker.batches import batches
from data_svc.worker.kernels import repetition
from data_svc.worker.operators.repetition import OPERATOR
from data_svc.worker.pieces import PIECE_BYTES, pieces
from data_svc.worker.quality import measure
from data_svc.worker.sandbox import ParsedDocument
from hypothesis import given
from hypothesis import strategies as st

from .conftest import prose


@given(st.text(alphabet="ab \né€😀", max_size=200), st.integers(8, 40))
def test_pieces_are_short_whole_characters_and_together_the_text(text: str, most: int) -> None:
    data = text.encode()
    found = [*pieces(data, most)]
    assert b"".join(found) == data
    assert all(len(piece) <= most for piece in found)
    assert all(piece.decode() for piece in found[:-1])


def test_pieces_end_with_lines_where_there_are_any() -> None:
    text = b"a line of text\n" * 100
    assert all(piece.endswith(b"\n") for piece in pieces(text, 64))


def test_measures_of_a_long_document_are_those_of_its_pieces_together() -> None:
    part = "\n".join(prose(number) for number in range(400))
    text = "\n".join(part.replace("steel", f"steel{number}") for number in range(20)).encode()
    assert len(text) > PIECE_BYTES
    whole = measure(text)
    each = [measure(piece) for piece in pieces(text)]
    for name in ("characters", "tokens", "words"):
        assert getattr(whole, name) == sum(getattr(of, name) for of in each)
    weights = [of.words for of in each]
    assert whole.mean_word_length == pytest.approx(np.average([of.mean_word_length for of in each], weights=weights))
    assert isinstance(whole, QualityMeasures)
    [batch] = batches([(0, ParsedDocument("a", "text", text, len(text.decode()), 0))])
    found = OPERATOR.annotate(batch)
    alone = [repetition(np.frombuffer(piece, np.uint8)) for piece in pieces(text)]
    assert found["words"][0].as_py() == sum(of[0] for of in alone)
    assert min(of[2] for of in alone) <= found["repeated_ngram_share"][0].as_py() <= max(of[2] for of in alone)
