"""Quality measures of web corpora (Gopher, C4, FineWeb) over a document's UTF-8 bytes, compiled.

What a word is, `word_bounds` says.
Lines and runs of words are compared by 64-bit hashes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from data_svc.domain.quality_rules import QualityMeasures
from data_svc.worker.hashing import FNV_PRIME, FNV_START, GOLDEN, Bytes, Hashes, hash_table, mix, seen_before
from data_svc.worker.ngrams import ngram_characters
from data_svc.worker.pieces import pieces
from data_svc.worker.word_bounds import KIND, LETTER_BYTE, MAYBE_LETTER, blank, cuts, mark, mark_before, without_s

__all__ = ["PHRASES", "STOP_WORDS", "measure"]

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
LINE_WORDS_MIN = 3
WORD_CHARACTERS_MAX = 1000
SHORT_LINE_CHARACTERS = 30

Counts = npt.NDArray[np.int64]
Sink = tuple[Hashes, Counts, Counts]  # tokens, running sum of their characters, counts

_STARTS = np.ones(256, np.int64)  # 0 for the bytes that continue a character
_STARTS[128:192] = 0
_JAVASCRIPT, _LOREM_IPSUM, _NOTICE, _CURLY = 1, 2, 4, 8
PHRASES: tuple[tuple[str, int], ...] = (  # by their first letters
    ("cookie policy", _NOTICE),
    ("javascript", _JAVASCRIPT),
    ("lorem ipsum", _LOREM_IPSUM),
    ("privacy policy", _NOTICE),
    ("terms of use", _NOTICE),
    ("use cookies", _NOTICE),
    ("use of cookies", _NOTICE),
    ("uses cookies", _NOTICE),
)
_PHRASE_BYTES = np.frombuffer("".join(phrase for phrase, _ in PHRASES).encode(), np.uint8)
_PHRASE_BOUNDS = np.cumsum([0, *(len(phrase) for phrase, _ in PHRASES)])
_PHRASE_FLAGS = np.array([flag for _, flag in PHRASES])
_PHRASE_FROM = np.array([sum(ord(p[0]) < (byte | 32) for p, _ in PHRASES) for byte in range(256)])
_PHRASE_TO = np.array([sum(ord(p[0]) <= (byte | 32) for p, _ in PHRASES) for byte in range(256)])
_PHRASE_TO[:65] = _PHRASE_FROM[:65]

# Places in the array of counts.
_TOKENS, _WORDS, _WORD_CHARACTERS, _LETTER_TOKENS, _STOP_MASK, _HASHES, _ELLIPSES, _CHARACTERS = range(8)
_LINES, _BULLETS, _ELLIPSIS_LINES, _TERMINAL, _REPEATED, _REPEATED_CHARACTERS = range(8, 14)
_PARAGRAPHS, _PARAGRAPHS_REPEATED, _PARAGRAPH_CHARACTERS = range(14, 17)
_RETAINED, _LOREM_LINES, _CURLY_LINES, _SENTENCES, _PUNCTUATED, _SHORT = range(17, 23)
_RETAINED_REPEATED, _RETAINED_CHARACTERS, _RETAINED_TOKENS, _NUM_COUNTS = range(23, 27)


def _fnv(word: str) -> int:
    value = int(FNV_START)
    for byte in word.encode():
        value = (value ^ byte) * int(FNV_PRIME) & 0xFFFFFFFFFFFFFFFF
    return value


_STOP_HASHES = np.array([_fnv(word) for word in STOP_WORDS], np.uint64)


@njit(cache=True, nogil=True)
def _emit(data: Bytes, start: int, end: int, sink: Sink, is_mark: bool) -> None:  # noqa: FBT001 - compiled
    """Add the token in bytes start to end; `ends` holds the running sum of characters."""
    tokens, ends, counts = sink
    value, kind, characters = FNV_START, np.uint8(0), 0
    for at in range(start, end):
        byte = data[at]
        value = (value ^ np.uint64(byte)) * FNV_PRIME
        kind |= KIND[byte]
        characters += _STARTS[byte]
    number = counts[_TOKENS]
    tokens[number] = value
    ends[number + 1] = ends[number] + characters
    counts[_TOKENS] += 1
    if is_mark or kind == 0:
        return
    if kind & MAYBE_LETTER:
        for at in range(start, end - 1):
            if data[at] == 0xE2 and data[at + 1] >= 0xB0:
                kind |= LETTER_BYTE
    counts[_WORDS] += 1
    counts[_WORD_CHARACTERS] += characters
    if kind & LETTER_BYTE:
        counts[_LETTER_TOKENS] += 1
    if 2 <= end - start <= 4:
        for stop in range(_STOP_HASHES.size):
            if value == _STOP_HASHES[stop]:
                counts[_STOP_MASK] |= 1 << stop


@njit(cache=True, nogil=True)
def _emit_marks(data: Bytes, start: int, end: int, sink: Sink) -> bool:
    """Add the punctuation in bytes start to end; say whether a single mark in it ends a sentence."""
    terminal = False
    at = start
    while at < end:
        width = mark(data, at, end)
        stop = at + width
        while data[at] in (45, 46, 94, 126) and stop < end and data[stop] == data[at]:
            stop += 1
        byte = data[at]
        terminal |= (byte == 46 and stop - at == 1) or byte in (33, 63)
        _emit(data, at, stop, sink, True)
        at = stop
    return terminal


@njit(cache=True, nogil=True)
def _emit_chunk(data: Bytes, start: int, end: int, sink: Sink) -> tuple[int, bool]:
    """Add the tokens of what stands between blanks; return how many sentences end in it, and whether one at its end."""
    first, last = start, end
    while first < end:
        width = mark(data, first, end)
        if width == 0:
            break
        first += width
    while last > first:
        width = mark_before(data, first, last)
        if width == 0:
            break
        last -= width
    sentences, terminal = 0, _emit_marks(data, start, first, sink)
    at, stem = first, without_s(data, first, last)
    for place in range(first + 1, stem - 1):
        if data[place] < 65 and KIND[data[place]] == 0 and cuts(data, place, first):
            _emit(data, at, place, sink, False)
            _emit(data, place, place + 1, sink, True)
            sentences += data[place] == 46
            at = place + 1
    if at < stem:
        _emit(data, at, stem, sink, False)
    if stem < last:
        _emit(data, stem, last, sink, False)
    if first < last:
        terminal = _emit_marks(data, last, end, sink)
    return sentences, terminal


@njit(cache=True, nogil=True)
def _flags(data: Bytes, at: int, end: int) -> int:
    """Return the flags of the phrases that begin at `at`, whatever their case."""
    flags = 0
    for phrase in range(_PHRASE_FROM[data[at]], _PHRASE_TO[data[at]]):
        start, size = _PHRASE_BOUNDS[phrase], _PHRASE_BOUNDS[phrase + 1] - _PHRASE_BOUNDS[phrase]
        if at + size > end:
            continue
        same = 1
        while same < size:
            byte = data[at + same]
            if 65 <= byte <= 90:
                byte |= 32
            if byte != _PHRASE_BYTES[start + same]:
                break
            same += 1
        if same == size:
            flags |= _PHRASE_FLAGS[phrase]
    return flags


@njit(cache=True, nogil=True)
def _ends_with(data: Bytes, first: int, last: int) -> tuple[bool, bool, bool]:
    """Say whether a line ends in terminal punctuation as C4 has it, as FineWeb has it, and in an ellipsis."""
    byte = data[last - 1]
    ellipsis = last - first >= 3 and byte == 46 and data[last - 2] == 46 and data[last - 3] == 46
    stop = byte in (33, 46, 63)
    if last - first >= 3 and byte >= 128:
        high, low = data[last - 3], data[last - 2]
        ellipsis |= high == 0xE2 and low == 0x80 and byte == 0xA6
        stop |= high == 0xE3 and low == 0x80 and byte == 0x82  # the full stops and marks of Chinese and Japanese
        stop |= high == 0xEF and low == 0xBC and byte in (0x81, 0x9F)
    return (stop or byte in (34, 39)) and not ellipsis, stop, ellipsis


@njit(cache=True, nogil=True)
def _emit_line(data: Bytes, first: int, last: int, sink: Sink) -> tuple[int, int, int]:
    """Add the tokens of a line; return its chunks, the characters of the longest, and its sentences."""
    chunks, longest, sentences = 0, 0, 1
    at = first
    while at < last:
        start = at
        characters = 0
        while at < last and (32 < data[at] < 0xC2 or not blank(data, at, last)):
            characters += _STARTS[data[at]]
            at += 1
        if at == start:
            at += blank(data, at, last)  # a line may begin with one of several bytes
            continue
        chunks += 1
        longest = max(longest, characters)
        inside, terminal = _emit_chunk(data, start, at, sink)
        while at < last and (data[at] <= 32 or data[at] >= 0xC2):
            width = blank(data, at, last)
            if width == 0:
                break
            at += width
        sentences += inside + (terminal and at < last)
    return chunks, longest, sentences


@njit(cache=True, nogil=True)
def _scan(data: Bytes, first: int, last: int, counts: Counts) -> tuple[np.uint64, int, int]:
    """Return a line's hash, characters and flags, and count its hash signs and ellipses."""
    value, characters, flags, dots = FNV_START, 0, 0, 0
    for at in range(first, last):
        byte = data[at]
        value = (value ^ np.uint64(byte)) * FNV_PRIME
        characters += _STARTS[byte]
        if byte == 123:
            flags |= _CURLY
        if _PHRASE_FROM[byte] < _PHRASE_TO[byte]:
            flags |= _flags(data, at, last)
        counts[_HASHES] += byte == 35
        dots = dots + 1 if byte == 46 else 0
        if dots == 3 or (byte == 0xA6 and at - 2 >= first and data[at - 1] == 0x80 and data[at - 2] == 0xE2):
            counts[_ELLIPSES] += 1
            dots = 0
    return mix(value), characters, flags


