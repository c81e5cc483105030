"""Which documents an erasure takes, and what became of them: decisions over records, texts and names."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from bessemer.kernel.errors import InvalidRequest

__all__ = ["SEPARATORS", "Edge", "Identifier", "Selector", "reached", "read_identifiers", "selector_of_task"]

IDENTIFIERS_MAX = 100
IDENTIFIER_CHARACTERS = (3, 320)  # an e-mail address has at most 320, RFC 3696 erratum 1690
SALT_DIGITS_MIN = 32  # without it the digest of a name or number could be found by trying names and numbers
PHONE_DIGITS_MIN = 6
SEPARATORS = " \u00a0\n\t.-/()"
_PHONE = re.compile(rf"\+?[\d{re.escape(SEPARATORS)}]+")
_BETWEEN_DIGITS = re.compile(rf"(?<=\d)[{re.escape(SEPARATORS)}]+(?=\d)")
_PLAIN = re.compile(r"[!#-\[\]-~]+")  # ASCII that JSON writes as it is, blanks left out
_WRITTEN_OTHERWISE = re.compile(r'[*?\[\x00-\x1f"\\]')  # wildcards, and what JSON escapes
Edge = tuple[str, str, str]  # source, target, relation


@dataclass(frozen=True)
class Identifier:
    """An e-mail address, a phone number or a name, in normal form.

    Text holds it if the text's normal form contains it: NFC, lower case, runs of white space as one space. A phone
    number is six digits or more with blanks, dots, dashes, slashes and brackets between them, which do not count.
    """

    value: str
    is_phone: bool

    @classmethod
    def of(cls, text: str) -> Identifier:
        """Return the identifier that a text spells."""
        digits = re.sub(r"\D", "", text)
        if _PHONE.fullmatch(text.strip()) and len(digits) >= PHONE_DIGITS_MIN and digits.isascii():
            return cls(digits, is_phone=True)
        return cls(_normal(text), is_phone=False)

    @property
    def anchor(self) -> bytes:
        """ASCII that every text holding it has in some case; of a phone number all digits; empty if there is none."""
        if self.is_phone:
            return self.value.encode()
        runs = [run for word in self.value.split() for run in _PLAIN.findall(word)]
        return max(runs, key=len, default="").encode()

    def is_in(self, text: str) -> bool:
        """Say whether a text holds it."""
        if self.is_phone:
            return self.value in _BETWEEN_DIGITS.sub("", text)
        return self.value in _normal(text)


@dataclass(frozen=True)
class Selector:
    """What picks documents: exactly one of the three is not empty. `sha256` names it without telling it."""

    sha256: str
    sources: tuple[str, ...] = ()
    documents: frozenset[str] = frozenset()
    identifiers: tuple[Identifier, ...] = ()

    def takes(self, source: str) -> bool:
        """Say whether documents of a source are picked."""
        return self._pattern.match(source) is not None

    @cached_property
    def prefixes(self) -> tuple[str, ...]:
        """What the patterns of `sources` begin with, up to anything that is not taken, or written, as it stands."""
        return tuple(_WRITTEN_OTHERWISE.split(pattern, maxsplit=1)[0] for pattern in self.sources)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile("|".join(map(fnmatch.translate, self.sources)) or "(?!)")

    def is_in(self, text: str) -> bool:
        """Say whether a text holds one of the identifiers."""
        return any(identifier.is_in(text) for identifier in self.identifiers)


def selector_of_task(sources: Sequence[str], documents: Sequence[str], identifiers: str) -> Selector:
    """Return the selector that a task states; that of `identifiers` is known only to who reads the upload.

    Raises: InvalidRequest unless exactly one is given.
    """
    if bool(sources) + bool(documents) + bool(identifiers) != 1:
        raise InvalidRequest(
            "dataset_job.erase must hold one of sources, documents and identifiers", field="dataset_job.erase"
        )
    stated = {"documents": sorted(documents), "sources": sorted(sources)}
    digest = hashlib.sha256(json.dumps(stated, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    return Selector(digest, sources=tuple(sources), documents=frozenset(documents))


def read_identifiers(data: bytes) -> Selector:
    """Return the selector of an uploaded file `{"identifiers": [...], "salt": "..."}`.

    Raises: InvalidRequest, never with what the file holds.
    """
    field = "dataset_job.erase.identifiers"
    try:
        value = json.loads(data)
        spelled, salt = list(value["identifiers"]), str(value["salt"])
    except (ValueError, KeyError, TypeError):
        raise InvalidRequest('the upload must be {"identifiers": [...], "salt": "..."}', field=field) from None
    if not re.fullmatch(f"[0-9a-f]{{{SALT_DIGITS_MIN},}}", salt):
        raise InvalidRequest(f"the salt must be {SALT_DIGITS_MIN} random hex digits or more", field=field)
    if not 1 <= len(spelled) <= IDENTIFIERS_MAX or not all(isinstance(text, str) for text in spelled):
        raise InvalidRequest(f"give 1 to {IDENTIFIERS_MAX} identifiers as strings; got {len(spelled)}", field=field)
    found = tuple(Identifier.of(text) for text in spelled)
    low, high = IDENTIFIER_CHARACTERS
    if not all(low <= len(identifier.value) <= high for identifier in found):
        raise InvalidRequest(f"an identifier must have {low} to {high} characters", field=field)
    return Selector(hashlib.sha256(data).hexdigest(), identifiers=found)


def reached(edges: Iterable[Edge], starts: Iterable[str], relations: frozenset[str]) -> list[str]:
    """Return what lies downstream of `starts` by the given relations, the starts left out, in order of name."""
    following: dict[str, list[str]] = {}
    for source, target, relation in edges:
        if relation in relations:
            following.setdefault(source, []).append(target)
    begun = set(starts)
    seen, frontier = set(begun), sorted(begun)
    while frontier:
        frontier = [target for name in frontier for target in following.get(name, []) if target not in seen]
        seen.update(frontier)
    return sorted(seen - begun)


def _normal(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).lower().split())
