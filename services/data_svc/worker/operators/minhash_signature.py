"""MinHash signatures over runs of three words, by which near duplicates meet."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from data_svc.worker import minhash
from data_svc.worker.batches import flat, vectors
from data_svc.worker.operators.operator import Operator

__all__ = ["OPERATOR"]


def _sign(batch: pa.RecordBatch) -> Mapping[str, pa.Array]:
    words = minhash.words(*flat(batch), minhash.fold_table())
    return {"signature": vectors(minhash.signatures(*minhash.shingles(*words, minhash.RUN_WORDS)))}


OPERATOR = Operator("minhash_signature", 1, _sign)
