"""Thresholds of published web corpora, as a pure function from a document's measures to the rules that it breaks.

They are fit for crawled web pages. Most manuals, tables and lists break one, so the default profile only annotates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

__all__ = ["MEANINGS", "RULES", "Failure", "QualityMeasures", "Rule", "failures", "first_failure"]


class QualityMeasures(NamedTuple):
    """What `worker.quality.measure` counts in one document; shares are of 1, lengths are in characters.

    Tokens are words and punctuation marks, words hold a letter or a digit, lines are those that are not blank.
    A line is retained if it has three words, none over 1,000 characters, and neither the word Javascript nor a
    phrase of cookie notices. The last six measures look at retained lines only.
    """

    characters: float
    tokens: float
    words: float
    mean_word_length: float
    hash_share: float
    ellipsis_share: float
    bullet_line_share: float
    ellipsis_line_share: float
    letter_token_share: float
    stop_words: float
    duplicate_line_share: float
    duplicate_line_character_share: float
    duplicate_paragraph_share: float
    duplicate_paragraph_character_share: float
    top_2gram_share: float
    top_3gram_share: float
    top_4gram_share: float
    duplicate_5gram_share: float
    duplicate_6gram_share: float
    duplicate_7gram_share: float
    duplicate_8gram_share: float
    duplicate_9gram_share: float
    duplicate_10gram_share: float
    terminal_line_share: float
    retained_line_share: float
    lorem_ipsum_lines: float
    curly_bracket_lines: float
    sentences: float
    punctuated_line_share: float
    short_line_share: float
    repeated_character_share: float
    newline_share: float


class Rule(NamedTuple):
    """A range that a measure must lie in, ends included."""

    name: str
    measure: str
    low: float = -inf
    high: float = inf


@dataclass(frozen=True)
class Failure:
    """A rule that a document breaks, with the value measured."""

    rule: Rule
    value: float

    def __str__(self) -> str:
        """Return the rule, the value and the bound it crosses, as a person reads it."""
        side, bound = ("below", self.rule.low) if self.value < self.rule.low else ("above", self.rule.high)
        return f"{self.rule.name}: {self.rule.measure} {self.value:.3g} is {side} {bound:g}"


# Rae et al. 2021, "Scaling Language Models: Methods, Analysis & Insights from Training Gopher", table A1.
_GOPHER_REPETITION = (
    Rule("gopher/duplicate_paragraphs", "duplicate_paragraph_share", high=0.30),
    Rule("gopher/duplicate_paragraph_characters", "duplicate_paragraph_character_share", high=0.20),
    Rule("gopher/duplicate_lines", "duplicate_line_share", high=0.30),
    Rule("gopher/duplicate_line_characters", "duplicate_line_character_share", high=0.20),
    Rule("gopher/top_2gram", "top_2gram_share", high=0.20),
    Rule("gopher/top_3gram", "top_3gram_share", high=0.18),
    Rule("gopher/top_4gram", "top_4gram_share", high=0.16),
    Rule("gopher/duplicate_5grams", "duplicate_5gram_share", high=0.15),
    Rule("gopher/duplicate_6grams", "duplicate_6gram_share", high=0.14),
    Rule("gopher/duplicate_7grams", "duplicate_7gram_share", high=0.13),
    Rule("gopher/duplicate_8grams", "duplicate_8gram_share", high=0.12),
    Rule("gopher/duplicate_9grams", "duplicate_9gram_share", high=0.11),
    Rule("gopher/duplicate_10grams", "duplicate_10gram_share", high=0.10),
)
# Rae et al. 2021, section A.1.1, "Quality Filtering".
_GOPHER_QUALITY = (
    Rule("gopher/words", "words", 50, 100_000),
    Rule("gopher/mean_word_length", "mean_word_length", 3, 10),
    Rule("gopher/hashes", "hash_share", high=0.1),
    Rule("gopher/ellipses", "ellipsis_share", high=0.1),
    Rule("gopher/bullets", "bullet_line_share", high=0.9),
    Rule("gopher/ellipsis_lines", "ellipsis_line_share", high=0.3),
    Rule("gopher/letters", "letter_token_share", low=0.8),
    Rule("gopher/stop_words", "stop_words", low=2),
)
# Raffel et al. 2020, "Exploring the Limits of Transfer Learning", section 2.2. Lines without terminal punctuation stay:
# Penedo et al. 2024, section 3.5, found that rule to cost 30 % of all tokens, and put a share of lines in its place.
_C4 = (
    Rule("c4/lorem_ipsum", "lorem_ipsum_lines", high=0),
    Rule("c4/curly_bracket", "curly_bracket_lines", high=0),
    Rule("c4/sentences", "sentences", low=5),
)
# Penedo et al. 2024, "The FineWeb Datasets", section 3.6; values and the share of newlines as in its published code.
_FINEWEB = (
    Rule("fineweb/line_punctuation", "punctuated_line_share", low=0.12),
    Rule("fineweb/short_lines", "short_line_share", high=0.67),
    Rule("fineweb/repeated_characters", "repeated_character_share", high=0.01),
    Rule("fineweb/newlines", "newline_share", high=0.3),
)

RULES: tuple[Rule, ...] = _GOPHER_REPETITION + _GOPHER_QUALITY + _C4 + _FINEWEB
MEANINGS: Mapping[str, str] = {  # what the measures of the rules are, for people
    "words": "the number of words",
    "mean_word_length": "the mean length of a word",
    "hash_share": "the share of # signs among words",
    "ellipsis_share": "the share of ellipses among words",
    "bullet_line_share": "the share of lines that begin with a bullet",
    "ellipsis_line_share": "the share of lines that end in an ellipsis",
    "letter_token_share": "the share of words and marks that hold a letter",
    "stop_words": "the number of different common English words (the, of, and ...)",
    "duplicate_line_share": "the share of lines that stood before in the document",
    "duplicate_line_character_share": "the share of text in lines that stood before in the document",
    "duplicate_paragraph_share": "the share of paragraphs that stood before in the document",
    "duplicate_paragraph_character_share": "the share of text in paragraphs that stood before in the document",
    **{f"top_{n}gram_share": f"the share of text that is its most frequent phrase of {n} words" for n in (2, 3, 4)},
    **{
        f"duplicate_{n}gram_share": f"the share of text in phrases of {n} words that stood before in the document"
        for n in range(5, 11)
    },
    "lorem_ipsum_lines": "the number of lines with 'lorem ipsum'",
    "curly_bracket_lines": "the number of lines with a curly bracket",
    "sentences": "the number of sentences",
    "punctuated_line_share": "the share of lines that end like a sentence",
    "short_line_share": "the share of lines of at most 30 characters",
    "repeated_character_share": "the share of text in lines that are repeated",
    "newline_share": "the number of line ends per word",
}
_INDEXED = tuple((QualityMeasures._fields.index(rule.measure), rule) for rule in RULES)


def failures(measures: QualityMeasures) -> list[Failure]:
    """Return every rule that a document breaks, in the order of `RULES`."""
    return [Failure(rule, measures[at]) for at, rule in _INDEXED if not rule.low <= measures[at] <= rule.high]


def first_failure(measures: QualityMeasures) -> Failure | None:
    """Return the first rule that a document breaks; None if a web corpus would keep it."""
    for at, rule in _INDEXED:
        if not rule.low <= measures[at] <= rule.high:
            return Failure(rule, measures[at])
    return None
