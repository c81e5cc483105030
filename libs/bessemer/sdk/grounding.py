"""Whether a generated question and answer may become a training row: each refusal has a reason that is counted.

Small models invent; a row they invent teaches the next model to do so. The checks are lexical, so that they cost
nothing and can be explained: what an answer says must stand in the passage it was made from.
"""

from __future__ import annotations

import re
from collections import Counter

__all__ = ["AGREEMENT_MIN", "EXPLANATIONS", "agreement", "answer_refusal", "normal", "question_refusal", "support"]

EXPLANATIONS = {
    "KEPT": "grounded in its passage",
    "QUESTION_TOO_SHORT": "fewer than four words",
    "QUESTION_NOT_SELF_CONTAINED": "it speaks of the text, which a reader of the row does not see",
    "ANSWER_EMPTY": "no word in it",
    "ANSWER_REFUSED": "the model declined or said that it does not know",
    "ANSWER_IN_QUESTION": "the question already says it",
    "ANSWER_REPEATS": "it says the same again and again",
    "ANSWER_NOT_GROUNDED": "its words are not in the passage",
    "NUMBER_NOT_IN_PASSAGE": "it states a number that the passage does not",
    "DUPLICATE_QUESTION": "the same question was kept before",
    "NOT_REPRODUCED": "asked again with the passage, the model answered something else",
    "REQUEST_FAILED": "the endpoint gave no answer",
}
SUPPORT_MIN = 0.8  # share of the answer's content words that must stand in the passage
AGREEMENT_MIN = 0.5  # token F1 of SQuAD (Rajpurkar et al. 2016, section 6) between the answer and the one given again
_QUESTION_WORDS_MIN = 4
_REPETITION_MAX = 0.3  # share of the answer's runs of four words that came before in it
_WORD = re.compile(r"\w+(?:[.,:'-]\w+)*")
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_ABOUT_THE_TEXT = re.compile(
    r"\b(?:(?:the|this|given|above|following)\s+(?:text|passage|document|excerpt|paragraph|context|section)"
    r"|according to the author|mentioned (?:above|below|here))\b",
    re.IGNORECASE,
)
_REFUSED = re.compile(
    r"\b(?:i (?:can(?:no|')t|do not|don't) (?:know|answer|find|provide)|as an ai|i'm sorry"
    r"|not (?:mentioned|specified|stated))\b",
    re.IGNORECASE,
)
# Words that say nothing of their own; the closed classes of English, and what is shorter than three letters.
_EMPTY_TEXT = """
about after all also and any are because been before being between both but can could does each for from had
has have her here him his how into its may might more most must not only other our out over shall she should
some such than that the their them then there these they this those through under upon was were what when
where which while who whom whose why will with would you your
"""
_EMPTY_WORDS = frozenset(_EMPTY_TEXT.split())


def question_refusal(question: str) -> str:
    """Return why a question or an instruction is refused, a key of `EXPLANATIONS`; empty if it may be kept."""
    if len(_words(question)) < _QUESTION_WORDS_MIN:
        return "QUESTION_TOO_SHORT"
    return "QUESTION_NOT_SELF_CONTAINED" if _ABOUT_THE_TEXT.search(question) else ""


def answer_refusal(question: str, answer: str, passage: str) -> str:
    """Return why an answer is refused, a key of `EXPLANATIONS`; empty if it may be kept."""
    checks = (
        ("ANSWER_EMPTY", not _words(answer)),
        ("ANSWER_REFUSED", _REFUSED.search(answer)),
        ("ANSWER_IN_QUESTION", normal(answer) in normal(question)),
        ("ANSWER_REPEATS", _repetition(answer) > _REPETITION_MAX),
        ("NUMBER_NOT_IN_PASSAGE", not set(_NUMBER.findall(answer)) <= set(_NUMBER.findall(passage))),
        ("ANSWER_NOT_GROUNDED", support(answer, passage) < SUPPORT_MIN),
    )
    return next((reason for reason, failed in checks if failed), "")


def support(answer: str, passage: str) -> float:
    """Return the share of the answer's content words of which the passage has some form; 0 to 1.

    Forms of a word share all but its last three letters, at least four.
    """
    content = [word for word in _words(answer) if word not in _EMPTY_WORDS and len(word) > 2]
    said = _words(passage)
    stems = [word[: max(4, len(word) - 3)] for word in content]
    return sum(any(word.startswith(stem) for word in said) for stem in stems) / len(stems) if stems else 1.0


def agreement(first: str, second: str) -> float:
    """Return the token F1 of two answers, 0 to 1 (SQuAD, Rajpurkar et al. 2016, section 6)."""
    left, right = Counter(_words(first)), Counter(_words(second))
    shared = sum((left & right).values())
    return 2 * shared / (left.total() + right.total()) if shared else 0.0


def normal(text: str) -> str:
    """Return the words of a text in lower case, one space between them."""
    return " ".join(_words(text))


def _repetition(text: str) -> float:
    words = _words(text)
    runs = [tuple(words[at : at + 4]) for at in range(len(words) - 3)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())
