"""What loss a model of N weights reaches on D tokens, and how sure that is.

L(N, D) = E + A / N^a + B / D^b in nats per token (Hoffmann et al. 2022, equation 2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bessemer.kernel.errors import InvalidRequest

__all__ = ["PUBLISHED", "RUNS_MIN", "LossLaw", "Run", "effective_tokens", "epochs_worth", "foretell", "published_loss"]

# Passes after which repeating is worth (1 - 1/e) of what it ever is; Muennighoff et al. 2023, section 4.
_REPETITION_SCALE = 15.4
RUNS_MIN = 6
_EXPONENTS = [0.05 * step for step in range(1, 25)]
# Two runs that differ in nothing but their seed are this far apart at least, nats.
_NOISE_MIN = 0.003
_LEVEL_Z = 1.645  # 90 % of a normal distribution


class Run(NamedTuple):
    """One finished run: weights, tokens, held-out loss in nats per token."""

    parameters: float
    tokens: float
    loss: float


class Foretold(NamedTuple):
    """Loss in nats per token and the ends of its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class LossLaw:
    """Constants of one fit."""

    floor: float
    parameter_scale: float
    parameter_exponent: float
    token_scale: float
    token_exponent: float

    def loss(self, parameters: float, tokens: float) -> float:
        """Return the loss in nats per token."""
        size: float = self.parameter_scale / parameters**self.parameter_exponent
        amount: float = self.token_scale / tokens**self.token_exponent
        return self.floor + size + amount


# Web text, their own tokenizers. The first is the one to rank by; together they show how far such fits are apart.
PUBLISHED = (
    LossLaw(1.8172, 482.01, 0.3478, 2085.43, 0.3658),  # Besiroglu et al. 2024, table 1
    LossLaw(1.6934, 406.4, 0.3392, 410.7, 0.2849),  # Hoffmann et al. 2022, approach 3
    LossLaw(1.87, 521.0, 0.353, 1488.0, 0.353),  # Muennighoff et al. 2023, on C4
)


def effective_tokens(unique: float, epochs: float) -> float:
    """Return how many unique tokens reading `unique` ones so often is worth; Muennighoff et al. 2023, equation 5."""
    if epochs <= 1:
        return unique * epochs
    return unique * (1 + _REPETITION_SCALE * (1 - math.exp(-(epochs - 1) / _REPETITION_SCALE)))


def epochs_worth(unique: float, wanted: float) -> float:
    """Return how often to read `unique` tokens so that they are worth `wanted` ones; infinite when never."""
    share = (wanted / unique - 1) / _REPETITION_SCALE
    if share <= 0:
        return wanted / unique
    return math.inf if share >= 1 else 1 - _REPETITION_SCALE * math.log(1 - share)


def published_loss(parameters: float, tokens: float) -> Foretold:
    """Return what the first published fit says; the interval ends at the extremes of all of them."""
    losses = [law.loss(parameters, tokens) for law in PUBLISHED]
    return Foretold(losses[0], min(losses), max(losses))


def foretell(runs: Sequence[Run], parameters: float, tokens: float) -> Foretold:
    """Return the loss that the caller's own runs point to, with an interval meant to hold it nine times in ten.

    Every pair of exponents on a grid is fitted by least squares and counts by its likelihood, so that what the runs
    leave open widens the interval; residual spread and the distance from the runs come on top.
    Raises: InvalidRequest for fewer than six runs, or runs of one size or one amount of tokens only.
    """
    if len(runs) < RUNS_MIN or len({r.parameters for r in runs}) < 2 or len({r.tokens for r in runs}) < 2:
        raise InvalidRequest(
            f"ladder must hold at least {RUNS_MIN} runs of two sizes and two amounts of tokens; got {len(runs)}",
            field="ladder",
        )
    size, amount = (sum(math.log(r[axis]) for r in runs) / len(runs) for axis in (0, 1))
    bases = [
        [[math.exp(-e * (math.log(r[axis]) - centre)) for r in runs] for e in _EXPONENTS]
        for axis, centre in ((0, size), (1, amount))
    ]
    ask = [[math.exp(-e * (math.log(x) - c)) for e in _EXPONENTS] for x, c in ((parameters, size), (tokens, amount))]
    losses = [r.loss for r in runs]
    fits = [
        _fit([[1.0] * len(runs), n, d], losses, [1.0, ask[0][i], ask[1][j]])
        for i, n in enumerate(bases[0])
        for j, d in enumerate(bases[1])
    ]
    return _average([fit for fit in fits if fit is not None], len(runs))


class _Fit(NamedTuple):
    squares: float
    value: float
    leverage: float


def _fit(columns: list[list[float]], losses: list[float], ask: list[float]) -> _Fit | None:
    """Fit non-negative coefficients by least squares; None when a term would have to be negative."""
    gram = [[sum(map(_product, a, b)) for b in columns] for a in columns]
    right = [sum(map(_product, a, losses)) for a in columns]
    inverse = _inverse(gram)
    if inverse is None:
        return None
    coefficients = [sum(map(_product, row, right)) for row in inverse]
    if min(coefficients) < 0:
        return None
    residuals = [
        loss - sum(c * column[k] for c, column in zip(coefficients, columns, strict=True))
        for k, loss in enumerate(losses)
    ]
    leverage = sum(x * inverse[i][j] * y for i, x in enumerate(ask) for j, y in enumerate(ask))
    return _Fit(sum(map(_product, residuals, residuals)), sum(map(_product, coefficients, ask)), leverage)


def _average(fits: list[_Fit], count: int) -> Foretold:
    if not fits:
        raise InvalidRequest(
            "ladder does not fall with size and tokens as a scaling law does; add runs, or check their losses",
            field="ladder",
        )
    freedom = max(1, count - 5)
    best = min(fit.squares for fit in fits)
    variance = max(best / freedom, _NOISE_MIN**2)
    weights = [math.exp(-(fit.squares - best) / (2 * variance)) for fit in fits]
    total = sum(weights)
    value = sum(w * fit.value for w, fit in zip(weights, fits, strict=True)) / total
    spread = sum(
        w * (variance * (1 + fit.leverage) + (fit.value - value) ** 2) for w, fit in zip(weights, fits, strict=True)
    )
    # Student's t from the normal quantile: Hill 1970, first terms.
    z = _LEVEL_Z * (1 + (_LEVEL_Z**2 + 1) / (4 * freedom))
    reach = z * math.sqrt(spread / total)
    return Foretold(value, value - reach, value + reach)


def _product(a: float, b: float) -> float:
    return a * b


def _inverse(m: list[list[float]]) -> list[list[float]] | None:
    """Return the inverse of a symmetric 3 x 3 matrix by cofactors; None when it is nearly singular."""
    (a, b, c), (_, d, e), (_, _, f) = m
    cofactors = [
        [d * f - e * e, c * e - b * f, b * e - c * d],
        [c * e - b * f, a * f - c * c, b * c - a * e],
        [b * e - c * d, b * c - a * e, a * d - b * b],
    ]
    determinant = a * cofactors[0][0] + b * cofactors[0][1] + c * cofactors[0][2]
    if determinant < 1e-9 * a * d * f:
        return None
    return [[x / determinant for x in row] for row in cofactors]
