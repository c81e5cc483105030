"""One feature from its reference to its alarm: collect, arm, observe."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from eval_svc.domain.drift.bins import (
    binary_bets,
    category_bets,
    cut,
    find_bin,
    jittered,
    number_bets,
    surprise_bets,
)
from eval_svc.domain.drift.detector import Bet, Detector, dump_detector, finding_of, load_detector
from eval_svc.domain.drift.features import Feature, Kind, Row, stratum_of
from eval_svc.domain.drift.performance import RelationWatch
from eval_svc.domain.drift.state import Tree
from eval_svc.domain.drift.words import Surprise, Words

__all__ = ["Watch", "make_watch"]

_CATEGORIES_MAX = 16
_OTHER = "other"
_STRANGE_WORDS = 5  # of a request that speaks for an alarm, the least expected ones
_STRANGE_MAX = 95
_BUCKETS_TOLD = 12
_DISTINCT_MAX = 256  # names held while the reference is collected


class Watch(Protocol):
    """A feature's reference, evidence and where it points."""

    size: int  # values in the reference

    def collect(self, row: Row, noise: float) -> bool:
        """Add a request to the reference; False if it lacks the feature."""

    def arm(self) -> None:
        """End the reference; later requests are held against it."""

    def observe(self, row: Row, noise: float, number: int) -> tuple[float, bool] | None:
        """Return the evidence and whether the request speaks for the best bet; None if it lacks the feature."""

    def rearm(self) -> None:
        """Forget evidence and what was seen since `arm`."""

    @property
    def level(self) -> float:
        """The evidence now."""

    def finding(self) -> tuple[str, int]:
        """Return what the best bet says, and the observation its run began with."""

    def value(self, row: Row) -> float | None:
        """Return a number of a request to average for people."""

    def dump(self) -> Tree:
        """Return the state."""


def make_watch(feature: Feature, state: Tree | None = None) -> Watch:
    """Return a watch, new or as it was dumped."""
    if feature.kind is Kind.TEXT:
        return TextWatch(state)
    if feature.kind is Kind.RELATION:
        return RelationWatch(feature, state)
    return NumberWatch(feature, state) if feature.kind is Kind.NUMBER else CountWatch(feature, state)


class NumberWatch:
    """A number: bins at the reference's order statistics, per stratum."""

    def __init__(self, feature: Feature, state: Tree | None) -> None:
        self._feature = feature
        self._values: list[array[float]] = state["values"] if state else _strata(feature)
        self._edges: list[array[float]] = state["edges"] if state else []
        self._sizes: list[int] = state["sizes"] if state else []
        self.size: int = state["size"] if state else 0
        self._detector: Detector | None = None
        if state and state["evidence"]:
            self._detector = load_detector(self._bets(), state["evidence"])

    def collect(self, row: Row, noise: float) -> bool:
        """See Watch."""
        value = row.numbers.get(self._feature.name)
        if value is None:
            return False
        self._values[stratum_of(self._feature.strata, row.time_s)].append(jittered(value, noise))
        self.size += 1
        return True

    def arm(self) -> None:
        """See Watch."""
        fine = self._feature.strata.number == 1
        self._edges = [array("f", cut(values, fine=fine)[0]) for values in self._values]
        self._sizes = [len(values) for values in self._values]
        self._values = []
        self.rearm()

    def observe(self, row: Row, noise: float, number: int) -> tuple[float, bool] | None:
        """See Watch."""
        value, detector = row.numbers.get(self._feature.name), self._detector
        if value is None or detector is None:
            return None
        stratum = stratum_of(self._feature.strata, row.time_s)
        where = find_bin(self._edges[stratum], jittered(value, noise))
        level = detector.observe(stratum, where, number)
        return level, detector.pays(detector.best(), stratum, where)

    def rearm(self) -> None:
        """See Watch."""
        self._detector = Detector(self._bets(), self._gaps())

    @property
    def level(self) -> float:
        """See Watch."""
        return self._detector.level if self._detector else 0.0

    def finding(self) -> tuple[str, int]:
        """See Watch."""
        return finding_of(self._detector)

    def value(self, row: Row) -> float | None:
        """See Watch."""
        return row.numbers.get(self._feature.name)

    def dump(self) -> Tree:
        """See Watch."""
        state = {"values": self._values, "edges": self._edges, "sizes": self._sizes, "size": self.size}
        return state | {"evidence": dump_detector(self._detector)}

    def _gaps(self) -> list[list[int]]:
        fine = self._feature.strata.number == 1
        # Where the cuts lie depends on the number of values only.
        return [cut(range(size), fine=fine)[1] for size in self._sizes]

    def _bets(self) -> list[Bet]:
        return number_bets(self._gaps())


