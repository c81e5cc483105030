"""Exact and near duplicates, and families of related documents that the split must not tear apart.

Cost: one pass over all texts for the signatures, a second over those of candidate pairs for the exact comparison.
Memory: 500 bytes per document, and the shingles of `_BATCH_BYTES` of text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from data_svc.domain.reasons import Reason, Rejection
from data_svc.worker import families, minhash
from data_svc.worker.corpus import Corpus, Document

__all__ = ["RELATED_SIMILARITY", "drop_duplicates", "drop_exact"]

Pairs = npt.NDArray[np.int64]

RELATED_SIMILARITY = 0.5
_RUNS = (3, 5)  # words; threes find copies with many small edits, fives see through stock phrases
_CONTAINED_MIN = 0.9
_ALL_PAIRS_MAX = 50
_BATCH_BYTES = 4 << 20
_AGREEMENT_MIN = 0.35  # of the signatures; a pair that is half similar falls below once in two thousand


def drop_exact(documents: Sequence[Document]) -> tuple[list[Document], list[Rejection]]:
    """Return the documents with one of each text, the one whose source sorts first, in order of source."""
    kept: dict[str, Document] = {}
    rejections = []
    for document in sorted(documents, key=lambda document: (document.source, document.id)):
        if document.sha256 in kept:
            rejections.append(_duplicate(Reason.EXACT_DUPLICATE, document, kept[document.sha256], "the same text"))
        else:
            kept[document.sha256] = document
    return list(kept.values()), rejections


def drop_duplicates(
    corpus: Corpus, documents: Sequence[Document], threshold: float, tick: Callable[[str, float], None]
) -> tuple[list[Document], list[Rejection]]:
    """Return the documents without near duplicates, with `family` filled in, and the dropped ones.

    Documents are the same if the Jaccard similarity of their runs of three or of five words is `threshold` or more. The
    longest survives, then the smallest id. Documents that are at least half similar, or whose shorter one is nearly
    contained in the longer, form a family.
    """
    # Longest first, so that the lower number of a pair survives; names of files must not matter.
    documents = sorted(documents, key=lambda document: (-document.measures.characters, document.id))
    rows = np.empty((len(documents), minhash.NUM_HASHES), np.uint32)
    done = 0
    for batch in corpus.batches(documents, _BATCH_BYTES):
        tick(f"comparing {len(documents)} documents", done / len(documents))
        rows[done : done + len(batch)] = minhash.signatures(*_shingles(corpus, batch, _RUNS[0]))
        done += len(batch)
    chosen, parents = np.arange(len(documents)), np.arange(len(documents))
    alive, complete = chosen, False
    while not complete:  # a large group is not compared in full: its survivors are, until none is dropped
        pairs, complete = minhash.candidates(rows[alive], _AGREEMENT_MIN, _ALL_PAIRS_MAX)
        pairs, same, related = _compared(corpus, documents, alive[pairs], threshold)
        families.stand_ins(chosen, pairs[same])
        families.roots(parents, pairs[related])
        before, alive = alive, np.flatnonzero(chosen == np.arange(len(documents)))
        complete = complete or len(alive) == len(before)
    families.roots(chosen, np.empty((0, 2), np.int64))  # whoever was dropped in a later round has a survivor too
    return _survivors(documents, chosen, parents)


def _shingles(
    corpus: Corpus, documents: Sequence[Document], num_words: int
) -> tuple[minhash.Hashes, minhash.Offsets]:
    texts = [corpus.text_bytes(document) for document in documents]
    offsets = np.cumsum([0, *(len(text) for text in texts)])
    return minhash.shingles(np.frombuffer(b"".join(texts), np.uint8), offsets, minhash.fold_table(), num_words)


def _compared(
    corpus: Corpus, documents: Sequence[Document], pairs: Pairs, threshold: float
) -> tuple[Pairs, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return the pairs, sorted, and which of them are the same and which are related.

    They are compared group by group, so that few texts are read twice.
    """
    groups = np.arange(len(documents))
    families.roots(groups, pairs)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0], groups[pairs[:, 0]]))]
    sizes = np.array([document.text_bytes for document in documents], np.int64)
    results = np.empty((len(_RUNS), len(pairs), 2))
    start = 0
    for end in families.batch_ends(pairs, sizes, _BATCH_BYTES):
        members, places = np.unique(pairs[start:end], return_inverse=True)
        batch = [documents[member] for member in members]
        for at, num_words in enumerate(_RUNS):
            keys, bounds = families.distinct(*_shingles(corpus, batch, num_words))
            results[at, start:end] = families.compare(places.reshape(-1, 2), keys, bounds)
        start = end
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    pairs, results = pairs[order], results[:, order]
    same = results[:, :, 0].max(axis=0) >= threshold
    similar, contained = results[0].T
    return pairs, same, same | (similar >= RELATED_SIMILARITY) | (contained >= _CONTAINED_MIN)


def _survivors(
    documents: Sequence[Document], chosen: npt.NDArray[np.int64], parents: npt.NDArray[np.int64]
) -> tuple[list[Document], list[Rejection]]:
    """Fill in the families, named after their smallest id, and return who survives and who is dropped, by source."""
    names: dict[int, str] = {}
    for document, root in zip(documents, parents.tolist(), strict=True):
        names[root] = min(names.get(root, document.id), document.id)
    kept, rejections = [], []
    for document, root, stand_in in zip(documents, parents.tolist(), chosen.tolist(), strict=True):
        document.family = names[root]
        if documents[stand_in] is document:
            kept.append(document)
        else:
            rejections.append(
                _duplicate(Reason.NEAR_DUPLICATE, document, documents[stand_in], "nearly the same text")
            )
    rejections.sort(key=lambda rejection: rejection.source)
    return sorted(kept, key=lambda document: (document.source, document.id)), rejections


def _duplicate(reason: Reason, document: Document, of: Document, detail: str) -> Rejection:
    return Rejection(document.source, reason, f"{detail} as {of.source}", document.text_bytes, of.id)
