"""Counts personal data and secrets of every kind, and replaces those that the recipe names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial

import numpy as np
import pyarrow as pa

from data_svc.domain.conversations import read_row
from data_svc.domain.personal_data import KINDS
from data_svc.worker.batches import texts_of, vectors
from data_svc.worker.operators.operator import Operator
from data_svc.worker.personal_data import cleaned

__all__ = ["operator"]


def operator(kinds: tuple[str, ...]) -> Operator:
    """Return the operator that replaces findings of these kinds.

    `personal_data` holds the findings of each document before that, by kind as in `KINDS`.
    """
    return Operator("redaction", 1, partial(_redact, kinds), kinds)


def _redact(kinds: tuple[str, ...], batch: pa.RecordBatch) -> Mapping[str, pa.Array]:
    counts = np.zeros((len(batch), len(KINDS)), np.int32)
    texts, changed = texts_of(batch), False
    for number, form in enumerate(batch.column("format").to_pylist()):
        held: Counter[str] = Counter()
        text = _cleaned(texts[number], form, kinds, held)
        changed = changed or text is not texts[number]
        texts[number] = text
        counts[number] = [held[kind] for kind in KINDS]
    columns = {"personal_data": vectors(counts)}
    if changed:
        columns["text"] = pa.array(texts, pa.large_binary())
        columns["characters"] = pa.array([len(text.decode()) for text in texts], pa.int64())
    return columns


def _cleaned(text: bytes, form: str, kinds: tuple[str, ...], held: Counter[str]) -> bytes:
    """Return a text, or a conversation message by message, after redaction."""
    if form not in {"CHAT", "PREFERENCE"}:
        return cleaned(text, kinds, held)
    row = read_row(text.decode())
    return row.map_text(lambda part: cleaned(part.encode(), kinds, held).decode()).canonical().encode()
