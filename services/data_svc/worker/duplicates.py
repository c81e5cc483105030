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
from data_svc.worker.hashing import Hashes

__all__ = ["RELATED_SIMILARITY", "drop_duplicates", "drop_exact"]

Pairs = npt.NDArray[np.int64]

RELATED_SIMILARITY = 0.5
_SHORT, _LONG = 3, 5  # words in a run; threes find copies with many small edits, fives see through stock phrases
_CONTAINED_MIN = 0.9
_ALL_PAIRS_MAX = 50
_BATCH_BYTES = 4 << 20
_SETTLED_SHARE = 0.99  # of the documents that survived a round; more rounds would find little
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
        tick(f"comparing {len(documents)} documents", 0.5 * done / len(documents))
        rows[done : done + len(batch)] = minhash.signatures(*minhash.shingles(*_words(corpus, batch), _SHORT))
        done += len(batch)
    state = np.stack([np.arange(len(documents)), np.arange(len(documents))])
    alive, complete = state[0].copy(), False
    while not complete:  # a large group is not compared in full: its survivors are again, while that drops some
        pairs, complete = minhash.candidates(rows[alive], _AGREEMENT_MIN, _ALL_PAIRS_MAX)
        _compare(corpus, documents, alive[pairs], threshold, state=state, tick=tick)
        before, alive = alive, np.flatnonzero(state[0] == np.arange(len(documents)))
        complete = complete or len(alive) > _SETTLED_SHARE * len(before)
    for tree in state:  # whoever stands for another may have been dropped in a later round
        families.roots(tree, np.empty((0, 2), np.int64))
    return _survivors(documents, *state.tolist())


def _words(corpus: Corpus, documents: Sequence[Document]) -> tuple[Hashes, minhash.Offsets]:
    texts = [corpus.text_bytes(document) for document in documents]
    offsets = np.cumsum([0, *(len(text) for text in texts)])
    return minhash.words(np.frombuffer(b"".join(texts), np.uint8), offsets, minhash.fold_table())


def _compare(
    corpus: Corpus,
    documents: Sequence[Document],
    pairs: Pairs,
    threshold: float,
    *,
    state: npt.NDArray[np.int64],
    tick: Callable[[str, float], None],
) -> None:
    """Compare pairs and change `state` as `families.compare` does, group by group, so that few texts are read twice."""
    groups = np.arange(len(documents))
    families.roots(groups, pairs)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0], groups[pairs[:, 0]]))]
    sizes = np.array([document.text_bytes for document in documents], np.int64)
    limits = np.array([threshold, RELATED_SIMILARITY, _CONTAINED_MIN])
    start = 0
    for end in families.batch_ends(pairs, sizes, _BATCH_BYTES).tolist():
        tick(f"comparing {len(pairs)} pairs of documents", 0.5 + 0.5 * start / len(pairs))
        members, places = np.unique(pairs[start:end], return_inverse=True)
        words = _words(corpus, [documents[member] for member in members])
        short, long = (families.distinct(*minhash.shingles(*words, num)) for num in (_SHORT, _LONG))
        families.compare(places.reshape(-1, 2), members, (*short, *long), state, limits)
        start = end


def _survivors(
    documents: Sequence[Document], chosen: Sequence[int], parents: Sequence[int]
) -> tuple[list[Document], list[Rejection]]:
    """Fill in the families, named after their smallest id, and return who survives and who is dropped, by source."""
    names: dict[int, str] = {}
    for document, root in zip(documents, parents, strict=True):
        names[root] = min(names.get(root, document.id), document.id)
    kept, rejections = [], []
    for document, root, stand_in in zip(documents, parents, chosen, strict=True):
        document.family = names[root]
        if documents[stand_in] is document:
            kept.append(document)
        else:
            rejections.append(_duplicate(Reason.NEAR_DUPLICATE, document, documents[stand_in], "nearly the same text"))
    rejections.sort(key=lambda rejection: rejection.source)
    return sorted(kept, key=lambda document: (document.source, document.id)), rejections


def _duplicate(reason: Reason, document: Document, of: Document, detail: str) -> Rejection:
    return Rejection(document.source, reason, f"{detail} as {of.source}", document.text_bytes, of.id)