@njit(cache=True, nogil=True)
def _line(data: Bytes, first: int, last: int, sink: Sink, seen: Hashes) -> tuple[np.uint64, int]:
    """Count one line that is not blank, without its outer blanks; return its hash and characters."""
    counts = sink[2]
    before = counts[_TOKENS]
    chunks, longest, sentences = _emit_line(data, first, last, sink)
    value, characters, flags = _scan(data, first, last, counts)
    terminal, stop, ellipsis = _ends_with(data, first, last)
    bullet = last - first >= 3 and data[first] == 0xE2 and data[first + 1] == 0x80 and data[first + 2] == 0xA2
    repeated = characters if seen_before(seen, value) else 0
    counts[_LINES] += 1
    counts[_BULLETS] += bullet or data[first] == 45
    counts[_ELLIPSIS_LINES] += ellipsis
    counts[_TERMINAL] += terminal
    counts[_REPEATED] += repeated > 0
    counts[_REPEATED_CHARACTERS] += repeated
    if chunks < LINE_WORDS_MIN or longest > WORD_CHARACTERS_MAX:
        return value, characters
    counts[_LOREM_LINES] += flags & _LOREM_IPSUM != 0
    counts[_CURLY_LINES] += flags & _CURLY != 0 and flags & _JAVASCRIPT == 0
    if flags & (_JAVASCRIPT | _NOTICE) == 0:
        counts[_RETAINED] += 1
        counts[_SENTENCES] += sentences
        counts[_PUNCTUATED] += stop
        counts[_SHORT] += characters <= SHORT_LINE_CHARACTERS
        counts[_RETAINED_REPEATED] += repeated
        counts[_RETAINED_CHARACTERS] += characters
        counts[_RETAINED_TOKENS] += counts[_TOKENS] - before
    return value, characters


