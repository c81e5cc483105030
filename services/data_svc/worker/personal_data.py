"""Finds and replaces personal data and secrets in documents: one compiled pass for places worth a look, then rules.

Source: checksums and forms as the rules in `domain` name them; the pass ahead of the rules is what makes them cheap.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator

import numpy as np
import numpy.typing as npt
from numba import njit

from data_svc.domain.personal_data import KINDS, Span, in_ipv6, in_number, resolve
from data_svc.domain.secrets import at_iban, at_sign, secrets

__all__ = ["cleaned", "find", "redact"]

_PLACEHOLDER = re.compile(rb"\[(?:" + "|".join(KINDS).upper().encode() + rb")\]")
_PLACEHOLDER_BYTES = max(map(len, KINDS)) + 2
_NUMBER, _AT, _IBAN, _IPV6 = range(4)
_OTHER, _DIGIT, _OPENING, _JOINT, _LETTER, _SIGN, _COLON = range(7)
_CLASS = np.zeros(256, np.uint8)
_CLASS[[*b"0123456789"]] = _DIGIT
_CLASS[[*b"+("]] = _OPENING
_CLASS[[*b" ).-/"]] = _JOINT
_CLASS[[*b"_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"]] = _LETTER
_CLASS[64] = _SIGN
_CLASS[58] = _COLON
_HEX = np.zeros(256, np.bool_)
_HEX[[*b"0123456789abcdefABCDEF:"]] = True
# Blanks and hyphens beyond ASCII stand in numbers as well; replaced by as many bytes, so that places stay.
_FOLDED = {"\u00a0": b"  ", "\u202f": b"   ", "\u2009": b"   ", "\u2010": b" - ", "\u2011": b" - ", "\u2013": b" - "}


def find(text: bytes) -> list[Span]:
    """Return all findings in UTF-8 text, by place, without overlap.

    A finding never touches a placeholder that an earlier redaction left.
    """
    folded = text
    if not text.isascii():
        for character, plain in _FOLDED.items():
            folded = folded.replace(character.encode(), plain)
    return resolve({span for span in _candidates(folded) if not _touches_placeholder(text, span)})


def redact(text: bytes, kinds: Collection[str]) -> bytes:
    """Return text with every finding of these kinds replaced by its kind's placeholder, such as `[EMAIL]`.

    Nothing of these kinds is found in the result; what a replacement lays bare is replaced too.
    """
    while spans := [span for span in find(text) if span.kind in kinds]:
        pieces, end = [], 0
        for span in spans:
            pieces += [text[end : span.start], b"[%b]" % span.kind.upper().encode()]
            end = span.end
        text = b"".join([*pieces, text[end:]])
    return text


def cleaned(text: bytes, kinds: Collection[str], counts: Counter[str]) -> bytes:
    """Return UTF-8 text with these kinds redacted; adds all that was found in it to `counts`, by kind."""
    found = Counter(span.kind for span in find(text))
    counts.update(found)
    return text if found.keys().isdisjoint(kinds) else redact(text, kinds)


def _touches_placeholder(text: bytes, span: Span) -> bool:
    window = slice(max(0, span.start - _PLACEHOLDER_BYTES), span.end + _PLACEHOLDER_BYTES)
    low, high = span.start - window.start, span.end - window.start
    return any(found.start() < high and low < found.end() for found in _PLACEHOLDER.finditer(text[window]))


def _candidates(text: bytes) -> Iterator[Span]:
    for kind, start, end in _places(np.frombuffer(text, np.uint8)).tolist():
        if kind == _NUMBER:
            yield from in_number(text, start, end)
        elif kind == _AT:
            yield from at_sign(text, start)
        elif kind == _IBAN:
            yield from at_iban(text, start)
        else:
            yield from in_ipv6(text, start, end)
    yield from secrets(text)


@njit(cache=True, nogil=True)
def _places(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return places worth a look, one row each: what it may be, first byte, byte after the last.

    Shapes: data [N]; returns [M, 3], M at most N / 2 + 1.
    """
    places = np.empty((data.size // 2 + 1, 3), np.int64)
    count = at = examined = 0  # what a colon's run holds is looked at once
    while at < data.size:
        kind = _CLASS[data[at]]
        start, end, likely, place = at, at + 1, False, _AT
        if _DIGIT <= kind <= _OPENING:
            start, end, at, likely = _number(data, at)
            place = _NUMBER
        elif kind == _LETTER:
            at = _word_end(data, at)
            end, likely, place = at, at - start >= 4 and _is_account(data, start), _IBAN
        elif kind == _COLON and at >= examined:
            start, examined, likely = _address(data, at)
            end, place, at = examined, _IPV6, examined if likely else at + 1
        else:
            at += 1
            likely = kind == _SIGN
        if likely:
            places[count] = (place, start, end)
            count += 1
    return places[:count]


@njit(cache=True, nogil=True)
def _number(data, start):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Return first byte and end of a run of digits and joints, where to go on, and whether it is worth a look."""
    at, digits, dots, end = start, 0, 0, start
    while at < data.size and (_DIGIT <= _CLASS[data[at]] <= _JOINT):
        if data[at] == 32 and at - start > 3 and (data[at - 3 : at] == 32).all():
            break  # more blanks than a folded one leaves: columns
        if _CLASS[data[at]] == _DIGIT:
            digits += 1
            end = at + 1
        dots += data[at] == 46
        at += 1
    if digits == 0:
        return start, end, max(at, start + 1), False  # passed over whole, so that time stays linear
    while data[start] == 40 and not (data[start : min(end, start + 8)] == 41).any():
        start += 1
    return start, end, _word_end(data, end), digits >= 7 or (dots >= 3 and digits >= 4)


@njit(cache=True, nogil=True)
def _word_end(data, at):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    while at < data.size and (_CLASS[data[at]] == _LETTER or _CLASS[data[at]] == _DIGIT):
        at += 1
    return at


@njit(cache=True, nogil=True)
def _is_account(data, start):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    country = data[start] != 95 and data[start + 1] != 95 and _CLASS[data[start + 1]] == _LETTER
    return country and _CLASS[data[start + 2]] == _DIGIT and _CLASS[data[start + 3]] == _DIGIT


@njit(cache=True, nogil=True)
def _address(data, at):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Return the run of hexadecimal digits and colons around a colon, and whether it may be an IPv6 address."""
    start = at
    while start > 0 and _HEX[data[start - 1]]:
        start -= 1
    if data[start] == 58 and start + 1 < data.size and data[start + 1] != 58:
        start += 1  # the colon after a name
    end, colons, double, digits = start, 0, False, 0
    while end < data.size and (_HEX[data[end]] or (data[end] == 46 and colons >= 2)):
        colons += data[end] == 58
        double = double or (data[end] == 58 and end > start and data[end - 1] == 58)
        digits += _CLASS[data[end]] == _DIGIT
        end += 1
    outside = (start == 0 or _CLASS[data[start - 1]] != _LETTER) and (end == data.size or _CLASS[data[end]] != _LETTER)
    return start, end, outside and digits > 0 and end - start >= 5 and colons >= 2 and (double or colons >= 7)
