"""Words, repetition and letters: what the gates look at."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from data_svc.worker.batches import texts_of
from data_svc.worker.kernels import repetition
from data_svc.worker.operators.operator import Operator
from data_svc.worker.pieces import pieces

__all__ = ["OPERATOR"]

_NAMES = ("words", "repeated_line_share", "repeated_ngram_share", "letter_share")


def _repetition(text: bytes) -> tuple[int, float, float, float]:
    """Return what `repetition` does; of a long document the means of its pieces, which words and bytes weigh."""
    found = [(len(piece), repetition(np.frombuffer(piece, np.uint8))) for piece in pieces(text)]
    size, words = max(len(text), 1), sum(of[0] for _, of in found)
    if len(found) == 1:
        return found[0][1]
    return (
        words,
        sum(length * of[1] for length, of in found) / size,
        sum(of[0] * of[2] for _, of in found) / max(words, 1),
        sum(length * of[3] for length, of in found) / size,
    )


def _measure(batch: pa.RecordBatch) -> Mapping[str, pa.Array]:
    found = [_repetition(text) for text in texts_of(batch)]
    return {name: pa.array(values) for name, values in zip(_NAMES, zip(*found, strict=True), strict=True)}


OPERATOR = Operator("repetition", 2, _measure)