class CountWatch:
    """Yes or no, or one of the reference's sixteen most frequent categories."""

    def __init__(self, feature: Feature, state: Tree | None) -> None:
        self._feature = feature
        self._binary = feature.kind is Kind.BINARY
        self._names: list[str] = state["names"] if state else (["no", "yes"] if self._binary else [])
        self._counts: list[dict[str, int]] = state["counts"] if state else [{} for _ in _strata(feature)]
        self.size: int = state["size"] if state else 0
        self._detector: Detector | None = None
        if state and state["evidence"]:
            self._detector = load_detector(self._bets(), state["evidence"])

    def collect(self, row: Row, noise: float) -> bool:
        """See Watch."""
        del noise
        name = self._category(row)
        if name is None:
            return False
        counts = self._counts[stratum_of(self._feature.strata, row.time_s)]
        if name not in counts and len(counts) >= _DISTINCT_MAX:
            name = _OTHER
        counts[name] = counts.get(name, 0) + 1
        self.size += 1
        return True

    def arm(self) -> None:
        """See Watch."""
        if not self._binary:
            total = sum((Counter(counts) for counts in self._counts), Counter[str]())
            self._names = [name for name, _ in total.most_common(_CATEGORIES_MAX) if name != _OTHER] + [_OTHER]
            self._counts = [
                {name: row.get(name, 0) for name in self._names[:-1]} | _rest(row, self._names) for row in self._counts
            ]
        self.rearm()

    def observe(self, row: Row, noise: float, number: int) -> tuple[float, bool] | None:
        """See Watch."""
        del noise
        name, detector = self._category(row), self._detector
        if name is None or detector is None:
            return None
        stratum = stratum_of(self._feature.strata, row.time_s)
        where = self._names.index(name if name in self._names else _OTHER)
        level = detector.observe(stratum, where, number)
        return level, detector.pays(detector.best(), stratum, where)

    def rearm(self) -> None:
        """See Watch."""
        start = [[row.get(name, 0) + 0.5 for name in self._names] for row in self._counts]
        self._detector = Detector(self._bets(), start)

    @property
    def level(self) -> float:
        """See Watch."""
        return self._detector.level if self._detector else 0.0

    def finding(self) -> tuple[str, int]:
        """See Watch."""
        return finding_of(self._detector)

    def value(self, row: Row) -> float | None:
        """See Watch."""
        flag = row.flags.get(self._feature.name)
        return None if flag is None else float(flag)

    def dump(self) -> Tree:
        """See Watch."""
        state = {"names": self._names, "counts": self._counts, "size": self.size}
        return state | {"evidence": dump_detector(self._detector)}

    def _category(self, row: Row) -> str | None:
        if not self._binary:
            return row.categories.get(self._feature.name)
        flag = row.flags.get(self._feature.name)
        return None if flag is None else ("yes" if flag else "no")

    def _bets(self) -> list[Bet]:
        strata = self._feature.strata.number
        return binary_bets(strata) if self._binary else category_bets(self._names, strata)


