"""The language of every document, told from three samples of it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import eldc
import pyarrow as pa

from data_svc.worker.batches import texts_of
from data_svc.worker.operators.operator import Operator

__all__ = ["OPERATOR"]

_SAMPLE = 400  # characters from the beginning, the middle and the end tell the language

_load = cache(eldc.init)


def _detect(batch: pa.RecordBatch) -> Mapping[str, pa.Array]:
    _load()
    return {"language": pa.array([eldc.detect(_sample(text.decode())) for text in texts_of(batch)], pa.string())}


def _sample(text: str) -> str:
    if len(text) <= 3 * _SAMPLE:
        return text
    middle = len(text) // 2
    return " ".join((text[:_SAMPLE], text[middle : middle + _SAMPLE], text[-_SAMPLE:]))


OPERATOR = Operator("language", 1, _detect)
