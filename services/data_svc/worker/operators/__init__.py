"""Operators: each looks at the documents of a batch and writes columns of its own beside them; none drops a row.

What a version keeps is decided later, from these columns, so that another threshold costs no second reading.
To add one, write its file here and name it in `operators_of`; raise its version whenever its columns change.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from data_svc.domain.recipes import Recipe
from data_svc.worker.operators import (
    identity,
    language,
    minhash_signature,
    mojibake,
    redaction,
    repetition,
    web_measures,
)
from data_svc.worker.operators.operator import Operator

__all__ = ["annotate", "operators_of"]


def operators_of(recipe: Recipe) -> tuple[Operator, ...]:
    """Return what a recipe wants every document annotated with, in order: redaction first, for it rewrites the text."""
    return (
        redaction.operator(recipe.redact),
        identity.OPERATOR,
        repetition.OPERATOR,
        web_measures.OPERATOR,
        language.OPERATOR,
        mojibake.OPERATOR,
        minhash_signature.OPERATOR,
    )


def annotate(batch: pa.RecordBatch, operators: Sequence[Operator]) -> pa.RecordBatch:
    """Return a batch with the columns of all operators; a column that is there already is replaced."""
    for operator in operators:
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        batch = pa.RecordBatch.from_pydict(columns | dict(operator.annotate(batch)))
    return batch
