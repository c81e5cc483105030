"""How much of a case a text holds, from the runs of eight words they share, and when that is too much.

Whoever finds the runs, a compiled scan of a corpus or a plain one, counts and judges them here.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bessemer.artifacts.contamination import NGRAM_WORDS

__all__ = ["Shared", "gives_away", "shared_words"]

Integers = npt.NDArray[np.int64]

# Brown et al. 2020, appendix C, count a case as seen if one run of 13 of its words was; Dubey et al. 2024, section
# 5.1.4, if enough of its tokens lie in runs of 8. Of 300 questions hidden in other text both together find nearly all,
# without a false alarm in 99 of 100 documents. A passage of 300 words is not given away by one sentence, as of a
# licence, though: so the long run must be a fifth of the case, which it is for a question of up to 65 words.
SHARE_MIN = 0.5
RUN_WORDS_MIN = 13
RUN_SHARE_MIN = 0.2


class Shared(NamedTuple):
    """What pairs of a text and a case have in common; pairs in ascending order.

    Shapes: order [hits] sorts what was given by pair and word of the case; bounds, words, longest [pairs]: where each
    pair begins in it, how many of the case's words are in common, and the most in a row.
    """

    order: Integers
    bounds: Integers
    words: Integers
    longest: Integers


def gives_away(share: float, run_words: int) -> bool:
    """Say whether training on a text would make a score worthless for a case of which it holds so much.

    Units: share of the case's words, 0 to 1; run_words the most of them in a row.
    """
    return share >= SHARE_MIN or (run_words >= RUN_WORDS_MIN and share >= RUN_SHARE_MIN)


def shared_words(text: Integers, word: Integers, case: Integers, case_word: Integers) -> Shared:
    """Count what texts and cases share, by runs of eight words found in both.

    Shapes: all [hits]: number of the text, word in it where the run begins, the same of the case.
    """
    order = np.lexsort((case_word, case, text))
    bounds = _bounds(text[order], case[order])
    runs = np.lexsort((word, case_word - word, case, text))
    return Shared(
        order,
        bounds,
        _words_in_common(case_word[order], bounds),
        _longest_runs(word[runs], (case_word - word)[runs], bounds),
    )


def _bounds(text: Integers, case: Integers) -> Integers:
    """Return where each pair of a text and a case begins in sorted hits."""
    if not text.size:
        return np.zeros(0, np.int64)
    return np.flatnonzero(np.r_[True, (text[1:] != text[:-1]) | (case[1:] != case[:-1])])


def _words_in_common(case_words: Integers, bounds: Integers) -> Integers:
    """Return how many words of the case lie in hits, for each pair; hits are in order of the word they begin at."""
    new = np.full(case_words.size, NGRAM_WORDS, np.int64)
    new[1:] = np.minimum(np.diff(case_words), NGRAM_WORDS)
    new[bounds] = NGRAM_WORDS
    return np.add.reduceat(new, bounds)


def _longest_runs(words: Integers, diagonals: Integers, bounds: Integers) -> Integers:
    """Return the most words that text and case have in common in a row, for each pair."""
    broken = np.ones(words.size, np.bool_)
    broken[1:] = (np.diff(words) != 1) | (np.diff(diagonals) != 0)
    broken[bounds] = True
    run = np.cumsum(broken) - 1
    return np.maximum.reduceat(np.bincount(run)[run], bounds) + NGRAM_WORDS - 1
