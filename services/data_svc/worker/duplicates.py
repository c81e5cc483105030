"""Exact and near duplicates, and families of related documents that the split must not tear apart.

Cost: one pass over all texts for the signatures, a second over those of candidate pairs for the exact comparison.
Memory: 500 bytes per document, and the shingles of `_BATCH_BYTES` of text.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from data_svc.domain.reasons import Reason, Rejection
from data_svc.worker import families, minhash
from data_svc.worker.corpus import Corpus, Document

__all__ = ["RELATED_SIMILARITY", "drop_duplicates", "drop_exact"]

RELATED_SIMILARITY = 0.5
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

    Of documents at least `threshold` similar (Jaccard, runs of three words) the longest survives, then the smallest id.
    Documents that are at least half similar, or whose shorter one is nearly contained in the longer, form a family.
    """
    documents = sorted(documents, key=lambda document: document.id)  # the order must not depend on names of files
    rows = np.empty((len(documents), minhash.NUM_HASHES), np.uint32)
    done = 0
    for batch in corpus.batches(documents, _BATCH_BYTES):
        tick(f"comparing {len(documents)} documents", done / len(documents))
        rows[done : done + len(batch)] = minhash.signatures(*_shingles(corpus, batch))
        done += len(batch)
    pairs = minhash.candidates(rows, _AGREEMENT_MIN, _ALL_PAIRS_MAX)
    same, related = _joined(corpus, documents, pairs, threshold)
    return _survivors(documents, same, related)


def _shingles(corpus: Corpus, documents: Sequence[Document]) -> tuple[minhash.Hashes, minhash.Offsets]:
    texts = [corpus.text_bytes(document) for document in documents]
    offsets = np.cumsum([0, *(len(text) for text in texts)])
    return minhash.shingles(np.frombuffer(b"".join(texts), np.uint8), offsets, minhash.fold_table())


def _joined(
    corpus: Corpus, documents: Sequence[Document], pairs: npt.NDArray[np.int64], threshold: float
) -> tuple[list[int], list[int]]:
    """Return per document the root of those that are the same, and of those that are related.

    Pairs are compared group by group, so that few texts are read twice.
    """
    num = len(documents)
    groups = families.roots(num, pairs)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0], groups[pairs[:, 0]]))]
    sizes = np.array([document.text_bytes for document in documents], np.int64)
    parents = np.stack([np.arange(num), np.arange(num)])
    places = np.zeros(num, np.int64)
    limits = np.array([threshold, min(threshold, RELATED_SIMILARITY), _CONTAINED_MIN])
    start = 0
    for end in families.batch_ends(pairs, sizes, _BATCH_BYTES):
        members = np.unique(pairs[start:end])
        places[members] = np.arange(len(members))
        keys, bounds = families.distinct(*_shingles(corpus, [documents[member] for member in members]))
        families.compare(pairs[start:end], (keys, bounds, places), parents, limits)
        start = end
    same, related = ([families.find(tree, number) for number in range(num)] for tree in parents)
    return same, related


def _survivors(
    documents: Sequence[Document], same: Sequence[int], related: Sequence[int]
) -> tuple[list[Document], list[Rejection]]:
    copies: dict[int, list[Document]] = defaultdict(list)
    relatives: dict[int, list[Document]] = defaultdict(list)
    for document, copy, relative in zip(documents, same, related, strict=True):
        copies[copy].append(document)
        relatives[relative].append(document)
    for group in relatives.values():
        key = min(document.id for document in group)
        for document in group:
            document.family = key
    kept, rejections = [], []
    for group in copies.values():
        best, *rest = sorted(group, key=lambda document: (-document.measures.characters, document.id))
        kept.append(best)
        rejections += [_duplicate(Reason.NEAR_DUPLICATE, document, best, "nearly the same text") for document in rest]
    return sorted(kept, key=lambda document: (document.source, document.id)), rejections


def _duplicate(reason: Reason, document: Document, of: Document, detail: str) -> Rejection:
    return Rejection(document.source, reason, f"{detail} as {of.source}", document.text_bytes, of.id)
