"""What tells the cases of an evaluation suite in other texts, without holding their text: hashes of runs of 8 words.

A word is a run of letters, digits and marks, folded to one case; apostrophes, full stops, commas and invisible
characters inside it are left out, everything else ends it. In scripts that put no blanks between words every character
is a word. A case with apostrophes, full stops or commas inside words is held in a second reading, where they end words.
The hash of a word is FNV-1a over its code points, mixed; the hash of a run is a polynomial over those of its words,
mixed. A longer run that two texts share is a sequence of these, so no other length is stored.

The file: `HEADER` (magic, version, number of readings C, number of entries N), then little-endian and without gaps
uint64 hashes [N] in ascending order, uint32 reading [N], uint32 first word in it [N], uint32 words of each [C], but for
those that tell nothing. A case of fewer than eight words has no entry: it is too short to be told from common speech.
"""

from __future__ import annotations

import struct
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bessemer.kernel.errors import DataLoss

__all__ = [
    "BASE",
    "CODE_POINTS",
    "MEDIA_TYPE",
    "NGRAM_WORDS",
    "ContaminationSet",
    "WordHashes",
    "fold",
    "ngram_hashes",
    "pack_contamination_set",
    "read_contamination_set",
    "readings",
    "words_of",
]

Hashes = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.uint32]

MEDIA_TYPE = "application/vnd.bessemer.contamination"
NGRAM_WORDS = 8
BASE = 0xA24BAED4963EE407  # any odd number with bits all over
CODE_POINTS = 0x32400  # no letter of Unicode 16 lies beyond

# "1 2 3 ... 8" stands in thousands of documents.
_DISTINCT_MIN = 5
# What three independent cases have in common is a notice or a phrase of the trade, and tells none of them. What more
# than half of them have in common is how the suite asks, and is no part of a case at all.
_CLUSTERS_MAX = 2
# Cases of one cluster may share a long text; some of them are enough to tell it, and a hit stays cheap.
_CASES_MAX = 32

_HEADER = struct.Struct("<8sIIQ")
_MAGIC, _VERSION = b"BSMRCONT", 1
_MASK = 2**64 - 1
_FNV_START, _FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3
_LEFT_OUT = "'\N{RIGHT SINGLE QUOTATION MARK}.,"
# Thai and Lao, Myanmar, Khmer, kana, Han with its extensions.
_UNSPACED = (
    (0x0E00, 0x0EFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x3040, 0x30FF),
    (0x3400, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x323FF),
)


@dataclass(frozen=True)
class ContaminationSet:
    """The entries of a suite, in ascending order of hash.

    Shapes: hashes, cases, words [N]; sizes [C], words of each case, 0 if none tells anything.
    """

    hashes: Hashes
    cases: Numbers
    words: Numbers
    sizes: Numbers


def pack_contamination_set(cases: Iterable[tuple[str, str]]) -> bytes:
    """Return the file for cases `(cluster, text)`; a case that may be read in two ways is in it twice."""
    clusters: dict[str, int] = {}
    cluster_of: list[int] = []
    texts: list[list[str]] = []
    for cluster, text in cases:
        for words in readings(text):
            cluster_of.append(clusters.setdefault(cluster, len(clusters)))
            texts.append(words)
    lengths = np.array([len(words) for words in texts], np.int64)
    every = [word for text in texts for word in text]
    case_of = np.repeat(np.arange(len(texts)), lengths)
    start_of = np.repeat(np.cumsum(lengths) - lengths, lengths)
    hashes = ngram_hashes(every)
    place = np.flatnonzero(_telling(every) & (case_of[: hashes.size] == case_of[NGRAM_WORDS - 1 :]))
    hashes, case = hashes[place], case_of[place]
    order = np.lexsort((place, case, hashes))
    hashes, case, place = hashes[order], case[order], place[order]
    kept, counted = _kept(hashes, case, np.array(cluster_of, np.int64)[case], len(clusters))
    covered = np.zeros(len(every) + 1, np.int64)
    np.add.at(covered, place[counted], 1)
    np.add.at(covered, place[counted] + NGRAM_WORDS, -1)
    hashes, case, place = hashes[kept], case[kept], place[kept]
    sizes = np.bincount(case_of[np.cumsum(covered[:-1]) > 0], minlength=len(texts))
    parts = (hashes.astype("<u8"), case.astype("<u4"), (place - start_of[place]).astype("<u4"), sizes.astype("<u4"))
    header = _HEADER.pack(_MAGIC, _VERSION, len(texts), hashes.size)
    return header + b"".join(part.tobytes() for part in parts)


def read_contamination_set(data: bytes) -> ContaminationSet:
    """Return what a file holds.

    Raises: DataLoss if it is not one, or of another version.
    """
    if len(data) < _HEADER.size:
        raise DataLoss(f"a contamination set has at least {_HEADER.size} bytes; got {len(data)}")
    magic, version, num_cases, num_entries = _HEADER.unpack_from(data)
    size = _HEADER.size + 16 * num_entries + 4 * num_cases
    if (magic, version, len(data)) != (_MAGIC, _VERSION, size):
        raise DataLoss(
            f"not a contamination set of version {_VERSION} with {size} bytes: {magic!r}, {version}, {len(data)}"
        )
    at = _HEADER.size
    hashes = np.frombuffer(data, "<u8", num_entries, at)
    cases = np.frombuffer(data, "<u4", num_entries, at + 8 * num_entries)
    words = np.frombuffer(data, "<u4", num_entries, at + 12 * num_entries)
    return ContaminationSet(hashes, cases, words, np.frombuffer(data, "<u4", num_cases, at + 16 * num_entries))


