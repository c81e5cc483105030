"""Looks for the cases of evaluation suites in documents: one compiled pass over their bytes, then arithmetic on hits.

Equal to `bessemer.artifacts.contamination` by test: the same words, the same hashes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from bessemer.artifacts.contamination import BASE, CODE_POINTS, NGRAM_WORDS, ContaminationSet, fold
from bessemer.artifacts.contamination_overlap import shared_words
from numba import njit

from data_svc.domain.contamination import Overlap, explain, gives_away
from data_svc.domain.reasons import Reason, Rejection
from data_svc.domain.splitting import TRAIN
from data_svc.worker.documents import Documents
from data_svc.worker.hashing import FNV_PRIME, FNV_START, Bytes, Hashes, mix
from data_svc.worker.rejections import Rejections

__all__ = ["ContaminationIndex", "contaminated", "drop_contaminated", "suites_of"]

Integers = npt.NDArray[np.int64]

_ENDS_WORD = np.uint32(0)
_LEFT_OUT = np.uint32(1)
_ALONE = np.uint32(1 << 31)  # set in the code of a character that is a word by itself
_BASE = np.uint64(BASE)
_BASE_OUT = np.uint64(pow(BASE, NGRAM_WORDS, 2**64))
_FILTER_BITS = 16  # per entry: one in fifty other runs passes
_S6, _S12, _63 = np.uint64(6), np.uint64(12), np.uint64(63)


class ContaminationIndex:
    """All suites that a corpus must not contain, ready to be looked for."""

    def __init__(self, sets: Mapping[str, ContaminationSet]) -> None:
        """Take the sets by the name of their suite."""
        self._suites = list(sets)
        sizes = [found.sizes for found in sets.values()]
        first_case = np.cumsum([0, *map(len, sizes)])
        self._sizes = np.concatenate([np.zeros(0, np.uint32), *sizes]).astype(np.int64)
        self._suite_of = np.repeat(np.arange(len(sizes)), [len(size) for size in sizes])
        hashes = np.concatenate([np.zeros(0, np.uint64), *(found.hashes for found in sets.values())])
        cases = [found.cases.astype(np.int64) + first for found, first in zip(sets.values(), first_case, strict=False)]
        order = np.argsort(hashes, kind="stable")
        self._hashes = np.ascontiguousarray(hashes[order], np.uint64)
        self._cases = np.concatenate([np.zeros(0, np.int64), *cases])[order]
        self._words = np.concatenate([np.zeros(0, np.int64), *(found.words for found in sets.values())])[order]
        self._filter = _filter(self._hashes)

    def __bool__(self) -> bool:
        """Say whether there is anything to look for."""
        return self._hashes.size > 0

    def annotate(self, texts: Sequence[bytes]) -> list[list[Overlap]]:
        """Return per text, in UTF-8 and NFC, its overlap with each suite that it shares words with, the worst first."""
        offsets = np.zeros(len(texts) + 1, np.int64)
        np.cumsum([len(text) for text in texts], out=offsets[1:])
        return self.annotate_buffer(np.frombuffer(b"".join(texts), np.uint8), offsets)

    def annotate_buffer(self, data: Bytes, offsets: Integers) -> list[list[Overlap]]:
        """Do the same for texts that lie in one buffer.

        Shapes: data [bytes], offsets [texts + 1].
        """
        found: list[list[Overlap]] = [[] for _ in range(offsets.size - 1)]
        if self:
            places, grams = _scan(data, offsets, _folding(), self._filter, self._hashes)
            self._collect(places, grams, found)
        return found

    def _collect(self, places: Integers, grams: Hashes, found: list[list[Overlap]]) -> None:
        """Turn hits into overlaps.

        Shapes: places [hits, 4]: text, word, first byte, byte behind the last; grams [hits].
        """
        first = np.searchsorted(self._hashes, grams, "left")
        counts = np.searchsorted(self._hashes, grams, "right") - first
        hit = np.repeat(np.arange(grams.size), counts)
        entry = np.arange(hit.size) - np.repeat(np.cumsum(counts) - counts, counts) + first[hit]
        text, word, start, end = places[hit].T
        case, case_word = self._cases[entry], self._words[entry]
        order, bounds, shared, longest = shared_words(text, word, case, case_word)
        spans = np.minimum.reduceat(start[order], bounds), np.maximum.reduceat(end[order], bounds)
        worst: dict[tuple[int, int], Overlap] = {}
        for number, at in enumerate(order[bounds]):
            suite = int(self._suite_of[case[at]])
            overlap = Overlap(
                self._suites[suite],
                float(shared[number] / self._sizes[case[at]]),
                int(longest[number]),
                int(spans[0][number]),
                int(spans[1][number]),
            )
            key = int(text[at]), suite
            if key not in worst or _badness(overlap) > _badness(worst[key]):
                worst[key] = overlap
        for (number, _), overlap in worst.items():
            found[number].append(overlap)
        for overlaps in found:
            overlaps.sort(key=_badness, reverse=True)


def drop_contaminated(
    documents: Documents, index: ContaminationIndex, rejections: Rejections, *, tick: Callable[[str, float], None]
) -> Documents:
    """Return the documents but for training documents that give cases away, which it adds to `rejections`.

    The other training documents are told what they share: `overlaps` is JSON, shares by suite. Held-out ones stay:
    suites are made from them, and nothing is trained on them.
    """
    told = ["{}"] * len(documents)
    kept = np.ones(len(documents), np.bool_)
    train = np.flatnonzero(documents.table["split"].to_numpy() == TRAIN) if index else np.empty(0, np.int64)
    sources = documents.table["source"]
    for batch in documents.texts.batches(train):
        tick("looking for cases of evaluation suites", 1.0)
        texts = documents.texts.read(batch)
        for number, text, overlaps in zip(batch.tolist(), texts, index.annotate(texts), strict=True):
            if rejection := _reject(sources[number].as_py(), len(text), overlaps):
                rejections.append(rejection)
                kept[number] = False
            elif overlaps:
                told[number] = json.dumps({overlap.suite: round(overlap.share, 3) for overlap in overlaps})
    return documents.with_column("overlaps", pa.array(told, pa.string())).take(np.flatnonzero(kept))


def suites_of(documents: Documents) -> Counter[str]:
    """Return how many documents share words with each suite."""
    suites: Counter[str] = Counter()
    for count in documents.table["overlaps"].value_counts().to_pylist():
        suites.update(dict.fromkeys(json.loads(count["values"]), count["counts"]))
    return suites


def contaminated(
    texts: Sequence[tuple[str, bytes]], index: ContaminationIndex, counts: Counter[str]
) -> list[Rejection | None]:
    """Return why each text, given as `(source, UTF-8)`, must not be trained on; None if it may.

    Adds to `counts` how many of those that may share words with a suite, by suite.
    """
    verdicts: list[Rejection | None] = []
    for (source, text), overlaps in zip(texts, index.annotate([text for _, text in texts]), strict=True):
        verdicts.append(_reject(source, len(text), overlaps))
        if verdicts[-1] is None:
            counts.update(overlap.suite for overlap in overlaps)
    return verdicts


def _reject(source: str, size_bytes: int, overlaps: Sequence[Overlap]) -> Rejection | None:
    bad = [explain(overlap) for overlap in overlaps if gives_away(overlap)]
    return Rejection(source, Reason.CONTAMINATED, "; ".join(bad), size_bytes) if bad else None


def _badness(overlap: Overlap) -> tuple[bool, float, int]:
    return gives_away(overlap), overlap.share, overlap.run_words


@cache
def _folding() -> npt.NDArray[np.uint32]:
    """Return what becomes of every character, as codes."""
    codes = np.zeros(CODE_POINTS, np.uint32)
    for code_point in range(CODE_POINTS):
        folded = fold(code_point)
        if folded is None:
            codes[code_point] = _LEFT_OUT
        elif folded != " ":
            letter = folded.strip()
            codes[code_point] = np.uint32(ord(letter)) | (_ALONE if letter != folded else np.uint32(0))
    return codes


@njit(cache=True, nogil=True)
def _filter(hashes: Hashes) -> Hashes:
    """Return a Bloom filter of 64-bit blocks, two bits of one block per entry (Putze, Sanders and Singler 2007)."""
    size = 16
    while size * 64 < hashes.size * _FILTER_BITS:
        size *= 2
    blocks = np.zeros(size, np.uint64)
    for value in hashes:
        block = np.int64((value >> _S12) & np.uint64(size - 1))
        blocks[block] |= (np.uint64(1) << (value & _63)) | (np.uint64(1) << ((value >> _S6) & _63))
    return blocks


@njit(cache=True, nogil=True, inline="always")
def _character(data, at, end):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Return the code point beyond ASCII that begins at a byte, and its length; broken bytes are no letters."""
    byte = data[at]
    if 0xC0 <= byte < 0xE0 and at + 1 < end:
        return (np.int64(byte) & 31) << 6 | np.int64(data[at + 1]) & 63, 2
    if 0xE0 <= byte < 0xF0 and at + 2 < end:
        return (np.int64(byte) & 15) << 12 | (np.int64(data[at + 1]) & 63) << 6 | np.int64(data[at + 2]) & 63, 3
    if byte >= 0xF0 and at + 3 < end:
        high = (np.int64(byte) & 7) << 18 | (np.int64(data[at + 1]) & 63) << 12
        return high | (np.int64(data[at + 2]) & 63) << 6 | np.int64(data[at + 3]) & 63, 4
    return CODE_POINTS, 1


