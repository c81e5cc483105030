"""The language of every document, told from three samples of it."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from data_svc.worker.batches import texts_of
from data_svc.worker.language import detect
from data_svc.worker.operators.operator import Operator

__all__ = ["OPERATOR"]


def _detect(batch: pa.RecordBatch) -> Mapping[str, pa.Array]:
    return {"language": pa.array([detect(text) for text in texts_of(batch)], pa.string())}


OPERATOR = Operator("language", 2, _detect)