@njit(cache=True, nogil=True)
def _lines(data: Bytes, sink: Sink) -> None:
    """Count lines and paragraphs, which blank lines divide, and fill in the tokens."""
    counts = sink[2]
    newlines = 1
    for byte in data:
        newlines += byte == 10
        counts[_CHARACTERS] += _STARTS[byte]
    seen, seen_paragraphs = hash_table(newlines), hash_table(newlines)
    paragraph, size, start = GOLDEN, 0, 0
    while start <= data.size:
        end = start
        while end < data.size and data[end] != 10:
            end += 1
        first, last = start, end
        while first < last and data[first] <= 32:
            first += 1
        while last > first and data[last - 1] <= 32:
            last -= 1
        if last > first:
            value, characters = _line(data, first, last, sink, seen)
            paragraph = mix((paragraph ^ value) * GOLDEN)
            size += characters + (1 if size else 0)
        if size > 0 and (last == first or end >= data.size):
            counts[_PARAGRAPHS] += 1
            if seen_before(seen_paragraphs, paragraph):
                counts[_PARAGRAPHS_REPEATED] += 1
                counts[_PARAGRAPH_CHARACTERS] += size
            paragraph, size = GOLDEN, 0
        start = end + 1


@njit(cache=True, nogil=True)
def _counts(data: Bytes) -> tuple[Counts, Counts]:
    counts = np.zeros(_NUM_COUNTS, np.int64)
    tokens = np.empty(data.size, np.uint64)
    ends = np.empty(data.size + 1, np.int64)
    ends[0] = 0
    _lines(data, (tokens, ends, counts))
    return counts, ngram_characters(tokens[: counts[_TOKENS]], ends)


