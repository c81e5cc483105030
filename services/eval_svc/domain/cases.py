"""Cases of a suite: what a line may hold, and its one canonical form.

PERPLEXITY  {"id", "text", "cluster"?}
CHOICE      {"id", "prompt": text | messages, "choices": [text], "target": index | text, "cluster"?}
EXACT       {"id", "prompt": text | messages, "target": text, "cluster"?}
REGEX       the same, the target being a regular expression
NUMERIC     the same, the target having a number
JSON_SCHEMA the same, the target being a JSON Schema
PYTHON      the same, the target being a program of unit tests
TEXT_SIMILARITY, FORMULA  the same
JUDGE, RECORDED  the same, the target may be missing
"""

from __future__ import annotations

import hashlib
import heapq
import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from bessemer.kernel.errors import InvalidRequest

from eval_svc.config import CASES_BYTES_MAX, CASES_MAX
from eval_svc.domain.numbers import last_number

__all__ = [
    "Case",
    "Grader",
    "Message",
    "format_cases",
    "given_away",
    "parse_cases",
    "passages",
    "pick",
    "questions",
    "target_problem",
]

ROLES = ("system", "user", "assistant")
CHOICES_MAX = 26
ID_CHARACTERS_MAX = 1_000


class Grader(StrEnum):
    """How a case is judged."""

    PERPLEXITY = "perplexity"
    CHOICE = "choice"
    EXACT = "exact"
    REGEX = "regex"
    NUMERIC = "numeric"
    JSON_SCHEMA = "json_schema"
    TEXT_SIMILARITY = "text_similarity"
    PYTHON = "python"
    JUDGE = "judge"
    FORMULA = "formula"
    RECORDED = "recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One question, or one text; cases of one cluster depend on each other."""

    id: str
    cluster: str
    text: str = ""
    prompt: str | tuple[Message, ...] = ""
    choices: tuple[str, ...] = ()
    target: str = ""
    target_index: int = 0


def parse_cases(data: bytes, grader: Grader, parts: Collection[Grader] = ()) -> list[Case]:
    """Read JSON Lines of cases; `parts` are the graders of a formula that read each case's target.

    Raises: InvalidRequest naming the line and what is wrong with it.
    """
    if len(data) > CASES_BYTES_MAX:
        raise _invalid(0, f"cases must be at most {CASES_BYTES_MAX} bytes; got {len(data)}; split the suite")
    cases: list[Case] = []
    lines_by_id: dict[str, int] = {}
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        case = _parse_case(line, number, grader, parts)
        if case.id in lines_by_id:
            raise _invalid(number, f"id {case.id[:80]!r} was used in line {lines_by_id[case.id]}; make ids unique")
        lines_by_id[case.id] = number
        cases.append(case)
        if len(cases) > CASES_MAX:
            raise _invalid(number, f"a suite has at most {CASES_MAX} cases; split it")
    if not cases:
        raise _invalid(0, "a suite needs at least one case; got none")
    return cases


def format_cases(cases: Iterable[Case]) -> bytes:
    """Write cases as JSON Lines in the one form whose digest identifies a suite."""
    return b"".join(_dump(_record(case)) + b"\n" for case in cases)


def target_problem(grader: Grader, target: str) -> str:
    """Say why a grader cannot use a target; empty if it can."""
    try:
        if grader is Grader.REGEX:
            re.compile(target)
        elif grader is Grader.JSON_SCHEMA and not isinstance(json.loads(target), dict):
            return "must be a JSON Schema, an object"
        elif grader is Grader.NUMERIC and last_number(target) is None:
            return "must have a number"
    except (re.error, ValueError, RecursionError, OverflowError) as error:
        # Where, and not what: cases may be sealed, and Python's messages quote names of groups.
        where = f"position {error.pos}" if isinstance(error, re.error | json.JSONDecodeError) else "some position"
        return f"must be {'a regular expression' if grader is Grader.REGEX else 'a JSON Schema'}; wrong at {where}"
    return ""


def given_away(case: Case, grader: Grader) -> str:
    """Return what a model must not have learned from: the text, or the question with its answer.

    Left out are system messages, which say how to answer, wrong choices, and expressions and schemas, which nobody
    would write.
    """
    if grader is Grader.PERPLEXITY:
        return case.text
    asked = (
        [case.prompt]
        if isinstance(case.prompt, str)
        else [turn.content for turn in case.prompt if turn.role != "system"]
    )
    return "\n".join(asked if grader in {Grader.REGEX, Grader.JSON_SCHEMA} else [*asked, case.target])


def passages(documents: Iterable[tuple[str, str]], *, characters: int, num_max: int) -> list[Case]:
    """Cut documents `(id, text)` into passages and pick at most `num_max`, spread over as many documents as possible.

    A passage is at most `characters` long and ends at white space; its document is its cluster. Which passages are
    picked depends on ids alone, so a suite made twice is the same suite.
    """
    chosen = heapq.nsmallest(num_max, documents, key=lambda document: _digest(document[0]))
    return pick(
        [
            Case(id=f"{document}:{index}", cluster=document, text=passage)
            for document, text in chosen
            for index, passage in enumerate(_cut(text, characters))
        ],
        num_max=num_max,
    )


def questions(data: bytes, grader: Grader, *, num_max: int) -> list[Case]:
    """Read questions made from facts, each with its answer as `target`, and pick at most `num_max`.

    A choice needs choices, so questions without are left out; for a regular expression the answer has to stand
    somewhere in what the model says, as words of its own.
    Raises: InvalidRequest naming the line, or that no question is left.
    """
    lines = [line for line in data.split(b"\n") if line.strip()]
    if grader is Grader.CHOICE:
        lines = [line for line in lines if b'"choices"' in line]
    cases = parse_cases(b"\n".join(lines), Grader.EXACT if grader is Grader.REGEX else grader)
    if grader is Grader.REGEX:
        cases = [replace(case, target=rf"(?i)(?<!\w){re.escape(case.target.strip())}(?!\w)") for case in cases]
    return pick(cases, num_max=num_max)


