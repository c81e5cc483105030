"""A linear classifier over hashed words and pairs of words, as fastText's: learnt in seconds, deterministic.

A document is the set of its features, each weighing one over the root of their number. Training is logistic regression
by AdaGrad, classes balanced, in an order drawn once.
Source: Joulin et al. 2017, "Bag of Tricks for Efficient Text Classification"; Duchi, Hazan and Singer 2011.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from data_svc.worker import minhash
from data_svc.worker.hashing import GOLDEN, Hashes, mix

__all__ = ["BUCKETS", "CrossValidation", "area_under_curve", "cross_validate", "features", "fit", "score"]

BUCKETS = 1 << 18
EPOCHS = 20
_FOLDS = 5
_RATE, _PENALTY = 0.5, 1e-4
_SHIFT = np.uint64(64 - 18)

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]
Buckets = npt.NDArray[np.int32]


@dataclass(frozen=True)
class CrossValidation:
    """How well documents that were not learnt from are judged: area under the ROC curve, share judged right at 0.5."""

    auc: float
    accuracy: float


def features(texts: Sequence[bytes]) -> tuple[Buckets, Numbers]:
    """Return the distinct features of each text, and their bounds [texts + 1]."""
    offsets = np.cumsum([0, *map(len, texts)])
    return _features(*minhash.words(np.frombuffer(b"".join(texts), np.uint8), offsets, minhash.fold_table()))


def fit(buckets: Buckets, bounds: Numbers, accepted: npt.NDArray[np.bool_], seed: int = 0) -> Floats:
    """Return the weights: one per bucket, the constant last. Shapes: bounds [texts + 1], accepted [texts]."""
    chance = np.random.Generator(np.random.Philox(seed))
    order = np.concatenate([chance.permutation(len(accepted)) for _ in range(EPOCHS)])
    balance = len(accepted) / (2 * np.maximum(np.bincount(accepted, minlength=2), 1))
    return _fit(buckets, bounds, accepted.astype(np.float64), balance, order)


@njit(cache=True, nogil=True)
def score(buckets: Buckets, bounds: Numbers, weights: Floats) -> Floats:
    """Return each document's probability of being accepted."""
    found = np.empty(bounds.size - 1, np.float64)
    for document in range(found.size):
        found[document] = _probability(buckets[bounds[document] : bounds[document + 1]], weights)
    return found


def cross_validate(buckets: Buckets, bounds: Numbers, accepted: npt.NDArray[np.bool_]) -> CrossValidation:
    """Judge each fifth of the documents by what the others teach; both verdicts are spread evenly over the fifths."""
    fold = np.empty(len(accepted), np.int64)
    for verdict in (False, True):
        places = np.flatnonzero(accepted == verdict)
        fold[places] = np.arange(len(places)) % _FOLDS
    found = np.empty(len(accepted))
    for number in range(_FOLDS):
        learnt, judged = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        weights = fit(*_take(buckets, bounds, learnt), accepted[learnt])
        found[judged] = score(*_take(buckets, bounds, judged), weights)
    return CrossValidation(area_under_curve(found, accepted), float(((found >= 0.5) == accepted).mean()))


def area_under_curve(scores: Floats, accepted: npt.NDArray[np.bool_]) -> float:
    """Return the chance that an accepted one scores above a rejected one; equal scores count half."""
    values, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    del values
    rank = np.cumsum(counts) - (counts - 1) / 2
    num = int(accepted.sum())
    return float((rank[place][accepted].sum() - num * (num + 1) / 2) / max(num * (len(accepted) - num), 1))


def _take(buckets: Buckets, bounds: Numbers, chosen: Numbers) -> tuple[Buckets, Numbers]:
    pieces = [buckets[bounds[number] : bounds[number + 1]] for number in chosen]
    return np.concatenate(pieces), np.cumsum([0, *map(len, pieces)])


@njit(cache=True, nogil=True)
def _features(hashes: Hashes, starts: Numbers) -> tuple[Buckets, Numbers]:
    found = np.empty(2 * hashes.size, np.int32)
    bounds = np.zeros(starts.size, np.int64)
    last = np.full(BUCKETS, -1, np.int32)  # which document had a bucket last
    count = 0
    for document in range(starts.size - 1):
        before = np.uint64(0)
        for at in range(starts[document], starts[document + 1]):
            bucket = mix(hashes[at]) >> _SHIFT
            if last[bucket] != document:
                last[bucket] = document
                found[count] = bucket
                count += 1
            bucket = mix(before * GOLDEN + hashes[at]) >> _SHIFT
            if at > starts[document] and last[bucket] != document:
                last[bucket] = document
                found[count] = bucket
                count += 1
            before = hashes[at]
        bounds[document + 1] = count
    return found[:count].copy(), bounds


@njit(cache=True, nogil=True)
def _probability(mine: Buckets, weights: Floats) -> float:
    total = 0.0
    for bucket in mine:
        total += weights[bucket]
    logit: float = total / np.sqrt(max(mine.size, 1)) + weights[BUCKETS]
    return 1.0 / (1.0 + math.exp(-logit))


@njit(cache=True, nogil=True)
def _fit(buckets: Buckets, bounds: Numbers, accepted: Floats, balance: Floats, order: Numbers) -> Floats:
    weights, squares = np.zeros(BUCKETS + 1), np.full(BUCKETS + 1, 1e-8)
    for document in order:
        mine = buckets[bounds[document] : bounds[document + 1]]
        truth = accepted[document]
        error = (_probability(mine, weights) - truth) * balance[int(truth)]
        step = error / np.sqrt(max(mine.size, 1))
        for bucket in mine:
            slope = step + _PENALTY * weights[bucket]
            squares[bucket] += slope * slope
            weights[bucket] -= _RATE * slope / np.sqrt(squares[bucket])
        squares[BUCKETS] += error * error
        weights[BUCKETS] -= _RATE * error / np.sqrt(squares[BUCKETS])
    return weights
