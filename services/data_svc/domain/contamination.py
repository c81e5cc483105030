"""When a document gives away cases of an evaluation suite; `bessemer.artifacts.contamination` says how it is seen."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Overlap", "explain", "gives_away"]

# Brown et al. 2020, appendix C, count a case as seen if one run of 13 of its words was; Dubey et al. 2024, section
# 5.1.4, if enough of its tokens lie in runs of 8. Of 300 questions hidden in other text both together find nearly all,
# without a false alarm in 99 of 100 documents. A passage of 300 words is not given away by one sentence, as of a
# licence, though: so the long run must be a fifth of the case, which it is for a question of up to 65 words.
SHARE_MIN = 0.5
RUN_WORDS_MIN = 13
RUN_SHARE_MIN = 0.2


@dataclass(frozen=True, slots=True)
class Overlap:
    """What a document has in common with one case of a suite: the case it has most of."""

    suite: str
    share: float
    """Of the case's words, 0 to 1."""
    run_words: int
    """Length of the longest run of words in common."""
    start: int
    end: int
    """Where it lies in the document, in bytes of UTF-8: from the first word in common to the last."""


def gives_away(overlap: Overlap) -> bool:
    """Say whether training on the document would make the suite's score worthless for this case."""
    long_run = overlap.run_words >= RUN_WORDS_MIN and overlap.share >= RUN_SHARE_MIN
    return overlap.share >= SHARE_MIN or long_run


def explain(overlap: Overlap) -> str:
    """Return which suite it is, how much and where; never what."""
    return (
        f"{overlap.share:.0%} of a case of {overlap.suite}, {overlap.run_words} words in a row, "
        f"in bytes {overlap.start} to {overlap.end}"
    )
