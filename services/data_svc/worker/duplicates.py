"""Exact and near duplicates, and families of related documents that the split must not tear apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from data_svc.domain.reasons import Reason, Rejection
from data_svc.domain.splitting import Families
from data_svc.worker import kernels
from data_svc.worker.corpus import Corpus, Document

__all__ = ["RELATED_SIMILARITY", "drop_duplicates", "drop_exact"]

RELATED_SIMILARITY = 0.5
_ALL_PAIRS_MAX = 50
_TICK_DOCUMENTS = 200
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

    Of documents at least `threshold` similar the longest survives, then the smallest id. Documents that are at least
    half similar, or whose shorter one is nearly contained in the longer, form a family.
    """

    @lru_cache(maxsize=512)
    def shingles_of(number: int) -> kernels.Hashes:
        text = corpus.text(documents[number]).lower().encode()
        return kernels.shingles(np.frombuffer(text, np.uint8))

    num = len(documents)
    signatures = np.empty((num, kernels.NUM_HASHES), np.uint32)
    for number in range(num):
        signatures[number] = kernels.signature(shingles_of(number))
        if number % _TICK_DOCUMENTS == 0:
            tick(f"comparing {num} documents", number / num)
    same, related = Families(num), Families(num)
    for first, second in _candidates(kernels.band_keys(signatures), same):
        if np.mean(signatures[first] == signatures[second]) < _AGREEMENT_MIN:
            continue
        left, right = shingles_of(first), shingles_of(second)
        shared = kernels.overlap(left, right)
        similarity = shared / (left.size + right.size - shared)
        if similarity >= threshold:
            same.join(first, second)
        if similarity >= min(threshold, RELATED_SIMILARITY) or shared >= 0.9 * min(left.size, right.size):
            related.join(first, second)
    return _survivors(documents, same, related)


def _candidates(keys: npt.NDArray[np.uint64], same: Families) -> Iterator[tuple[int, int]]:
    """Yield pairs that agree in a band, each once; pairs already found to be the same are passed over."""
    asked: set[tuple[int, int]] = set()
    for band in range(keys.shape[1]):
        order = np.argsort(keys[:, band], kind="stable")
        column = keys[order, band]
        starts = np.flatnonzero(np.r_[True, column[1:] != column[:-1]]) if len(column) else np.empty(0, np.int64)
        ends = np.r_[starts[1:], len(column)]
        for start, end in zip(starts[ends - starts > 1], ends[ends - starts > 1], strict=True):
            for pair in _pairs([int(number) for number in order[start:end]]):
                if pair not in asked and same.find(pair[0]) != same.find(pair[1]):
                    asked.add(pair)
                    yield pair


def _pairs(members: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield all pairs of a small group; of a large one, each member with the first and with its neighbour."""
    for place, first in enumerate(members):
        if len(members) <= _ALL_PAIRS_MAX:
            yield from ((first, second) for second in members[place + 1 :])
        elif place:
            yield members[0], first
            yield members[place - 1], first


def _survivors(
    documents: Sequence[Document], same: Families, related: Families
) -> tuple[list[Document], list[Rejection]]:
    copies: dict[int, list[Document]] = defaultdict(list)
    relatives: dict[int, list[Document]] = defaultdict(list)
    for number, document in enumerate(documents):
        copies[same.find(number)].append(document)
        relatives[related.find(number)].append(document)
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
