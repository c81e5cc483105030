"""MinHash signatures over runs of three words, by which near duplicates meet, and a sample of these runs.

The sample finds documents that lie in longer ones: `shingle_sample` has the 32-bit values of a document, little-endian.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from data_svc.worker import minhash
from data_svc.worker.batches import flat, vectors
from data_svc.worker.operators.operator import Operator

__all__ = ["OPERATOR"]


def _sign(batch: pa.RecordBatch) -> Mapping[str, pa.Array]:
    words = minhash.words(*flat(batch), minhash.fold_table())
    shingles = minhash.shingles(*words, minhash.RUN_WORDS)
    values, bounds = minhash.sampled(*shingles)
    buffers = [None, pa.py_buffer(bounds * values.itemsize), pa.py_buffer(values)]
    sample = pa.Array.from_buffers(pa.large_binary(), len(batch), buffers)
    return {"signature": vectors(minhash.signatures(*shingles)), "shingle_sample": sample}


OPERATOR = Operator("minhash_signature", 2, _sign)
