"""What a collection is about, and how fast it runs out of new words.

Topics are the clusters of spherical k-means (Dhillon and Modha 2001) over TF-IDF vectors of a sample of documents. How
varied the sample is does not depend on them: it is the Vendi score (Friedman and Dieng 2023, definition 3.1), the
number of documents without a common word that would be as varied. Equal texts, order and seed give equal results.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["SAMPLE_DOCUMENTS", "WORD", "Topic", "Topics", "find_topics", "type_token_curve"]

SAMPLE_DOCUMENTS = 3000
_SAMPLE_CHARACTERS = 6000
_TERMS_MAX = 4000
_TOPICS_MAX = 12
_ROUNDS = 20
_COMPARED = 500
_LABEL_TERMS = 5
WORD = re.compile(r"[^\W\d_]{4,24}")
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Topic:
    """A cluster: the words that set it apart, its documents' places in the sample, the most typical first."""

    words: tuple[str, ...]
    members: tuple[int, ...]


@dataclass(frozen=True)
class Topics:
    """Clusters, the largest first, and that `compared` documents are as varied as `effective_number` unlike ones."""

    topics: tuple[Topic, ...] = ()
    effective_number: float = 0.0
    compared: int = 0


def find_topics(texts: Sequence[str], seed: int = 0) -> Topics:
    """Return the topics of a sample of texts; none if fewer than eight share any words."""
    counts = [Counter(word.lower() for word in WORD.findall(text[:_SAMPLE_CHARACTERS])) for text in texts]
    vectors, terms, rarity = _vectors(counts)
    used = np.flatnonzero(vectors.any(axis=1)) if vectors.size else np.empty(0, np.int64)
    if len(used) < 8:
        return Topics()
    number = min(_TOPICS_MAX, max(2, math.isqrt(len(used) // 2)))
    labels, centres = _cluster(vectors[used], number, np.random.Generator(np.random.Philox(seed)))
    topics = []
    usual = vectors[used].mean(axis=0)
    for cluster in range(number):
        members = used[labels == cluster]
        if len(members):
            order = np.argsort(-(vectors[members] @ centres[cluster]), kind="stable")
            best = np.argsort((usual - centres[cluster]) * np.minimum(rarity, 1), kind="stable")[:_LABEL_TERMS]
            topics.append(Topic(tuple(terms[at] for at in best), tuple(members[order].tolist())))
    topics.sort(key=lambda topic: (-len(topic.members), topic.words))
    compared = vectors[used[:: max(1, len(used) // _COMPARED)]]
    return Topics(tuple(topics), _vendi(compared), len(compared))


def type_token_curve(hashes: npt.NDArray[np.uint64], points: int = 20) -> list[tuple[int, int]]:
    """Return, at evenly spaced places of a run of words, how many different ones came by then."""
    _, first = np.unique(hashes, return_index=True)
    first.sort()
    places = np.linspace(0, len(hashes), points + 1, dtype=np.int64)[1:]
    return [(int(place), int(np.searchsorted(first, place))) for place in places]


def _vectors(counts: Sequence[Counter[str]]) -> tuple[Vectors, list[str], Vectors]:
    """Return unit TF-IDF vectors over the most frequent terms, [documents, terms], the terms, and how rare each is."""
    documents: Counter[str] = Counter()
    for count in counts:
        documents.update(count.keys())
    shared = [(n, word) for word, n in documents.items() if n > 1]
    terms = [word for _, word in sorted(shared, key=lambda item: (-item[0], item[1]))[:_TERMS_MAX]]
    place = {word: at for at, word in enumerate(terms)}
    vectors = np.zeros((len(counts), len(terms)), np.float32)
    for row, count in enumerate(counts):
        for word, times in count.items():
            if word in place:
                vectors[row, place[word]] = (1 + math.log(times)) * math.log(1 + len(counts) / documents[word])
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    rarity = np.array([math.log(len(counts) / documents[word]) for word in terms], np.float32)
    return np.divide(vectors, lengths, out=vectors, where=lengths > 0), terms, rarity


def _vendi(vectors: Vectors) -> float:
    """Return e to the entropy of the eigenvalues of the similarities, which sum to one."""
    values = np.linalg.eigvalsh((vectors @ vectors.T).astype(np.float64) / len(vectors))
    values = values[values > 1e-9]
    return float(np.exp(-(values * np.log(values)).sum()))


def _cluster(vectors: Vectors, number: int, random: np.random.Generator) -> tuple[npt.NDArray[np.int64], Vectors]:
    """Return each vector's cluster and the clusters' centres; starts as k-means++ does."""
    centres = vectors[[int(random.integers(len(vectors)))]]
    while len(centres) < number:
        distance = np.maximum(1 - (vectors @ centres.T).max(axis=1), 0).astype(np.float64)
        total = distance.sum()
        chance = distance / total if total > 0 else None
        centres = np.concatenate([centres, vectors[[int(random.choice(len(vectors), p=chance))]]])
    labels = np.full(len(vectors), -1, np.int64)
    for _ in range(_ROUNDS):
        before, labels = labels, np.argmax(vectors @ centres.T, axis=1)
        if (labels == before).all():
            break
        for cluster in range(number):
            centre = vectors[labels == cluster].sum(axis=0)
            length = np.linalg.norm(centre)
            if length > 0:
                centres[cluster] = centre / length
    return labels, centres
