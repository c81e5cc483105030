"""What loss a model of N weights reaches on D tokens, and how sure that is.

L(N, D) = E + A / N^a + B / D^b in nats per token (Hoffmann et al. 2022, equation 2). Runs of one's own may also show
that larger models gain more from more tokens, which that form leaves out (Li et al. 2025, Farseer, let b depend on N);
the first term of it, C (log N - n) (log D - d), is weighed beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul
from typing import NamedTuple

from bessemer.kernel.errors import InvalidRequest

__all__ = ["PUBLISHED", "RUNS_MIN", "LossLaw", "Run", "effective_tokens", "epochs_worth", "foretell", "published_loss"]

# Passes after which repeating is worth (1 - 1/e) of what it ever is; Muennighoff et al. 2023, section 4.
_REPETITION_SCALE = 15.4
RUNS_MIN = 6
_EXPONENTS = [0.05 * step for step in range(1, 25)]
# From so many runs on, one term more is not fitted to noise.
_INTERACTION_RUNS_MIN = 10
# Two runs that differ in nothing but their seed are this far apart at least, nats.
_NOISE_MIN = 0.003
_LEVEL_Z = 1.645  # 90 % of a normal distribution
_SINGULAR = 1e-9


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

    Every pair of exponents on a grid is fitted by least squares, without and with the term of size times tokens, and
    counts by its likelihood, less for the term (Schwarz 1978), so that what the runs leave open widens the interval;
    residual spread and the distance from the runs come on top.
    Raises: InvalidRequest for fewer than six runs, or runs of one size or one amount of tokens only.
    """
    if len(runs) < RUNS_MIN or len({r.parameters for r in runs}) < 2 or len({r.tokens for r in runs}) < 2:
        raise InvalidRequest(
            f"ladder must hold at least {RUNS_MIN} runs of two sizes and two amounts of tokens; got {len(runs)}",
            field="ladder",
        )
    centres = [sum(math.log(r[axis]) for r in runs) / len(runs) for axis in (0, 1)]
    asked = [math.log(parameters) - centres[0], math.log(tokens) - centres[1]]
    places = [[math.log(r[axis]) - centres[axis] for r in runs] for axis in (0, 1)]
    both, losses = list(map(mul, *places)), [r.loss for r in runs]
    sizes, amounts = ([[math.exp(-e * x) for x in places[axis]] for e in _EXPONENTS] for axis in (0, 1))
    others = [[1.0] * len(runs), both, losses]
    # Products of columns that do not depend on the other exponent; a thousand runs would else take seconds.
    by_size, by_amount, rest = ([[_dot(c, o) for o in (*others, c)] for c in x] for x in (sizes, amounts, others))
    forms = (3, 4) if len(runs) >= _INTERACTION_RUNS_MIN else (3,)
    fits: list[_Fit | None] = []
    for i, n in enumerate(by_size):
        for j, d in enumerate(by_amount):
            cross = _dot(sizes[i], amounts[j])
            gram = [
                [rest[0][0], n[0], d[0], rest[0][1]],
                [n[0], n[3], cross, n[1]],
                [d[0], cross, d[3], d[1]],
                [rest[0][1], n[1], d[1], rest[1][1]],
            ]
            right = [rest[0][2], n[2], d[2], rest[1][2]]
            at = [1.0, *(math.exp(-_EXPONENTS[e] * x) for e, x in zip((i, j), asked, strict=True)), mul(*asked)]
            fits += [_fit([row[:k] for row in gram[:k]], right[:k], rest[2][2], at[:k]) for k in forms]
    return _average([fit for fit in fits if fit is not None], len(runs))


class _Fit(NamedTuple):
    squares: float
    value: float
    leverage: float
    terms: int


def _fit(gram: list[list[float]], right: list[float], squares: float, ask: list[float]) -> _Fit | None:
    """Fit by least squares, from the products of columns with each other and with the losses, and the losses' squares.

    None when the floor or the gain from size or tokens would have to be negative.
    """
    inverse = _inverse(gram)
    if inverse is None:
        return None
    coefficients = [_dot(row, right) for row in inverse]
    if min(coefficients[:3]) < 0:
        return None
    leverage = _dot(ask, [_dot(row, ask) for row in inverse])
    return _Fit(max(0.0, squares - _dot(coefficients, right)), _dot(coefficients, ask), leverage, len(ask))


def _average(fits: list[_Fit], count: int) -> Foretold:
    if not fits:
        raise InvalidRequest(
            "ladder does not fall with size and tokens as a scaling law does; add runs, or check their losses",
            field="ladder",
        )
    best = min(fits)
    freedom = max(1, count - best.terms - 2)
    variance = max(best.squares / freedom, _NOISE_MIN**2)
    weights = [
        math.exp(-(fit.squares - best.squares) / (2 * variance) - fit.terms * math.log(count) / 2) for fit in fits
    ]
    total = sum(weights)
    value = sum(w * fit.value for w, fit in zip(weights, fits, strict=True)) / total
    spread = sum(
        w * (variance * (1 + fit.leverage) + (fit.value - value) ** 2) for w, fit in zip(weights, fits, strict=True)
    )
    # Student's t from the normal quantile: Hill 1970, first terms.
    z = _LEVEL_Z * (1 + (_LEVEL_Z**2 + 1) / (4 * freedom))
    reach = z * math.sqrt(spread / total)
    return Foretold(value, value - reach, value + reach)


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    total: float = sum(map(mul, a, b))
    return total


def _inverse(symmetric: list[list[float]]) -> list[list[float]] | None:
    """Return the inverse of a positive matrix by Gauss and Jordan; None when it is nearly singular."""
    size = len(symmetric)
    rows = [[*row, *(float(i == j) for j in range(size))] for i, row in enumerate(symmetric)]
    for i in range(size):
        pivot = rows[i][i]
        if pivot < _SINGULAR * symmetric[i][i]:
            return None
        rows[i] = [x / pivot for x in rows[i]]
        for j in range(size):
            if j != i:
                factor = rows[j][i]
                rows[j] = [x - factor * y for x, y in zip(rows[j], rows[i], strict=True)]
    return [row[size:] for row in rows]
