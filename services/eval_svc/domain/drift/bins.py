"""How values become bins, and what to bet on for each kind of feature."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from statistics import NormalDist

from eval_svc.domain.drift.detector import Bet

__all__ = ["binary_bets", "category_bets", "cut", "find_bin", "jittered", "number_bets", "surprise_bets"]

# Where the reference is cut: evenly in the middle, finely at the ends, because there a few strange requests show.
_TAIL = (0.001, 0.002, 0.004, 0.008, 0.015, 0.03, 0.05, 0.075)
_FINE = (*_TAIL, *(at / 20 for at in range(2, 19)), *(1 - at for at in reversed(_TAIL)))
# For strata, whose references are small: 24 of them must fit where one does.
_COARSE = (0.02, 0.07, 0.15, 0.3, 0.5, 0.7, 0.85, 0.93, 0.98)


def cut(values: Sequence[float], *, fine: bool) -> tuple[list[float], list[int]]:
    """Return the edges between bins and the gaps in each bin.

    Shapes: values [N], all different, which may be none; edges [K - 1] ascending, gaps [K] with sum N + 1.
    """
    ordered, number = sorted(values), len(values)
    if not number:
        return [], [1]
    places = sorted({min(number, max(1, round(at * (number + 1)))) for at in (_FINE if fine else _COARSE)})
    edges = [ordered[place - 1] for place in places]
    return edges, [after - before for before, after in zip([0, *places], [*places, number + 1], strict=True)]


def find_bin(edges: Sequence[float], value: float) -> int:
    """Return the bin of a value."""
    return bisect_left(edges, value)


def jittered(value: float, noise: float) -> float:
    """Return a value that is almost surely like no other one: lengths and counts are often equal.

    Noise lies in [0, 1). Applied to all values alike it keeps them exchangeable, which is all that is needed.
    """
    return value + noise * (1e-4 * abs(value) + 1e-4)


def number_bets(gaps: Sequence[Sequence[int]]) -> list[Bet]:
    """Bets for a number: a quarter, a half or one standard deviation up or down, wider, narrower, strange ends."""
    scores = [_scores(row) for row in gaps]
    bets = []
    for shift in (0.25, 0.5, 1.0):
        for label, sign in (("higher", 1), ("lower", -1)):
            bets.append(Bet(label, 1.0, [[math.exp(sign * shift * z) for z in row] for row in scores]))
    bets.append(Bet("wider", 1.0, [[math.exp(min(0.2 * z * z, 2.0)) for z in row] for row in scores]))
    bets.append(Bet("narrower", 1.0, [[math.exp(-0.4 * z * z) for z in row] for row in scores]))
    for share in (0.05, 0.2):
        bets.append(Bet("more far above", share, [_tail(row, 0.01, above=True) for row in gaps]))
        bets.append(Bet("more far below", share, [_tail(row, 0.01, above=False) for row in gaps]))
    return bets


def surprise_bets(gaps: Sequence[Sequence[int]]) -> list[Bet]:
    """Bets for how strange a text is: a share of the requests lies above nearly all of the reference, or all do."""
    bets = [
        Bet("more unlike the reference", share, [_tail(row, mass, above=True) for row in gaps])
        for share, mass in ((0.05, 0.004), (0.1, 0.016), (0.2, 0.004), (0.2, 0.05), (0.4, 0.1))
    ]
    shifts = ((0.5, "less like the reference"), (-0.5, "more like the middle of the reference"))
    return bets + [
        Bet(label, 1.0, [[math.exp(shift * z) for z in _scores(row)] for row in gaps]) for shift, label in shifts
    ]


def binary_bets(num_strata: int) -> list[Bet]:
    """Bets for yes or no: the odds of yes change by a quarter or by half, either way."""
    shifts = [sign * size for size in (0.3, 0.7) for sign in (1, -1)]
    return [
        Bet("more often" if shift > 0 else "less often", 1.0, [[1.0, math.exp(shift)]] * num_strata) for shift in shifts
    ]


def category_bets(names: Sequence[str], num_strata: int) -> list[Bet]:
    """Bets for categories: one of them gets 5 or 20 percent of the requests more, or half of what it had."""
    bets = []
    for place, name in enumerate(names):
        only = [1.0 if at == place else 0.0 for at in range(len(names))]
        bets += [Bet(f"more {name}", share, [only] * num_strata) for share in (0.05, 0.2)]
        bets.append(Bet(f"less {name}", 1.0, [[0.5 if value else 1.0 for value in only]] * num_strata))
    return bets


def _scores(gaps: Sequence[int]) -> list[float]:
    """Return the normal score of the middle of each bin."""
    total, below, scores = sum(gaps), 0, []
    for count in gaps:
        scores.append(NormalDist().inv_cdf((below + count / 2) / total))
        below += count
    return scores


def _tail(gaps: Sequence[int], mass: float, *, above: bool) -> list[float]:
    """Return 1 for the outer bins that hold about `mass` of the reference, at least for the outermost one."""
    total, held, weights = sum(gaps), 0, [0.0] * len(gaps)
    for at in reversed(range(len(gaps))) if above else range(len(gaps)):
        if held and held + gaps[at] > mass * total * 1.05:
            break
        held += gaps[at]
        weights[at] = 1.0
    return weights