def pick(cases: Sequence[Case], *, num_max: int) -> list[Case]:
    """Pick at most `num_max` cases by the digest of their ids, one of every cluster before a second of any."""
    by_cluster: defaultdict[str, list[Case]] = defaultdict(list)
    for case in sorted(cases, key=lambda case: _digest(case.id)):
        by_cluster[case.cluster].append(case)
    ranked = [(rank, _digest(case.id), case) for group in by_cluster.values() for rank, case in enumerate(group)]
    chosen = sorted(ranked, key=lambda entry: entry[:2])[:num_max]
    return sorted((case for _, _, case in chosen), key=lambda case: case.id)


def _parse_case(line: bytes, number: int, grader: Grader, parts: Collection[Grader]) -> Case:
    try:
        record = json.loads(line)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise _invalid(
            number, f"a case is one JSON object in UTF-8; {type(error).__name__} while reading it"
        ) from error
    if not isinstance(record, dict):
        raise _invalid(number, f"a case is a JSON object; got {type(record).__name__}")
    identifier = _text(record, "id", number, length_max=ID_CHARACTERS_MAX)
    cluster = (
        _text(record, "cluster", number, length_max=ID_CHARACTERS_MAX)
        if record.get("cluster") is not None
        else identifier
    )
    if grader is Grader.PERPLEXITY:
        return Case(id=identifier, cluster=cluster, text=_text(record, "text", number))
    prompt = _prompt(record, number)
    if grader is Grader.CHOICE:
        choices = _choices(record, number)
        index = _target_index(record, choices, number)
        return Case(
            id=identifier, cluster=cluster, prompt=prompt, choices=choices, target=choices[index], target_index=index
        )
    target = (
        ""
        if grader in {Grader.JUDGE, Grader.RECORDED} and record.get("target") is None
        else _text(record, "target", number)
    )
    for each in (grader, *parts):
        if wrong := target_problem(each, target):
            raise _invalid(number, f"target {wrong}", field="target")
    return Case(id=identifier, cluster=cluster, prompt=prompt, target=target)


def _text(record: Mapping[str, Any], field: str, number: int, *, length_max: int = 1_000_000) -> str:
    value = record.get(field)
    if not isinstance(value, str) or not value.strip() or len(value) > length_max:
        got = f"{len(value)} characters" if isinstance(value, str) else type(value).__name__
        raise _invalid(number, f"{field} must be a text of 1 to {length_max} characters; got {got}", field=field)
    if not value.isprintable() and any("\ud800" <= character <= "\udfff" for character in value):
        raise _invalid(number, f"{field} must be valid Unicode; got a lone surrogate", field=field)
    return value


def _prompt(record: Mapping[str, Any], number: int) -> str | tuple[Message, ...]:
    value = record.get("prompt")
    if not isinstance(value, list):
        return _text(record, "prompt", number)
    if not value or not all(isinstance(turn, dict) and turn.get("role") in ROLES for turn in value):
        raise _invalid(number, f"prompt must hold messages with a role of {', '.join(ROLES)}", field="prompt")
    return tuple(Message(role=turn["role"], content=_text(turn, "content", number)) for turn in value)


def _choices(record: Mapping[str, Any], number: int) -> tuple[str, ...]:
    value = record.get("choices")
    if (
        not isinstance(value, list)
        or not 2 <= len(value) <= CHOICES_MAX
        or len({str(choice) for choice in value}) < len(value)
    ):
        raise _invalid(number, f"choices must be 2 to {CHOICES_MAX} different texts", field="choices")
    return tuple(_text({"choices": choice}, "choices", number) for choice in value)


def _target_index(record: Mapping[str, Any], choices: tuple[str, ...], number: int) -> int:
    value = record.get("target")
    if isinstance(value, str) and value in choices:
        return choices.index(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(choices):
        return value
    raise _invalid(
        number, f"target must be one of the choices, or an index from 0 to {len(choices) - 1}", field="target"
    )


def _record(case: Case) -> dict[str, Any]:
    record: dict[str, Any] = {"id": case.id, "cluster": case.cluster}
    if case.text:
        return record | {"text": case.text}
    record["prompt"] = (
        case.prompt
        if isinstance(case.prompt, str)
        else [{"role": turn.role, "content": turn.content} for turn in case.prompt]
    )
    if case.choices:
        return record | {"choices": list(case.choices), "target": case.target_index}
    return record | {"target": case.target} if case.target else record


def _dump(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def _cut(text: str, characters: int) -> Iterator[str]:
    start = 0
    while start < len(text):
        end = min(len(text), start + characters)
        if end < len(text):
            space = max(text.rfind(" ", start, end), text.rfind("\n", start, end))
            end = space + 1 if space > start else end
        passage = text[start:end].strip()
        # A tail of a few words says little and would weigh as a passage.
        if len(passage) >= characters // 8 or (passage and start == 0):
            yield passage
        start = end


def _digest(identifier: str) -> bytes:
    return hashlib.sha256(identifier.encode()).digest()


def _invalid(number: int, message: str, *, field: str = "cases") -> InvalidRequest:
    where = f"line {number}: " if number else ""
    return InvalidRequest(where + message, field="cases" if field == "cases" else f"cases.{field}", line=number)
