"""Which cases of the suites stand in a dataset version, and how much of them; words go in, ids and shares come out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.contamination import (
    NGRAM_WORDS,
    WordHashes,
    ngram_hashes,
    read_contamination_set,
    readings,
    words_of,
)
from bessemer.artifacts.contamination_overlap import gives_away, shared_words
from bessemer.artifacts.manifest import read_manifest

from eval_svc.domain.cases import Case, Grader, given_away

__all__ = ["CaseIndex", "Overlap", "format_overlaps", "parse_overlaps", "texts_of", "untraceable"]

Integers = npt.NDArray[np.int64]
# Beyond so many different words a corpus brings mostly misspellings; hashing them anew costs less than keeping them.
_WORDS_KEPT = 1 << 20
# What names a record, not what a model reads.
_NAMES = {"id", "source", "cluster", "attribute"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """The most that one text of a dataset version holds of a case; `given` says whether that gives it away."""

    suite: str
    case: str
    share: float
    given: bool


class CaseIndex:
    """All cases of some suites, to be looked for together."""

    def __init__(self) -> None:
        self._keys: list[tuple[str, str]] = []  # suite and case of every reading
        self._sizes: list[int] = []
        self._parts: list[tuple[npt.NDArray[np.uint64], Integers, Integers]] = []
        self._known = WordHashes()

    def add(self, suite: str, cases: Sequence[Case], grader: Grader, packed: bytes) -> None:
        """Take the cases of a suite, in the order in which its set of hashes was packed."""
        found, first = read_contamination_set(packed), len(self._keys)
        for case in cases:
            self._keys += [(suite, case.id)] * len(readings(given_away(case, grader)))
        self._sizes += found.sizes.tolist()
        self._parts.append((found.hashes, found.cases.astype(np.int64) + first, found.words.astype(np.int64)))

    def scan(self, texts: Iterator[str]) -> tuple[list[Overlap], int]:
        """Return what the texts hold of cases, the worst text of each, and how many texts there were."""
        hashes, cases, words = self._sorted()
        worst: dict[tuple[str, str], Overlap] = {}
        count = 0
        for text in texts:
            count += 1
            if len(self._known) > _WORDS_KEPT:
                self._known.clear()
            grams = ngram_hashes(words_of(text), self._known)
            first = np.searchsorted(hashes, grams, "left")
            hits = np.flatnonzero(hashes[np.minimum(first, hashes.size - 1)] == grams) if hashes.size else first[:0]
            if hits.size:
                counts = np.searchsorted(hashes, grams[hits], "right") - first[hits]
                entry = np.repeat(first[hits] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
                self._judge(cases[entry], words[entry], np.repeat(hits, counts), worst)
        return sorted(worst.values(), key=lambda one: (one.suite, one.case)), count

    def _sorted(self) -> tuple[npt.NDArray[np.uint64], Integers, Integers]:
        hashes = np.concatenate([np.zeros(0, np.uint64), *(part[0] for part in self._parts)])
        order = np.argsort(hashes, kind="stable")
        cases, words = (np.concatenate([np.zeros(0, np.int64), *(part[i] for part in self._parts)]) for i in (1, 2))
        return hashes[order], cases[order], words[order]

    def _judge(
        self, cases: Integers, case_words: Integers, words: Integers, worst: dict[tuple[str, str], Overlap]
    ) -> None:
        """Keep the worst of what one text and the cases have in common, from their hits."""
        found = shared_words(np.zeros_like(cases), words, cases, case_words)
        for reading, shared, run in zip(
            cases[found.order][found.bounds].tolist(), found.words.tolist(), found.longest.tolist(), strict=True
        ):
            key, share = self._keys[reading], min(1.0, shared / self._sizes[reading])
            one = Overlap(suite=key[0], case=key[1], share=round(share, 3), given=gives_away(share, run))
            if key not in worst or (one.given, one.share) > (worst[key].given, worst[key].share):
                worst[key] = one


def untraceable(cases: Sequence[Case], grader: Grader) -> int:
    """Return how many cases have fewer than eight words, too few to be told from common speech."""
    return sum(len(words_of(given_away(case, grader))) < NGRAM_WORDS for case in cases)


def texts_of(blobs: Blobs, manifest: ArtifactRef) -> Iterator[str]:
    """Yield what a model reads in training on a dataset version: a text for each document or row."""
    for entry in read_manifest(blobs, manifest).below("train/"):
        if entry.path.endswith(".jsonl"):
            for line in blobs.get_bytes(entry.ref).splitlines():
                yield "\n".join(_strings(json.loads(line)))


def format_overlaps(overlaps: Sequence[Overlap], count: int) -> bytes:
    """Write what a scan found as JSON Lines, the number of texts first."""
    records: list[dict[str, Any]] = [{"documents": count}, *map(asdict, overlaps)]
    return b"".join(json.dumps(record, separators=(",", ":")).encode() + b"\n" for record in records)


def parse_overlaps(data: bytes) -> tuple[list[Overlap], int]:
    """Read what `format_overlaps` wrote."""
    first, *records = map(json.loads, data.splitlines())
    return [Overlap(**record) for record in records], first["documents"]


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)
    elif isinstance(value, Mapping):
        for key, each in value.items():
            if key not in _NAMES:
                yield from _strings(each)
