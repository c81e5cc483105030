"""Facts that documents state about themselves: headers, front matter, `Key: value` lines, tables, headings.

Nothing is inferred: the value of every fact stands in its evidence, and the evidence in the document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath

__all__ = ["VALUE_CHARACTERS_MAX", "Fact", "facts_of"]

VALUE_CHARACTERS_MAX = 120
_FACTS_MAX = 24
_TOP_LINES = 60
_SHORT_DOCUMENT = 4000
_LINE_CHARACTERS_MAX = 1000  # the patterns below take quadratic time on some lines
_VALUE_WORDS_MAX = 6  # more words after a colon are prose
_HEADER = re.compile(r"^([A-Za-z][A-Za-z0-9-]{1,30}): (.+)$")
_KEY_LINE = re.compile(r"^(?:[-*+] +)?\**([A-Z][\w/()-]*(?: [\w/()-]+){0,3})\**:\** +(\S.*)$")
_GENERIC_NAMES = {"readme", "index", "metadata", "license", "pkg-info", "__init__", "document"}
_HEADING = re.compile(r"^(#{1,6}) +(.+?)(?: +#+)?$")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_URL_LABEL = re.compile(r"(?:^|, )([A-Za-z][^,]{1,30}), (https?://[^\s,]+)")
_PERSON = re.compile(r'"?([^<>,"]{3,60}?)"? <[^>]+>')
_RULE = re.compile(r"^\|?[\s:|-]+\|[\s:|-]*$")
_SENTENCE = re.compile(r"[A-Z][^\n]{20,118}?[.!?](?=\s|$)")
_EMPTY_VALUES = {"unknown", "none", "null", "n/a", "na", "-", "tbd", "todo", "yes", "no", "true", "false"}
_NOT_KEYS = re.compile(
    "notes?|warning|important|tip|caution|hint|examples?|for example|usage|returns|raises|see|see also|todo"
    "|question|answer|https?|copyright|args|attention"
)
_HEADER_NAMES = {
    "version": "version",
    "summary": "summary",
    "home-page": "home page",
    "author": "author",
    "maintainer": "maintainer",
    "license": "license",
    "license-expression": "license",
    "requires-python": "required Python version",
    "keywords": "keywords",
    "provides-extra": "optional extras",
    "subject": "subject line",
    "date": "date",
}
_HEADERS_IGNORED = re.compile(
    "metadata-version|name|classifier|requires-dist|description-content-type|license-file|dynamic|platform|download-url"
    "|description|message-id|received|mime-version|content-type|from|to|cc|bcc|reply-to"
)


@dataclass(frozen=True)
class Fact:
    """`subject`'s `attribute` is `value`; `evidence` is the piece of the document that says so."""

    subject: str
    attribute: str
    value: str
    evidence: str


def facts_of(text: str, source: str) -> list[Fact]:
    """Return the facts of a document, the surest kinds first, one per subject and attribute."""
    text = "\n".join(line for line in text.split("\n") if len(line) <= _LINE_CHARACTERS_MAX)
    headers = _headers(text)
    subject = _subject(text, source, headers)
    found: dict[tuple[str, str], Fact] = {}
    for fact in (*_header_facts(subject, headers), *_key_facts(subject, text, headers), *_table_facts(text)):
        _add(found, fact)
    if not found:
        for fact in _outline_facts(subject, text, source):
            _add(found, fact)
    return list(found.values())[:_FACTS_MAX]


def _add(found: dict[tuple[str, str], Fact], fact: Fact) -> None:
    value = _plain(fact.value).rstrip(".") if len(fact.value) < 60 else _plain(fact.value)
    stands = value and value in fact.evidence and 1 < len(value) <= VALUE_CHARACTERS_MAX
    if stands and fact.subject and value.lower() not in {*_EMPTY_VALUES, fact.subject.lower()} and "\n" not in value:
        key = (fact.subject.lower(), fact.attribute.lower())
        found.setdefault(key, Fact(fact.subject, fact.attribute, value, fact.evidence))


def _plain(text: str) -> str:
    """Return text without the marks of Markdown and quoting."""
    return _LINK.sub(r"\1", text).strip().strip("*`\"'").strip()


