"""Documents that say the same as a longer one of their source in mostly the same words: opt-in, for it errs.

Memory: 64 MB of text to learn from, and 1 kB per document of a source.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from data_svc.domain.reasons import Reason
from data_svc.domain.source_groups import group_sources
from data_svc.worker.documents import Documents, hexadecimal
from data_svc.worker.rejections import Rejections
from data_svc.worker.semantics import Basis, similar_pairs
from data_svc.worker.slices import Numbers

__all__ = ["drop_semantic"]

_LEARN_BYTES, _LEARN_DOCUMENTS = 64 << 20, 20_000


def drop_semantic(
    documents: Documents, threshold: float, rejections: Rejections, tick: Callable[[str, float], None]
) -> Documents:
    """Return the documents, in the same order, without those whose cosine to another of their source is `threshold`.

    The longest survives, then the smallest id. Sources are folders as of `group_sources`.
    """
    if not threshold or len(documents) < 2:
        return documents
    basis = Basis.fit(documents.texts.read(_learnt(documents)))
    paths = documents.table["source"].to_pylist()
    groups = group_sources(paths)
    _, group = np.unique([groups[path] for path in paths], return_inverse=True)
    order = np.lexsort((documents.ids, -documents.numbers("characters"), group))
    stands = np.arange(len(documents))
    cosines = np.zeros(len(documents))
    for members in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        batches = documents.texts.batches(members)
        vectors = np.concatenate([basis.vectors(documents.texts.read(batch)) for batch in batches])
        tick("comparing what documents say", members[0] / len(documents))
        for first, second in similar_pairs(vectors, threshold).tolist():
            one, other = members[first], members[second]
            if stands[one] == one and stands[other] == other:
                stands[other] = one
                cosines[other] = vectors[first] @ vectors[second]
    dropped = np.flatnonzero(stands != np.arange(len(documents)))
    rejections.add_columns(
        source=documents.table["source"].take(dropped),
        reason=[str(Reason.SEMANTIC_DUPLICATE)] * len(dropped),
        detail=[f"says the same as {paths[stands[at]]}, cosine {cosines[at]:.3f}" for at in dropped.tolist()],
        size_bytes=documents.texts.sizes[dropped],
        duplicate_of=hexadecimal(documents.ids[stands[dropped]]),
    )
    return documents.take(np.flatnonzero(stands == np.arange(len(documents))))


def _learnt(documents: Documents) -> Numbers:
    """Return documents to learn from: those with the smallest ids, which are no selection by content."""
    order = np.argsort(documents.ids, kind="stable")[:_LEARN_DOCUMENTS]
    within = np.cumsum(documents.texts.sizes[order]) <= _LEARN_BYTES
    return order[: max(int(within.sum()), 1)]
