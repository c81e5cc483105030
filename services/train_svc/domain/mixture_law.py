"""What a model loses on each target by the shares of its data, from a swarm of small runs, and the best shares by it.

The law is log-linear: L_t(r) = c_t + exp(a_t + b_t . r), r being the shares of M versions (Ye et al. 2024, equation 6).
Floor c_t and ridge are those that foretell left-out runs best, in nats. It is convex in r, and so is its distance from
the natural shares, so that the best shares under bounds are unique and found by mirror descent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Bounds", "Law", "best_shares", "draw_shares", "fit", "left_out", "rank_correlation", "resampled"]

Array: TypeAlias = npt.NDArray[np.float64]

# Floors as parts of the lowest loss; the law approaches an exponential alone as they fall.
_FLOORS = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.985)
_RIDGES = (1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3)
# Nearly all of one version, the rest as in the mixture: what is needed to tell the versions apart.
_CORNER = 0.8
_DESCENT_STEPS, _TOLERANCE = 400, 1e-10


@dataclass(frozen=True)
class Bounds:
    """Least and largest share of each version, shapes [M]; some shares within them add up to 1."""

    low: Array
    high: Array

    def project(self, positive: Array) -> Array:
        """Return the shares within the bounds that are nearest to positive numbers [M] in KL divergence.

        They are the numbers times one scale, clipped; the sum is piecewise linear in the scale, so that it is exact.
        """
        scaled = np.maximum(positive / positive.max(), 1e-12)
        scales = np.sort(np.concatenate((self.low / scaled, self.high / scaled)))
        totals = np.clip(scales[:, None] * scaled, self.low, self.high).sum(axis=1)
        after = int(np.clip(np.searchsorted(totals, 1.0), 1, len(totals) - 1))
        below, above = totals[after - 1], totals[after]
        part = (1.0 - below) / (above - below) if above > below else 1.0
        scale = scales[after - 1] + part * (scales[after] - scales[after - 1])
        shares: Array = np.clip(scale * scaled, self.low, self.high)
        return shares


@dataclass(frozen=True)
class Law:
    """Floors, intercepts and slopes, shapes [T], [T], [T, M]; and the ridge that each target was fitted with."""

    floors: Array
    intercepts: Array
    slopes: Array
    ridges: Array

    def losses(self, shares: Array) -> Array:
        """Return losses in nats per token, [..., T], for shares [..., M]."""
        return self.floors + np.exp(self.intercepts + shares @ self.slopes.T)


def fit(shares: Array, losses: Array) -> Law:
    """Fit the law to N runs: shares [N, M], losses [N, T]."""
    targets = [_fit_target(shares, column) for column in losses.T]
    return _law(targets)


def left_out(shares: Array, losses: Array) -> Array:
    """Return what a law fitted without each run says of it, [N, T]."""
    keep = ~np.eye(len(shares), dtype=bool)
    return np.stack([fit(shares[k], losses[k]).losses(shares[~k][0]) for k in keep])


def resampled(shares: Array, losses: Array, law: Law, *, number: int, seed: int) -> list[Law]:
    """Return laws fitted to runs drawn with replacement, with the floors and ridges of the law that all runs gave."""
    generator = np.random.default_rng(seed)
    laws: list[Law] = []
    while len(laws) < number:
        chosen = generator.integers(len(shares), size=len(shares))
        if len(set(chosen.tolist())) > shares.shape[1]:  # fewer do not tell the versions apart
            columns = zip(losses[chosen].T, law.floors, law.ridges, strict=True)
            laws.append(_law([_solve(shares[chosen], column, floor, ridge) for column, floor, ridge in columns]))
    return laws


def rank_correlation(first: Array, second: Array) -> float:
    """Return Spearman's rank correlation of two series [N]; 0 where one does not vary."""
    ranks = [np.argsort(np.argsort(series, kind="stable"), kind="stable") for series in (first, second)]
    if min(float(np.ptp(series)) for series in (first, second)) == 0:
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def draw_shares(natural: Array, bounds: Bounds, *, number: int, seed: int) -> Array:
    """Return shares for a swarm, [number, M]: the natural ones, each corner, and draws from all over between them.

    The draws are Dirichlet with a mean half-way between natural and equal shares, so that small versions vary too.
    """
    versions = len(natural)
    corners = _CORNER * np.eye(versions) + (1 - _CORNER) * natural
    mean = (natural + 1 / versions) / 2
    generator = np.random.default_rng(seed)
    draws = generator.dirichlet(versions * mean, size=max(0, number - versions - 1))
    wanted = np.concatenate((natural[None], corners, draws))[:number]
    return np.stack([bounds.project(each) for each in wanted])


def best_shares(law: Law, weights: Array, natural: Array, bounds: Bounds, *, kl_weight: float) -> Array:
    """Return the shares [M] with the lowest weighted loss plus `kl_weight` times their KL divergence from the natural.

    `weights` [T] add up to 1. Mirror descent with entropy as the mirror, halving steps that do not gain.
    """

    def value(r: Array) -> float:
        distance = float(np.sum(r * np.log(np.maximum(r, 1e-300) / natural)))
        return float(weights @ law.losses(r)) + kl_weight * distance

    at = bounds.project(natural)
    cost, step = value(at), 1.0
    for _ in range(_DESCENT_STEPS):
        excess = law.losses(at) - law.floors
        gradient = (weights * excess) @ law.slopes + kl_weight * np.log(np.maximum(at, 1e-300) / natural)
        tried = bounds.project(np.maximum(at, 1e-12) * np.exp(-step * (gradient - gradient.mean())))
        reached = value(tried)
        if reached < cost:
            gained, at, cost, step = cost - reached, tried, reached, min(1.5 * step, 100.0)
            if gained < _TOLERANCE:
                break
        else:
            step /= 4
            if step < _TOLERANCE:
                break
    return at


@dataclass(frozen=True)
class _Target:
    floor: float
    intercept: float
    slopes: Array
    ridge: float
    error: float  # sum of squares of what left-out runs would be off, nats


def _law(targets: list[_Target]) -> Law:
    return Law(
        np.array([target.floor for target in targets]),
        np.array([target.intercept for target in targets]),
        np.stack([target.slopes for target in targets]),
        np.array([target.ridge for target in targets]),
    )


def _fit_target(shares: Array, losses: Array) -> _Target:
    lowest = float(losses.min())
    tried = [_solve(shares, losses, part * lowest, ridge) for part in _FLOORS for ridge in _RIDGES]
    return min(tried, key=lambda target: target.error)


def _solve(shares: Array, losses: Array, floor: float, ridge: float) -> _Target:
    """Fit one target with a floor and a ridge, weighted so that residuals count in nats."""
    logs = np.log(losses - floor)
    weights = (losses - floor) ** 2
    weights /= weights.sum()
    middle, level = weights @ shares, weights @ logs
    centred = shares - middle
    gram = (centred.T * weights) @ centred
    inverse = np.linalg.inv(gram + ridge * np.trace(gram) / len(gram) * np.eye(len(gram)))
    slopes = inverse @ (centred.T * weights) @ (logs - level)
    leverage = weights * (1 + np.einsum("nm,mk,nk->n", centred, inverse, centred))
    residuals = (logs - level - centred @ slopes) / np.maximum(1e-9, 1 - np.minimum(leverage, 1 - 1e-9))
    missed = losses - floor - np.exp(logs - residuals)
    return _Target(floor, float(level - middle @ slopes), slopes, ridge, float(missed @ missed))
