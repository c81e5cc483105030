"""How often a document holds UTF-8 that somebody read as Windows-1252, such as an e with an accent become two signs."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pyarrow as pa

from data_svc.worker.batches import texts_of
from data_svc.worker.operators.operator import Operator

__all__ = ["OPERATOR"]

# Lead bytes C2 and C3 read as letters before what Windows-1252 makes of a byte from 80 to BF; E2 80, read so, whole.
_SECOND = rb"(?:\xc2[\x80-\xbf]|\xe2[\x80-\x84][\x80-\xbf]|\xc5[\x92\x93\xa0\xa1\xb8\xbd\xbe]|\xcb[\x86\x9c]|\xc6\x92)"
_MOJIBAKE = re.compile(rb"\xc3[\x82\x83]%s|\xc3\xa2\xe2\x82\xac" % _SECOND)


def _count(batch: pa.RecordBatch) -> Mapping[str, pa.Array]:
    counts = [0 if text.isascii() else sum(1 for _ in _MOJIBAKE.finditer(text)) for text in texts_of(batch)]
    return {"mojibake": pa.array(counts, pa.int64())}


OPERATOR = Operator("mojibake", 1, _count)