def _headers(text: str) -> list[tuple[str, str, str]]:
    """Return key, value and line of the header block or front matter that a document starts with."""
    lines = text[:20_000].split("\n")
    if lines[0].strip() == "---":
        lines = lines[1:]
    headers = []
    for line in lines:
        found = _HEADER.match(line)
        if not found:
            break
        headers.append((found.group(1).lower(), found.group(2).strip(), line))
    return headers if len(headers) > 1 or text.startswith("---") else []


def _subject(text: str, source: str, headers: list[tuple[str, str, str]]) -> str:
    stated = {key: value for key, value, _ in headers}
    for key in ("name", "title", "subject"):
        if key in stated:
            return _plain(stated[key])[:80]
    for line in text.split("\n")[:_TOP_LINES]:
        heading = _HEADING.match(line)
        if heading and heading.group(1) == "#" and 2 < len(_plain(heading.group(2))) <= 80:
            return _plain(heading.group(2))
    path, _, fragment = source.partition("#")
    if fragment and not fragment.startswith(("part", "line")):
        return fragment
    file = PurePosixPath(path)
    return file.parent.name if file.stem.lower() in _GENERIC_NAMES and file.parent.name else file.stem


def _header_facts(subject: str, headers: list[tuple[str, str, str]]) -> Iterator[Fact]:
    for key, value, line in headers:
        if key == "project-url":
            for label, url in _URL_LABEL.findall(value):
                yield Fact(subject, f"{label.strip().lower()} URL", url, f"{label}, {url}")
        elif key in {"author-email", "maintainer-email"}:
            people = ", ".join(name.strip() for name in _PERSON.findall(value)[:1])
            if people:
                yield Fact(subject, key.removesuffix("-email"), people, line)
        elif key in _HEADER_NAMES or not _HEADERS_IGNORED.fullmatch(key):
            yield Fact(subject, _HEADER_NAMES.get(key, key.replace("-", " ")), value, line)


def _key_facts(subject: str, text: str, headers: list[tuple[str, str, str]]) -> Iterator[Fact]:
    lines = text.split("\n")
    lines = lines if len(text) <= _SHORT_DOCUMENT else lines[:_TOP_LINES]
    for line in lines[len(headers) :]:
        found = _KEY_LINE.match(line)
        if (
            found
            and not _NOT_KEYS.fullmatch(found.group(1).lower())
            and len(found.group(2).split()) <= _VALUE_WORDS_MAX
        ):
            yield Fact(subject, found.group(1).lower().replace("_", " "), found.group(2), line)


def _table_facts(text: str) -> Iterator[Fact]:
    """Yield one fact per cell of Markdown tables: the row's first cell has the column's name as an attribute."""
    lines = text.split("\n")
    header: list[str] = []
    for line, after in pairwise([*lines, ""]):
        if "|" not in line:
            header = []
        elif _RULE.match(after) and not _RULE.match(line):
            header = _cells(line)
        elif header and not _RULE.match(line):
            cells = _cells(line)
            if len(cells) == len(header) and 1 < len(cells[0]) <= 60:
                for name, cell in zip(header[1:], cells[1:], strict=True):
                    if 1 < len(name) <= 40 and len(cell) <= 60:
                        yield Fact(cells[0], name.lower(), cell, line)


def _cells(line: str) -> list[str]:
    return [_plain(cell) for cell in line.strip().strip("|").split("|")]


def _outline_facts(subject: str, text: str, source: str) -> Iterator[Fact]:
    """Yield what any document offers: its title, how it begins, and which section follows which."""
    headings = [(match.group(0), _plain(match.group(2))) for match in map(_HEADING.match, text.split("\n")) if match]
    if headings and text.startswith(("# ", "## ")):
        yield Fact(PurePosixPath(source).name, "title", headings[0][1], headings[0][0])
    sentence = _SENTENCE.search(text)
    if sentence:
        yield Fact(subject, "opening sentence", sentence.group(0), sentence.group(0))
    for (line, first), (next_line, second) in pairwise(headings[:8]):
        start = text.find(line)
        end = text.find(next_line, start + len(line))
        if 0 <= start < end < start + 300 and len(first) <= 50:
            yield Fact(subject, f"section after {first!r}", second, text[start : end + len(next_line)])
