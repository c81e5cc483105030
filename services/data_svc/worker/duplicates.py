"""Exact and near duplicates, and families of related documents that the split must not tear apart.

Signatures come with the partitions; the texts of candidate pairs are read once more for the exact comparison.
Memory: 100 bytes per document, and the shingles of `_BATCH_BYTES` of text; signatures are mapped from a file.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from data_svc.domain.reasons import Reason
from data_svc.worker import families, minhash
from data_svc.worker.batches import fixed
from data_svc.worker.containment import join_contained
from data_svc.worker.documents import Documents, hexadecimal
from data_svc.worker.hashing import Hashes
from data_svc.worker.rejections import Rejections
from data_svc.worker.slices import Numbers, Slices

__all__ = ["RELATED_SIMILARITY", "drop_exact", "drop_near"]

RELATED_SIMILARITY = 0.5
_LONG = 5  # words in a run; threes find copies with many small edits, fives see through stock phrases
_CONTAINED_MIN = 0.9
_ALL_PAIRS_MAX = 50
_BATCH_BYTES = 1 << 20
_SETTLED_SHARE = 0.99  # of the documents that survived a round; more rounds would find little
_AGREEMENT_MIN = 0.35  # of the signatures; a pair that is half similar falls below once in two thousand


def drop_exact(documents: Documents, rejections: Rejections) -> Documents:
    """Return the documents with one of each text, the one whose source sorts first, in order of source and id."""
    order = pc.sort_indices(documents.table, [("source", "ascending"), ("sha256", "ascending")]).to_numpy()
    documents = documents.take(order)
    _, first, group = np.unique(documents.ids, return_index=True, return_inverse=True)
    kept = first[group]  # who stands for each
    _reject(documents, kept, rejections, Reason.EXACT_DUPLICATE, "the same text as ")
    return documents.take(np.flatnonzero(kept == np.arange(len(documents))))


def drop_near(
    documents: Documents,
    threshold: float,
    rejections: Rejections,
    *,
    scratch: Path,
    tick: Callable[[str, float], None],
) -> Documents:
    """Return the documents without near duplicates, in the same order, with `family`, which is the id of one in it.

    Documents are the same if the Jaccard similarity of their runs of three or of five words is `threshold` or more. The
    longest survives, then the smallest id. Documents that are at least half similar, or of which one lies in the other
    by half as `containment` has it, form a family, named after the smallest id.
    """
    if not len(documents):
        return documents.with_column("family", fixed(documents.ids))
    # Longest first, so that the lower number of a pair survives; names of files must not matter.
    order = np.lexsort((documents.ids, -documents.numbers("characters")))
    ordered = documents.take(order)
    rows = np.asarray(ordered.annotation("signature", scratch / "signatures.bin"))
    state = np.stack([np.arange(len(order)), np.arange(len(order))])
    alive, complete = state[0].copy(), False
    while not complete:  # a large group is not compared in full: its survivors are again, while that drops some
        pairs, complete = minhash.candidates(rows, alive, _AGREEMENT_MIN, _ALL_PAIRS_MAX)
        _compare(ordered.texts, pairs, threshold, state=state, tick=tick)
        before, alive = alive, np.flatnonzero(state[0] == np.arange(len(order)))
        complete = complete or len(alive) > _SETTLED_SHARE * len(before)
    for tree in state:  # whoever stands for another may have been dropped in a later round
        families.roots(tree, np.empty((0, 2), np.int64))
    alive = np.flatnonzero(state[0] == np.arange(len(order)))
    samples = ordered.slices("shingle_sample")
    join_contained(ordered.texts, samples, alive, state[1], scratch=scratch, tick=tick)
    chosen, roots = np.empty_like(order), np.empty_like(order)
    chosen[order], roots[order] = order[state[0]], order[state[1]]
    documents = documents.with_column("family", fixed(_names(documents.ids, roots)))
    _reject(documents, chosen, rejections, Reason.NEAR_DUPLICATE, "nearly the same text as ")
    return documents.take(np.flatnonzero(chosen == np.arange(len(documents))))


def _names(ids: npt.NDArray[np.bytes_], roots: Numbers) -> npt.NDArray[np.bytes_]:
    """Return the smallest id of each document's family."""
    by_id = np.argsort(ids, kind="stable")
    rank = np.empty_like(by_id)
    rank[by_id] = np.arange(len(ids))
    smallest = np.full(len(ids), len(ids))
    np.minimum.at(smallest, roots, rank)
    names: npt.NDArray[np.bytes_] = ids[by_id[smallest[roots]]]
    return names


def _reject(documents: Documents, chosen: Numbers, rejections: Rejections, reason: Reason, detail: str) -> None:
    """Add the documents for which others were chosen."""
    dropped = np.flatnonzero(chosen != np.arange(len(documents)))
    sources, others = documents.table["source"], chosen[dropped]
    nothing = pa.scalar("", pa.large_string())
    rejections.add_columns(
        source=sources.take(dropped),
        reason=[str(reason)] * len(dropped),
        detail=pc.binary_join_element_wise(pa.scalar(detail, pa.large_string()), sources.take(others), nothing),
        size_bytes=documents.numbers("size")[dropped],
        duplicate_of=hexadecimal(documents.ids[others]),
    )


def _words(texts: Slices, numbers: Numbers) -> tuple[Hashes, minhash.Offsets]:
    found = texts.read(numbers)
    offsets = np.cumsum([0, *(len(text) for text in found)])
    return minhash.words(np.frombuffer(b"".join(found), np.uint8), offsets, minhash.fold_table())


def _compare(
    texts: Slices,
    pairs: Numbers,
    threshold: float,
    *,
    state: Numbers,
    tick: Callable[[str, float], None],
) -> None:
    """Compare pairs and change `state` as `families.compare` does, group by group, so that few texts are read twice."""
    groups = np.arange(len(texts.sizes))
    families.roots(groups, pairs)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0], groups[pairs[:, 0]]))]
    limits = np.array([threshold, RELATED_SIMILARITY, _CONTAINED_MIN])
    start = 0
    for end in families.batch_ends(pairs, texts.sizes, _BATCH_BYTES).tolist():
        tick(f"comparing {len(pairs)} pairs of documents", start / len(pairs))
        members, places = np.unique(pairs[start:end], return_inverse=True)
        words = _words(texts, members)
        short, long = (families.distinct(*minhash.shingles(*words, num)) for num in (minhash.RUN_WORDS, _LONG))
        families.compare(places.reshape(-1, 2), members, (*short, *long), state, limits)
        start = end
