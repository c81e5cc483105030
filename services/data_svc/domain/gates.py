"""Which documents are dropped. Only unusable text is: everything else is an annotation for people to read.

Web-crawl thresholds would drop most manuals, tables and policies, so none of them is a gate here.
"""

from __future__ import annotations

from dataclasses import dataclass

from data_svc.domain.decoding import is_damaged
from data_svc.domain.reasons import Reason

__all__ = ["Measures", "gate"]

REPEATED_NGRAM_SHARE_MAX = 0.75
REPEATED_LINE_SHARE_MAX = 0.8
REPETITION_WORDS_MIN = 60


@dataclass(frozen=True)
class Measures:
    """What the gates look at, and what the profile shows."""

    characters: int
    replaced: int
    words: int
    repeated_line_share: float
    repeated_ngram_share: float
    letter_share: float


def gate(measures: Measures, min_characters: int) -> tuple[Reason, str] | None:
    """Return why a document is dropped, in one word and with the measured value; None keeps it."""
    if measures.words == 0:
        return Reason.EMPTY, "no words"
    if is_damaged(measures.replaced, measures.characters):
        share = measures.replaced / measures.characters
        return Reason.ENCODING_DAMAGED, f"{share:.1%} of the characters cannot be decoded"
    if measures.characters < min_characters:
        return Reason.TOO_SHORT, f"{measures.characters} characters"
    if measures.words >= REPETITION_WORDS_MIN:
        if measures.repeated_ngram_share > REPEATED_NGRAM_SHARE_MAX:
            return Reason.REPETITIVE, f"{measures.repeated_ngram_share:.0%} lies in repeated runs of eight words"
        if measures.repeated_line_share > REPEATED_LINE_SHARE_MAX:
            return Reason.REPETITIVE, f"{measures.repeated_line_share:.0%} lies in repeated lines"
    return None