def measure(text: bytes) -> QualityMeasures:
    """Return the measures of a document in UTF-8; a share of nothing is 0.

    What repeats is looked for within pieces of at most `PIECE_BYTES`, and their counts are added.
    """
    counted, ngrams, stops = np.zeros(_NUM_COUNTS, np.int64), np.zeros(9, np.int64), 0
    for piece in pieces(text):
        more, more_ngrams = _counts(np.frombuffer(piece, np.uint8))
        counted, ngrams, stops = counted + more, ngrams + more_ngrams, stops | int(more[_STOP_MASK])
    counted[_STOP_MASK] = stops
    count: list[int] = counted.tolist()

    def share(part: int, whole: int) -> float:
        return count[part] / max(count[whole], 1)

    return QualityMeasures._make(
        (
            float(count[_CHARACTERS]),
            float(count[_TOKENS]),
            float(count[_WORDS]),
            share(_WORD_CHARACTERS, _WORDS),
            share(_HASHES, _TOKENS),
            share(_ELLIPSES, _TOKENS),
            share(_BULLETS, _LINES),
            share(_ELLIPSIS_LINES, _LINES),
            share(_LETTER_TOKENS, _TOKENS),
            float(count[_STOP_MASK].bit_count()),
            share(_REPEATED, _LINES),
            share(_REPEATED_CHARACTERS, _CHARACTERS),
            share(_PARAGRAPHS_REPEATED, _PARAGRAPHS),
            share(_PARAGRAPH_CHARACTERS, _CHARACTERS),
            *(ngrams / max(count[_CHARACTERS], 1)).tolist(),
            share(_TERMINAL, _LINES),
            share(_RETAINED, _LINES),
            float(count[_LOREM_LINES]),
            float(count[_CURLY_LINES]),
            float(count[_SENTENCES]),
            share(_PUNCTUATED, _RETAINED),
            share(_SHORT, _RETAINED),
            share(_RETAINED_REPEATED, _RETAINED_CHARACTERS),
            max(count[_RETAINED] - 1, 0) / max(count[_RETAINED_TOKENS], 1),
        )
    )
