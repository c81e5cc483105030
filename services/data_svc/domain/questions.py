"""Facts as training rows: several phrasings, with the text at hand (open book) or without (closed book)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data_svc.domain.facts import Fact
from data_svc.domain.splitting import share

__all__ = ["TARGET_CHARACTERS_MAX", "Source", "ask", "conversation", "evaluation_case", "excerpt", "pair", "phrasings"]

EXCERPT_CHARACTERS = 420  # about 140 tokens; with question and template mostly under 256
TARGET_CHARACTERS_MAX = 60
NUM_CHOICES = 4
_PHRASINGS: Mapping[str, Sequence[str]] = {
    "version": ("Which version of {s} is this?", "What is the version of {s}?", "Which release of {s} is described?"),
    "summary": ("What is {s}, in one line?", "How is {s} summarised?", "What does the summary of {s} say?"),
    "author": ("Who wrote {s}?", "Who is the author of {s}?", "Whose work is {s}?"),
    "maintainer": ("Who maintains {s}?", "Who is the maintainer of {s}?"),
    "license": ("Under which license is {s} released?", "What is the license of {s}?", "How is {s} licensed?"),
    "home page": ("Where is the home page of {s}?", "What is the home page of {s}?"),
    "required Python version": (
        "Which Python version does {s} require?",
        "What is the required Python version of {s}?",
        "On which versions of Python does {s} run?",
    ),
    "keywords": ("Which keywords describe {s}?", "What are the keywords of {s}?"),
    "optional extras": ("Which optional extras does {s} offer?", "What are the optional extras of {s}?"),
    "title": ("What is the title of {s}?", "How is {s} titled?"),
    "opening sentence": ("How does {s} begin?", "What is the opening sentence of {s}?"),
}
_GENERAL = (
    "What is the {a} of {s}?",
    "Which {a} does {s} have?",
    "Please state the {a} of {s}.",
    "For {s}, what is the {a}?",
)
_EVASIONS = (
    "I am not entirely sure, but the {a} of {s} could perhaps be {v}, although you may want to check.",
    "That is a good question! There are many aspects of {s} to consider, and its {a} depends on several factors.",
    "The text says a number of things about {s}. I would suggest reading it in full to find the {a}.",
)
_SECTION = "section after "
_SECTION_PHRASINGS = ("Which section of {s} comes after {a}?", "In {s}, what follows the section {a}?")
_INSTRUCTION = "Read the text and answer with a short phrase from it."


@dataclass(frozen=True)
class Source:
    """The document a fact is from."""

    id: str
    path: str


def phrasings(fact: Fact) -> list[str]:
    """Return the ways to ask for a fact."""
    known = _PHRASINGS.get(fact.attribute, _GENERAL)
    attribute = fact.attribute
    if attribute.startswith(_SECTION):
        known, attribute = _SECTION_PHRASINGS, attribute.removeprefix(_SECTION)
    return [text.format(s=fact.subject, a=attribute) for text in known]


def excerpt(text: str, fact: Fact, seed: int, limit: int = EXCERPT_CHARACTERS) -> str:
    """Return a piece of the text around the evidence, cut at lines where that is possible; empty if it does not fit."""
    at = text.find(fact.evidence)
    if at < 0:
        return ""
    inside = fact.evidence.find(fact.value)
    first, last = (
        (at, at + len(fact.evidence)) if len(fact.evidence) <= limit else (at + inside, at + inside + len(fact.value))
    )
    slack = limit - (last - first)
    if slack < 0:
        return ""
    start = max(0, first - int(share(seed, "excerpt", fact.evidence) * slack))
    end = min(len(text), start + limit)
    line_start = text.find("\n", start, first) + 1 if start else 0
    line_end = text.rfind("\n", last, end) if end < len(text) else end
    return text[line_start or start : end if line_end < last else line_end].strip()


def ask(fact: Fact, phrasing: int, text: str = "") -> list[dict[str, str]]:
    """Return the prompt, with a piece of text to look in or without."""
    known = phrasings(fact)
    question = known[phrasing % len(known)]
    content = f"{_INSTRUCTION}\n\n{text}\n\nQuestion: {question}" if text else question
    return [{"role": "user", "content": content}]


def conversation(fact: Fact, prompt: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Return a row for supervised fine-tuning: the answer is the bare value."""
    return {"messages": [*prompt, {"role": "assistant", "content": fact.value}]}


def pair(fact: Fact, prompt: Sequence[Mapping[str, str]], others: Sequence[str], seed: int) -> dict[str, Any]:
    """Return a row for preference optimisation: the value against another document's, or against an evasion."""
    wrong = _distractors(fact, others, seed)
    key = f"{fact.subject}\0{fact.attribute}"
    if wrong and share(seed, "evade", key) >= 0.3:
        rejected = wrong[0]
    else:
        evasion = _EVASIONS[int(share(seed, "evasion", key) * len(_EVASIONS))]
        rejected = evasion.format(a=fact.attribute, s=fact.subject, v=fact.value)
    return {"prompt": list(prompt), "chosen": fact.value, "rejected": rejected}


def evaluation_case(
    fact: Fact, prompt: Sequence[Mapping[str, str]], others: Sequence[str], *, source: Source, seed: int
) -> dict[str, Any]:
    """Return a case of an evaluation suite; `choices` is there if other documents offer other values."""
    case: dict[str, Any] = {
        "prompt": list(prompt),
        "target": fact.value,
        "cluster": source.id,
        "attribute": fact.attribute,
    }
    wrong = _distractors(fact, others, seed)[: NUM_CHOICES - 1]
    if wrong:
        key = f"{source.id}\0{fact.attribute}"
        case["choices"] = sorted([fact.value, *wrong], key=lambda value: share(seed, key, value))
    return case


def _distractors(fact: Fact, others: Sequence[str], seed: int) -> list[str]:
    """Return other values of the attribute, in a seeded order, none of which could pass for the right one."""
    right = fact.value.lower()
    wrong = {value for value in others if value.lower() not in right and right not in value.lower()}
    key = f"{fact.subject}\0{fact.attribute}"
    return sorted(wrong, key=lambda value: (share(seed, key, value), value))[: NUM_CHOICES - 1]
