"""What a document is built of, and whose it is: headings, lists, tables, code, questions with answers, licences."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["RESTRICTED", "Structure", "licences_of", "structure_of"]

# All patterns take linear time: none has two adjacent quantifiers over the same characters.
_HEADING = re.compile(rb"^(?:#{1,6} \S|(?:\d{1,3}\.){1,5}\d{0,3} {1,4}[A-Z][^\n]{2,80}$|[=~^-]{4,100}$)", re.MULTILINE)
_LIST = re.compile(rb"^[ \t]{0,12}(?:[-*+]|\xe2\x80\xa2|\d{1,3}[.)])[ \t]", re.MULTILINE)
_TABLE = re.compile(rb"^[ \t]{0,12}(?:\|[^\n]*\||\+[-=]{2,200}\+)", re.MULTILINE)
_CODE = re.compile(rb"^(?:[ \t]{0,12}(?:```|~~~)|(?: {4,12}|\t)[^\n]*[;{}()=][ \t]*$)", re.MULTILINE)
_QUESTION = re.compile(
    rb"^[ \t]{0,12}(?:\*\*|#{1,6} )?(?:Q(?:uestion)?[ \t]?\d{0,3}[:.)]|(?:\d{1,3}\.){0,4}\d{0,3} ?"
    rb"(?:How|What|Why|When|Where|Which|Who|Can|Is|Are|Do|Does|Should|Wie|Was|Warum|Wann|Wo|Comment|Pourquoi)\b"
    rb"[^\n.]{4,160}\?(?:\*\*)?[ \t]{0,4}$)",
    re.MULTILINE,
)
_TURN = re.compile(
    rb"^[ \t]{0,4}(?:\*\*|<)?(?:User|Assistant|Human|Agent|Customer|Support|System|Interviewer)(?:\*\*|>)?:",
    re.MULTILINE,
)
_LICENCE_BYTES = 8000  # a licence stands at the top or at the end of a file
_SPDX = re.compile(rb"SPDX-License-Identifier:[ \t]{1,4}([A-Za-z0-9.+() -]{2,60})")
RESTRICTED = "confidential"
_LICENCES: Mapping[str, re.Pattern[bytes]] = {
    "Apache-2.0": re.compile(rb"Apache License,? Version 2\.0"),
    "GPL": re.compile(rb"GNU General Public License"),
    "LGPL": re.compile(rb"GNU (?:Lesser|Library) General Public License"),
    "GFDL": re.compile(rb"GNU Free Documentation License"),
    "MIT": re.compile(rb"MIT License|Permission is hereby granted, free of charge"),
    "BSD": re.compile(rb"Redistribution and use in source and binary forms"),
    "Creative Commons": re.compile(rb"Creative Commons|creativecommons\.org/licenses"),
    "all rights reserved": re.compile(rb"[Aa]ll [Rr]ights [Rr]eserved"),
    RESTRICTED: re.compile(
        rb"(?im)^\W{0,8}(?:strictly |company )?confidential\W{0,8}$"
        rb"|(?:proprietary and confidential|for internal use only|do not distribute)"
    ),
}


class Structure(NamedTuple):
    """Lines of each kind in one document."""

    headings: int
    list_items: int
    table_rows: int
    code_lines: int
    questions: int
    turns: int

    @property
    def pairs(self) -> int:
        """Questions with an answer: headed questions, or every second turn of a dialogue."""
        return self.questions + self.turns // 2


def structure_of(text: bytes) -> Structure:
    """Count the lines of each kind in UTF-8 text."""
    kinds = (_HEADING, _LIST, _TABLE, _CODE, _QUESTION, _TURN)
    return Structure(*(sum(1 for _ in pattern.finditer(text)) for pattern in kinds))


def licences_of(text: bytes) -> list[str]:
    """Return the licences that a document's beginning or end names, sorted."""
    part = text if len(text) <= 2 * _LICENCE_BYTES else text[:_LICENCE_BYTES] + b"\n" + text[-_LICENCE_BYTES:]
    folded = b" ".join(part.split())
    named = {name for name, pattern in _LICENCES.items() if pattern.search(part if name == RESTRICTED else folded)}
    named |= {found.decode().strip(" ()").replace(" or ", " OR ") for found in _SPDX.findall(part)}
    return sorted(named)
