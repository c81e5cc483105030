"""Vectors of documents out of the words that a corpus shares, so that rewritten copies lie close to each other.

Latent semantic analysis: words weighed by how often a document and how few documents have them, projected on the
directions in which documents differ most. Words that come at random fall out of these, which edits of single words do.
Source: Deerwester et al. 1990, "Indexing by Latent Semantic Analysis"; Halko, Martinsson and Tropp 2011, "Finding
structure with randomness", algorithm 4.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from data_svc.worker import minhash
from data_svc.worker.hashing import Hashes, mix

__all__ = ["DIMENSIONS", "Basis", "similar_pairs"]

DIMENSIONS = 256
_BUCKETS = 1 << 16
_SHIFT = np.uint64(64 - 16)
_POWERS = 2
_BLOCK = 2048
_EXACT_MAX = 20_000  # documents of which all pairs are compared
_TABLES, _BITS = 10, 8  # of more, those that share a bucket of random hyperplanes: misses 1 pair of 250 at cosine 0.95

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]
Buckets = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Basis:
    """What texts are projected on. Shapes: rarity [buckets], directions [buckets, DIMENSIONS], centre [DIMENSIONS]."""

    rarity: Floats
    directions: Floats
    centre: Floats

    @classmethod
    def fit(cls, texts: Sequence[bytes]) -> Basis:
        """Return the basis of some texts."""
        buckets, times, bounds = _counted(texts)
        holders = np.bincount(buckets, minlength=_BUCKETS)
        rarity = np.sqrt(np.log((1 + len(texts)) / (1 + holders))).astype(np.float32)
        weights = _weighed(buckets, times, bounds, rarity)
        chance = np.random.Generator(np.random.Philox(7))
        found = chance.standard_normal((_BUCKETS, DIMENSIONS), np.float32)
        for _ in range(_POWERS):
            rows = np.linalg.qr(_project(buckets, weights, bounds, found))[0]
            found = np.linalg.qr(_spread(buckets, weights, bounds, rows))[0].astype(np.float32)
            if found.shape[1] < DIMENSIONS:  # fewer texts than dimensions
                found = np.pad(found, ((0, 0), (0, DIMENSIONS - found.shape[1])))
        centre = _project(buckets, weights, bounds, found).mean(axis=0)
        return cls(rarity, found, centre)

    def vectors(self, texts: Sequence[bytes]) -> Floats:
        """Return a vector of length one for each text. Shapes: [texts, DIMENSIONS]."""
        buckets, times, bounds = _counted(texts)
        found = _project(buckets, _weighed(buckets, times, bounds, self.rarity), bounds, self.directions) - self.centre
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        scaled: Floats = (found / np.maximum(lengths, 1e-9)).astype(np.float32)
        return scaled


def similar_pairs(vectors: Floats, least: float) -> Numbers:
    """Return the pairs of rows whose product is `least` or more, the lower number first, sorted. Shapes: [pairs, 2]."""
    groups = [np.arange(len(vectors))]
    if len(vectors) > _EXACT_MAX:
        planes = np.random.Generator(np.random.Philox(8)).standard_normal(
            (_TABLES, vectors.shape[1], _BITS), np.float32
        )
        groups = []
        for table in planes:
            codes = (vectors @ table > 0) @ (1 << np.arange(_BITS))
            order = np.argsort(codes, kind="stable")
            groups += np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
    found = [np.empty((0, 2), np.int64)]
    for group in groups:
        for start in range(0, len(group), _BLOCK):
            rows = group[start : start + _BLOCK]
            others = group[start:]
            close = np.argwhere(vectors[rows] @ vectors[others].T >= least)
            close = close[close[:, 0] < close[:, 1]]
            found.append(np.stack([rows[close[:, 0]], others[close[:, 1]]], axis=1))
    return np.unique(np.concatenate(found), axis=0)


def _counted(texts: Sequence[bytes]) -> tuple[Buckets, Buckets, Numbers]:
    offsets = np.cumsum([0, *map(len, texts)])
    return _count(*minhash.words(np.frombuffer(b"".join(texts), np.uint8), offsets, minhash.fold_table()))


@njit(cache=True, nogil=True)
def _count(hashes: Hashes, starts: Numbers) -> tuple[Buckets, Buckets, Numbers]:
    """Return each document's distinct words, as buckets, how often it has them, and its bounds among them."""
    buckets, times = np.empty(hashes.size, np.int32), np.zeros(hashes.size, np.int32)
    bounds = np.zeros(starts.size, np.int64)
    place = np.full(_BUCKETS, -1, np.int64)
    count = 0
    for document in range(starts.size - 1):
        for at in range(starts[document], starts[document + 1]):
            bucket = mix(hashes[at]) >> _SHIFT
            if place[bucket] < bounds[document]:
                place[bucket] = count
                buckets[count] = bucket
                count += 1
            times[place[bucket]] += 1
        bounds[document + 1] = count
    return buckets[:count].copy(), times[:count].copy(), bounds


@njit(cache=True, nogil=True)
def _weighed(buckets: Buckets, times: Buckets, bounds: Numbers, rarity: Floats) -> Floats:
    """Return the weight of each word, those of a document of length one together."""
    weights = np.empty(buckets.size, np.float32)
    for document in range(bounds.size - 1):
        total = 1e-12
        for at in range(bounds[document], bounds[document + 1]):
            weights[at] = times[at] * rarity[buckets[at]]
            total += weights[at] * weights[at]
        for at in range(bounds[document], bounds[document + 1]):
            weights[at] /= np.sqrt(total)
    return weights


@njit(cache=True, nogil=True)
def _project(buckets: Buckets, weights: Floats, bounds: Numbers, directions: Floats) -> Floats:
    found = np.zeros((bounds.size - 1, directions.shape[1]), np.float32)
    for document in range(bounds.size - 1):
        for at in range(bounds[document], bounds[document + 1]):
            found[document] += weights[at] * directions[buckets[at]]
    return found


@njit(cache=True, nogil=True)
def _spread(buckets: Buckets, weights: Floats, bounds: Numbers, rows: Floats) -> Floats:
    found = np.zeros((_BUCKETS, rows.shape[1]), np.float32)
    for document in range(bounds.size - 1):
        for at in range(bounds[document], bounds[document + 1]):
            found[buckets[at]] += weights[at] * rows[document]
    return found
