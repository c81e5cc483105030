from __future__ import annotations

import numpy as np
from bessemer.artifacts.shard import BOUND
from data_svc.worker import kernels
from data_svc.worker.packing import pack
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.data_svc.conftest import prose


def data(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)


def test_repetition_of_prose_is_low_and_of_spam_is_high() -> None:
    words, lines, ngrams, letters = kernels.repetition(data(prose(1, 400)))
    assert words > 300
    assert lines == 0
    assert ngrams < 0.05
    assert letters > 0.6
    _, lines, ngrams, _ = kernels.repetition(data("buy cheap pills now\n" * 200))
    assert lines > 0.9
    assert ngrams > 0.9
    assert kernels.repetition(data(""))[0] == 0


def best_fit_in_python(lengths: list[int], capacity: int) -> int:
    free: list[int] = []
    for length in lengths:
        fitting = [space for space in free if space >= length]
        if fitting:
            free.remove(min(fitting))
            free.append(min(fitting) - length)
        else:
            free.append(capacity - length)
    return len(free)


@given(st.lists(st.integers(1, 33), max_size=60))
@settings(max_examples=200, deadline=None)
def test_best_fit_never_overfills_and_uses_as_few_rows_as_the_reference(lengths: list[int]) -> None:
    ordered = sorted(lengths, reverse=True)
    rows = kernels.best_fit(np.array(ordered, np.int64), 33)
    fill = np.bincount(rows, ordered) if ordered else np.zeros(0)
    assert (fill <= 33).all()
    assert len(fill) == best_fit_in_python(ordered, 33)


@given(st.lists(st.integers(0, 100), max_size=40), st.integers(1, 32), st.integers(0, 5))
@settings(max_examples=200, deadline=None)
def test_pack_covers_every_token_once_without_overlap(lengths: list[int], width: int, seed: int) -> None:
    bounds = pack(np.array(lengths, np.int64), width, seed)
    assert bounds.dtype == BOUND
    seen = {(int(b["document"]), int(b["start"]) + k) for b in bounds for k in range(b["length"])}
    assert seen == {(document, token) for document, length in enumerate(lengths) for token in range(length)}
    assert sum(int(b["length"]) for b in bounds) == sum(lengths)
    places = {(int(b["row"]), int(b["offset"]) + k) for b in bounds for k in range(b["length"])}
    assert len(places) == sum(lengths)
    assert all(b["offset"] + b["length"] <= width for b in bounds)
    cut = {int(b["document"]) for b in bounds if b["length"] != lengths[b["document"]]}
    assert all(lengths[document] > width for document in cut)
