"""The measures that rules of web corpora look at, `quality`: one row of `QualityMeasures` per document."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from data_svc.worker.batches import texts_of, vectors
from data_svc.worker.operators.operator import Operator
from data_svc.worker.quality import measure

__all__ = ["OPERATOR"]


def _measure(batch: pa.RecordBatch) -> Mapping[str, pa.Array]:
    return {"quality": vectors(np.array([measure(text) for text in texts_of(batch)], np.float64))}


OPERATOR = Operator("web_measures", 3, _measure)