class TextWatch:
    """The words of prompts: how surprising they are, and which become more frequent."""

    def __init__(self, state: Tree | None) -> None:
        self._rows: list[array[int]] = state["rows"] if state else []
        self.size: int = state["size"] if state else 0
        self._surprise: Surprise | None = None
        self._edges: array[float] = state["edges"] if state else array("f")
        self._words: Words | None = None
        self._strange: array[int] = state["strange"] if state else array("H")
        self._detector: Detector | None = None
        if state and state["evidence"]:
            self._surprise = Surprise(state["table"], *state["line"])
            self._words = Words.load(*state["words"])
            self._detector = load_detector(self._bets(), state["evidence"])

    def collect(self, row: Row, noise: float) -> bool:
        """See Watch."""
        del noise
        if not row.buckets:
            return False
        self._rows.append(array("H", row.buckets))
        self.size += 1
        return True

    def arm(self) -> None:
        """See Watch."""
        self._surprise, scores = Surprise.learn(self._rows)
        # Scores of texts with the same words are equal; any order that is the same for all will do.
        self._edges = array("f", cut([jittered(score, _spread(at)) for at, score in enumerate(scores)], fine=True)[0])
        self._words = Words.learn(self._rows)
        self._rows = []
        self._detector = Detector(self._bets(), self._gaps())

    def observe(self, row: Row, noise: float, number: int) -> tuple[float, bool] | None:
        """See Watch."""
        if not row.buckets or self._detector is None or self._surprise is None or self._words is None:
            return None
        where = find_bin(self._edges, jittered(self._surprise.score(row.buckets), noise))
        surprise, words = self._detector.observe(0, where, number), self._words.observe(row.buckets)
        speaks = surprise > words and self._detector.pays(self._detector.best(), 0, where)
        if speaks:
            found = sorted(row.buckets, key=self._surprise.table.__getitem__)[-_STRANGE_WORDS:]
            self._strange = self._strange[-_STRANGE_MAX:] + array("H", found)
        # Half of the budget for each: the larger one reaches twice the threshold as seldom as their mean may reach it.
        return max(surprise, words) / 2, speaks or self._words.has_hot(row.buckets)

    def rearm(self) -> None:
        """See Watch; the words that came stay counted, so that they count as known from now on."""
        self._detector = Detector(self._bets(), self._gaps())
        if self._words is not None:
            self._words.reset()

    @property
    def level(self) -> float:
        """See Watch."""
        return max(self._detector.level, self._words.level) / 2 if self._detector and self._words else 0.0

    def finding(self) -> tuple[str, int]:
        """See Watch."""
        label, start = finding_of(self._detector)
        if self._detector and self._words and self._words.level > self._detector.level:
            return "some words became more frequent", start
        return label, start

    def value(self, row: Row) -> float | None:
        """Return whether a text lies above nineteen twentieths of the reference."""
        if not row.buckets or self._surprise is None:
            return None
        return float(find_bin(self._edges, self._surprise.score(row.buckets)) >= self._strange_bin)

    @property
    def buckets(self) -> list[int]:
        """The buckets of the words that came."""
        if self._words and self._detector and self._words.level > self._detector.level:
            return self._words.hot()
        return [bucket for bucket, _ in Counter(self._strange).most_common(_BUCKETS_TOLD)]

    def dump(self) -> Tree:
        """See Watch."""
        made = self._surprise is not None and self._words is not None
        return {
            "rows": self._rows,
            "size": self.size,
            "edges": self._edges,
            "strange": self._strange,
            "table": self._surprise.table if self._surprise else None,
            "line": self._surprise.line if self._surprise else None,
            "words": list(self._words.dump()) if made and self._words else None,
            "evidence": dump_detector(self._detector),
        }

    @property
    def _strange_bin(self) -> int:
        gaps, held = self._gaps()[0], 0
        for at in reversed(range(len(gaps))):
            held += gaps[at]
            if held > 0.055 * (self.size + 1):
                return at + 1
        return 0

    def _gaps(self) -> list[list[int]]:
        return [cut(range(self.size), fine=True)[1]]

    def _bets(self) -> list[Bet]:
        return surprise_bets(self._gaps())


def _strata(feature: Feature) -> list[array[float]]:
    return [array("f") for _ in range(feature.strata.number)]


def _spread(at: int) -> float:
    """Return a number in [0, 1) that looks random: multiples of the golden ratio."""
    return at * 0.6180339887498949 % 1.0


def _rest(row: dict[str, int], names: Sequence[str]) -> dict[str, int]:
    known = set(names[:-1])
    return {_OTHER: sum(count for name, count in row.items() if name not in known)}
