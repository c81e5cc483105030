"""Words, repetition and letters: what the gates look at."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import pyarrow as pa

from data_svc.worker.batches import flat
from data_svc.worker.kernels import repetition
from data_svc.worker.operators.operator import Operator

__all__ = ["OPERATOR"]

_NAMES = ("words", "repeated_line_share", "repeated_ngram_share", "letter_share")


def _measure(batch: pa.RecordBatch) -> Mapping[str, pa.Array]:
    data, bounds = flat(batch)
    found = [repetition(data[start:end]) for start, end in pairwise(bounds.tolist())]
    return {name: pa.array(values) for name, values in zip(_NAMES, zip(*found, strict=True), strict=True)}


OPERATOR = Operator("repetition", 1, _measure)
