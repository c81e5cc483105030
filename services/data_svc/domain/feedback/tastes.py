"""What people like, learned from all but those who are tested, and how well their ratings agree with it.

A score of an answer is the sum of what its features speak for, each a log-odds shrunk to nothing where it is rare.
That is a weak judge of one answer, and a strong one of a hundred ratings of the same hand.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from data_svc.domain.feedback.records import UP, Said
from data_svc.domain.feedback.tails import normal_tail

__all__ = ["Tastes"]

_SHRINK = 10.0  # ratings that a feature's odds are worth before it is seen
_WORDS_MAX = 64
_SPREAD_MIN = 0.02  # of tastes between people, beside chance; more if it is seen
_SEEN_MIN = 5  # ratings of a person or group to judge it by


@dataclass
class _Sums:
    n: int = 0
    first: float = 0.0
    second: float = 0.0


class Tastes:
    """Counts of features among ratings up and down; people can be left out exactly."""

    def __init__(self, said: Sequence[Said]) -> None:
        self._rated = [one for one in said if one.rating]
        self._features = [frozenset(_features(one.answer)) for one in self._rated]
        self._ups: Counter[str] = Counter()
        self._all: Counter[str] = Counter()
        self._by_user: dict[str, list[int]] = {}
        for place, one in enumerate(self._rated):
            self._add(place, 1)
            self._by_user.setdefault(one.user, []).append(place)

    @property
    def users(self) -> Iterable[str]:
        """Everybody who rated."""
        return self._by_user.keys()

    def leave_out(self, users: Iterable[str]) -> None:
        """Forget the ratings of some people for good; they can still be tested."""
        for user in users:
            for place in self._by_user.get(user, ()):
                self._add(place, -1)

    def agreement(self, users: Iterable[str], left_out: frozenset[str]) -> _Sums:
        """Return the sums, over the ratings of people, of how they agree with everybody else's taste.

        `left_out` are those whose ratings were forgotten already.
        """
        places = [place for user in users for place in self._by_user.get(user, ())]
        inside = [place for place in places if self._rated[place].user not in left_out]
        for place in inside:
            self._add(place, -1)
        rate, sums = self._rate(), _Sums()
        for place in places:
            value = (float(self._rated[place].rating == UP) - rate) * self._score(self._features[place], rate)
            sums.n, sums.first, sums.second = sums.n + 1, sums.first + value, sums.second + value * value
        for place in inside:
            self._add(place, 1)
        return sums

    def against(self, group: _Sums, everybody: Sequence[_Sums]) -> float:
        """Return the chance that a group of the crowd agrees with it as little as this one."""
        n, first, second = (sum(getattr(s, name) for s in everybody) for name in ("n", "first", "second"))
        if group.n < _SEEN_MIN or n < _SEEN_MIN * _SEEN_MIN:
            return 1.0
        mean = first / n
        variance = max(second / n - mean * mean, 1e-12)
        squares = sum((s.first - s.n * mean) ** 2 for s in everybody) / variance
        spread = max(_SPREAD_MIN, (squares - n) / max(1, sum(s.n * (s.n - 1) for s in everybody)))
        deviation = math.sqrt(group.n * variance * (1 + (group.n - 1) * spread))
        return normal_tail((group.n * mean - group.first) / deviation)

    def _add(self, place: int, sign: int) -> None:
        for feature in self._features[place]:
            self._all[feature] += sign
            self._ups[feature] += sign * (self._rated[place].rating == UP)

    def _rate(self) -> float:
        """Return the share of ratings up; every answer has the empty feature."""
        return (self._ups[""] + 1) / (self._all[""] + 2)

    def _score(self, features: frozenset[str], rate: float) -> float:
        base, total = math.log(rate / (1 - rate)), 0.0
        for feature in features:
            ups, n = self._ups[feature], self._all[feature]
            share = (ups + _SHRINK * rate) / (n + _SHRINK)
            total += math.log(share / (1 - share)) - base
        return total / math.sqrt(len(features))


def _features(answer: str) -> Iterable[str]:
    text = answer.strip().casefold()
    words = text.split()[:_WORDS_MAX]
    yield ""
    yield f"length:{len(text).bit_length()}"
    yield f"end:{text[-1:]}"
    yield f"start:{' '.join(words[:2])}"
    yield from (f"word:{word.strip('.,;:!?()')}" for word in words)