def words_of(text: str) -> list[str]:
    """Return the words of a text, which is brought into NFC as documents are."""
    return unicodedata.normalize("NFC", text).translate(_FOLDING).split()


def ngram_hashes(words: Sequence[str], known: WordHashes | None = None) -> Hashes:
    """Return the hash of every run of eight words; `known` keeps those of words from text to text.

    Shapes: words [W]; returns [max(W - 7, 0)].
    """
    known = WordHashes() if known is None else known
    hashes = _mix(np.array([known[word] for word in words], np.uint64))
    grams = np.zeros(max(len(words) - NGRAM_WORDS + 1, 0), np.uint64)
    for offset in range(NGRAM_WORDS):
        grams = grams * np.uint64(BASE) + hashes[offset : offset + grams.size]
    return _mix(grams)


def fold(code_point: int) -> str | None:
    """Return what a character becomes: a letter, a blank, a letter between blanks, or nothing."""
    if code_point >= CODE_POINTS:
        return " "
    character = chr(code_point)
    category = unicodedata.category(character)
    if character in _LEFT_OUT or category == "Cf":
        return None
    if not character.isalnum() and category[0] != "M":
        return " "
    if any(first <= code_point <= last for first, last in _UNSPACED):
        return f" {character} "
    folded = character.casefold()
    return folded if len(folded) == 1 else character.lower()[0]


class _Folding(dict[int, "str | None"]):
    """`fold` as a table for `str.translate`, filled as characters come."""

    def __missing__(self, code_point: int) -> str | None:
        self[code_point] = fold(code_point)
        return self[code_point]


class WordHashes(dict[str, int]):
    """FNV-1a of words, filled as they come."""

    def __missing__(self, word: str) -> int:
        value = _FNV_START
        for character in word:
            value = ((value ^ ord(character)) * _FNV_PRIME) & _MASK
        self[word] = value
        return value


_FOLDING = _Folding()


def readings(text: str) -> list[list[str]]:
    """Return the words of a text and, if they differ, those where what is left out of words ends them instead.

    So `1,000` is found as `1000` and as `1 000`, and a document needs to be read in one way only.
    """
    found = [words_of(text), words_of(text.translate(dict.fromkeys(map(ord, _LEFT_OUT), " ")))]
    return found[: 1 + (found[0] != found[1])]


def _mix(values: Hashes) -> Hashes:
    """Return values whose bits all depend on all bits of the given ones; the multiplier is Wang Yi's."""
    values = values ^ (values >> np.uint64(32))
    values = values * np.uint64(0xD6E8FEB86659FD93)
    return values ^ (values >> np.uint64(29))


def _telling(words: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Say for every run of eight words whether five of them differ and are no numbers.

    Shapes: words [W]; returns [max(W - 7, 0)].
    """
    numbers: dict[str, int] = {}
    ids = np.array([numbers.setdefault(word, len(numbers)) for word in words], np.int64)
    counts = np.array([not word.isnumeric() for word in numbers], np.bool_)[ids]
    order = np.argsort(ids, kind="stable")
    before = np.full(ids.size, -1, np.int64)  # where the same word stood last
    again = ids[order[1:]] == ids[order[:-1]]
    before[order[1:][again]] = order[:-1][again]
    starts = np.arange(max(ids.size - NGRAM_WORDS + 1, 0))
    distinct = np.zeros(starts.size, np.int64)
    for offset in range(NGRAM_WORDS):
        window = slice(offset, offset + starts.size)
        distinct += counts[window] & (before[window] < starts)
    return distinct >= _DISTINCT_MIN


def _kept(
    hashes: Hashes, cases: npt.NDArray[np.int64], clusters: npt.NDArray[np.int64], num_clusters: int
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Say which runs to keep as entries, and which count as words of their case; a run counts once per case.

    Shapes: all [N], in order of hash, then case.
    """
    if not hashes.size:
        return np.zeros(0, np.bool_), np.zeros(0, np.bool_)
    new_hash = np.r_[True, hashes[1:] != hashes[:-1]]
    new_case = new_hash | np.r_[True, cases[1:] != cases[:-1]]
    group = np.cumsum(new_hash) - 1
    pairs = np.unique(np.stack([group, clusters]), axis=1)
    shared_by = np.bincount(pairs[0])[group]
    rank = np.cumsum(new_case)
    rank -= rank[np.flatnonzero(new_hash)][group]
    counted = new_case & (shared_by <= max(_CLUSTERS_MAX, num_clusters // 2))
    return counted & (shared_by <= _CLUSTERS_MAX) & (rank < _CASES_MAX), counted