@njit(cache=True, nogil=True)
def _next_word(data: Bytes, at: int, end: int, folding: npt.NDArray[np.uint32]) -> tuple[np.uint64, int, int, int]:
    """Return the hash of the next word, its first byte, the byte behind it and where to go on; -1 without a word."""
    value = FNV_START
    first = last = -1
    while at < end:
        point, width = int(data[at]), 1
        if point >= 128:
            point, width = _character(data, at, end)
        code = folding[point] if point < CODE_POINTS else _ENDS_WORD
        if code == _LEFT_OUT:
            at += width
            continue
        ends = code == _ENDS_WORD or code >= _ALONE
        if ends and first >= 0:
            break
        at += width
        if code != _ENDS_WORD:
            first = at - width if first < 0 else first
            last = at
            value = (value ^ np.uint64(code & ~_ALONE)) * FNV_PRIME
            if ends:
                break
    return mix(value), first, last, at


@njit(cache=True, nogil=True)
def _scan(
    data: Bytes, offsets: Integers, folding: npt.NDArray[np.uint32], blocks: Hashes, hashes: Hashes
) -> tuple[Integers, Hashes]:
    """Return every run of eight words that has an entry.

    Shapes: places [hits, 4]: text, word, first byte, byte behind the last; grams [hits].
    """
    places, grams = np.empty((64, 4), np.int64), np.empty(64, np.uint64)
    count = 0
    recent, starts = np.zeros(NGRAM_WORDS, np.uint64), np.zeros(NGRAM_WORDS, np.int64)
    mask = np.uint64(blocks.size - 1)
    for text in range(offsets.size - 1):
        at, end = offsets[text], offsets[text + 1]
        recent[:] = 0
        rolling = np.uint64(0)
        word = 0
        while True:
            value, first, last, at = _next_word(data, at, end, folding)
            if first < 0:
                break
            slot = word % NGRAM_WORDS
            rolling = rolling * _BASE + value - recent[slot] * _BASE_OUT
            recent[slot], starts[slot] = value, first
            word += 1
            if word < NGRAM_WORDS:
                continue
            gram = mix(rolling)
            bits = (np.uint64(1) << (gram & _63)) | (np.uint64(1) << ((gram >> _S6) & _63))
            if blocks[np.int64((gram >> _S12) & mask)] & bits != bits:
                continue
            entry = np.searchsorted(hashes, gram)
            if entry < hashes.size and hashes[entry] == gram:
                if count == grams.size:
                    places = np.concatenate((places, np.empty_like(places)))
                    grams = np.concatenate((grams, np.empty_like(grams)))
                places[count, 0], places[count, 1] = text, word - NGRAM_WORDS
                places[count, 2], places[count, 3] = starts[word % NGRAM_WORDS] - offsets[text], last - offsets[text]
                grams[count] = gram
                count += 1
    return places[:count], grams[:count]
