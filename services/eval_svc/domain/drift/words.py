"""The two ways in which a topic shows in its words.

`Surprise` says how unlike the reference a request is: the mean of -log(share of reference texts with a word's bucket),
less what a text of that length has on average. It finds topics whose texts differ among themselves. In the reference
each text is scored by the others, so that its scores are exchangeable with those of later requests.
`Words` bets for every bucket that it becomes more frequent. It finds topics that share words, also beside a reference
so varied that nothing surprises it.

Source: cross-entropy of a unigram model, Jelinek-Mercer style counts (Manning & Schuetze 1999, section 6.2); the
leave-one-out reference is the jackknife+ of Barber et al. 2021, used for ranks.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from bessemer.artifacts.lexical import BUCKETS

__all__ = ["Surprise", "Words"]

_WORD_BUCKETS = 640  # two bytes for the count and two for each evidence
_GAINS = np.array([[0.03], [0.1]])  # share of the requests in which a new topic brings a word; a bet for each
_COUNT_MAX = 60_000  # of two bytes; by then the reference's own error no longer matters
_SURPRISE_MAX = 12.0
_HOT = 8


class Surprise:
    """Scores of texts against a reference; 2 KB."""

    def __init__(self, table: array[int], slope: float, offset: float) -> None:
        self.table = table  # 255 stands for _SURPRISE_MAX
        self._slope = slope
        self._offset = offset

    @staticmethod
    def learn(rows: Sequence[Sequence[int]]) -> tuple[Surprise, list[float]]:
        """Return the scorer and the score of each reference text by the others.

        Shapes: rows [N] of bucket lists, N >= 2, none empty.
        """
        number = len(rows)
        counts = np.zeros(BUCKETS)
        for row in rows:
            counts[row] += 1
        table = _rounded(-np.log((counts + 0.5) / (number + 1)))
        others = _rounded(-np.log((counts - 0.5).clip(0.5) / number))
        means = np.array([others[row].mean() for row in rows])
        roots = np.array([len(row) ** -0.5 for row in rows])
        spread = float(roots.var())
        slope = float(((roots - roots.mean()) * (means - means.mean())).mean() / spread) if spread > 0 else 0.0
        offset = float(means.mean() - slope * roots.mean())
        scores = (means - offset - slope * roots) / roots
        made = Surprise(array("B", np.round(table / _SURPRISE_MAX * 255).astype(np.uint8).tobytes()), slope, offset)
        return made, [float(score) for score in scores]

    def score(self, row: Sequence[int]) -> float:
        """Return the score of a text that has at least one word."""
        table, root = self.table, len(row) ** -0.5
        mean: float = sum(table[bucket] for bucket in row) * (_SURPRISE_MAX / 255) / len(row)
        score: float = (mean - self._offset - self._slope * root) / root
        return score

    @property
    def line(self) -> list[float]:
        """What is expected of a text by the inverse root of its length."""
        return [self._slope, self._offset]


def _rounded(table: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return what is left of a table after a byte for each value, so that reference and requests see the same."""
    return np.round(table.clip(0, _SURPRISE_MAX) / _SURPRISE_MAX * 255) * (_SURPRISE_MAX / 255)


class Words:
    """Two Shiryaev-Roberts sums for each bucket of words, as in `detector`; 4 KB."""

    def __init__(self, counts: npt.NDArray[np.float64], total: int, evidence: npt.NDArray[np.float64]) -> None:
        self._counts = counts
        self._total = total
        self._evidence = evidence

    @staticmethod
    def learn(rows: Sequence[Sequence[int]]) -> Words:
        """Count the reference; half a text with and half without each word stand for what was never seen."""
        counts = np.zeros(_WORD_BUCKETS)
        for row in rows:
            counts[_folded(row)] += 1
        return Words(counts, len(rows), np.zeros((len(_GAINS), _WORD_BUCKETS)))

    def observe(self, row: Sequence[int]) -> float:
        """Take a text; return the mean evidence."""
        present, evidence, counts = _folded(row), self._evidence, self._counts
        evidence += 1
        evidence *= 1 - _GAINS
        share = (counts[present] + 0.5) / (self._total + 1)
        gained = evidence[:, present] * (1 + _GAINS / (1 - _GAINS) / share)
        evidence[:, present] = np.minimum(gained, 1e300)
        if self._total < _COUNT_MAX:
            counts[present] += 1
            self._total += 1
        return float(evidence.mean())

    def reset(self) -> None:
        """Forget the evidence."""
        self._evidence[:] = 0

    @property
    def level(self) -> float:
        """The evidence now."""
        return float(self._evidence.mean())

    def hot(self) -> list[int]:
        """Return the buckets that have become more frequent, the most telling first, numbered as in sketches.

        Several buckets of a sketch share one here; the one that the caller's texts have is meant.
        """
        most = self._evidence.max(axis=0)
        telling = [int(at) for at in np.argsort(-most)[:_HOT] if most[at] > 20]
        return [bucket for at in telling for bucket in range(BUCKETS) if bucket % _WORD_BUCKETS == at]

    def has_hot(self, row: Sequence[int]) -> bool:
        """Say whether a text has the most telling word."""
        best = int(self._evidence.argmax())
        return bool(self._evidence.flat[best] > 20) and any(
            bucket % _WORD_BUCKETS == best % _WORD_BUCKETS for bucket in row
        )

    def dump(self) -> tuple[array[int], array[int], int]:
        """Return counts, evidence as its logarithm in 1/100, and the number of texts."""
        logs = np.round(np.log1p(self._evidence).clip(0, 655) * 100).ravel().astype("<u2")
        return array("H", self._counts.astype("<u2").tobytes()), array("H", logs.tobytes()), self._total

    @staticmethod
    def load(counts: array[int], logs: array[int], total: int) -> Words:
        """Return what `dump` gave."""
        return Words(np.array(counts, float), total, np.expm1(np.array(logs, float).reshape(len(_GAINS), -1) / 100))


def _folded(row: Sequence[int]) -> list[int]:
    return list({bucket % _WORD_BUCKETS for bucket in row})
