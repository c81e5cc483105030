"""When a document gives away cases of an evaluation suite; `bessemer.artifacts.contamination` says how it is seen."""

from __future__ import annotations

from dataclasses import dataclass

from bessemer.artifacts import contamination_overlap

__all__ = ["Overlap", "explain", "gives_away"]


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
    return contamination_overlap.gives_away(overlap.share, overlap.run_words)


def explain(overlap: Overlap) -> str:
    """Return which suite it is, how much and where; never what."""
    return (
        f"{overlap.share:.0%} of a case of {overlap.suite}, {overlap.run_words} words in a row, "
        f"in bytes {overlap.start} to {overlap.end}"
    )
