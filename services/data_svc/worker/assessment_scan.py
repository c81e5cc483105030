"""One pass over a text version's documents: everything an assessment knows of them, and places to read them again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from bessemer.artifacts.texts import text_files

from data_svc.domain.facts import facts_of
from data_svc.domain.personal_data import KINDS
from data_svc.domain.quality_rules import QualityMeasures
from data_svc.domain.splitting import HELDOUT, TRAIN
from data_svc.domain.structure import Structure, licences_of, structure_of
from data_svc.domain.terms import TERMS, Terms
from data_svc.worker import minhash
from data_svc.worker.hashing import Hashes
from data_svc.worker.personal_data import find, redact
from data_svc.worker.quality import measure
from data_svc.worker.repeats import Repeats
from data_svc.worker.topics import SAMPLE_DOCUMENTS

__all__ = ["PHRASE_WORDS", "REPEATED", "RUN_WORDS", "Scan", "Scanned", "scan"]

# Brown et al. 2020, appendix C: what is shared by thirteen words is hardly chance. Lee et al. 2022, "Deduplicating
# Training Data Makes Language Models Better", section 4.1: fifty is text that was copied.
PHRASE_WORDS, RUN_WORDS = 13, 50
REPEATED = "repeated"
_BATCH_BYTES = 4 << 20
_WORD_BYTES = 2  # least bytes per word, blank included
_SAMPLE_WORDS = 4_000_000
_SAMPLE_CHARACTERS = 6000
_SAME_AGREEMENT = 0.7
_ALL_PAIRS_MAX = 50
_EXCERPT_CHARACTERS = 240
_LINE_CHARACTERS_MIN = 20


@dataclass(slots=True)
class Scanned:
    """One kept document; shares are of its words. `offset` is where its line begins in `file`, a part of the texts."""

    id: str
    source: str
    format: str
    language: str
    split: str
    family: str
    tokens: int
    bytes: int
    file: Path
    offset: int
    quality: QualityMeasures
    structure: Structure
    licences: Sequence[str]
    """Named in the text; `terms` are what the owner states."""
    terms: Terms
    found: Mapping[str, int]
    phrase_share: float = 0.0
    """Of its runs of thirteen words, the share that stood before in the version."""
    run_share: float = 0.0
    """The same of fifty words."""
    known_share: float = 0.0
    """Of a held-out document's runs of thirteen words, the share that stands in training text."""

    @property
    def unique_tokens(self) -> float:
        """Tokens without what stood before; of a held-out document, without what stands in training text."""
        return self.tokens * (1 - max(self.phrase_share, self.known_share))


@dataclass
class Scan:
    """All documents, training text first, and samples for what is too dear to look at everywhere."""

    folder: Path
    documents: list[Scanned] = field(default_factory=list)
    sample: list[int] = field(default_factory=list)
    """Places of the sampled documents."""
    sample_texts: list[str] = field(default_factory=list)
    derivable_pairs: int = 0
    """Facts that questions can ask for, extrapolated from the sample."""
    word_hashes: Hashes = field(default_factory=lambda: np.empty(0, np.uint64))
    """Words of sampled documents, in order."""
    leaks: list[tuple[int, int, float]] = field(default_factory=list)
    """Training and held-out document, with the share of their shingles that is about the same."""

    def excerpt(self, document: Scanned, around: str = "") -> str:
        """Return a piece of a document, personal data and secrets replaced by their kinds.

        It begins shortly before the replacement of the kind `around`, or with the line that comes most often if
        `around` is `REPEATED`, else after a third of the document.
        """
        text = redact(_text_at(document), KINDS).decode(errors="replace")
        start = len(text) // 3
        if around == REPEATED:
            lines = Counter(line for line in text.split("\n") if len(line.strip()) >= _LINE_CHARACTERS_MIN)
            line, times = lines.most_common(1)[0] if lines else ("", 0)
            start = text.find(line) if times > 1 else start
        elif around and f"[{around.upper()}]" in text:
            start = max(0, text.find(f"[{around.upper()}]") - _EXCERPT_CHARACTERS // 3)
        return " ".join(text[start : start + 2 * _EXCERPT_CHARACTERS].split())[:_EXCERPT_CHARACTERS]


def scan(folder: Path, tick: Callable[[str, float], None]) -> Scan:
    """Read `documents.jsonl` and the texts of both splits below a folder."""
    with (folder / "documents.jsonl").open("rb") as lines:
        records = {record["id"]: record for record in map(json.loads, lines)}
    files = [*text_files(folder, TRAIN), *text_files(folder, HELDOUT)]
    total = max(sum(path.stat().st_size for path in files), 1)
    found = Scan(folder)
    most_words = total // _WORD_BYTES + len(records)
    counters = (Repeats(PHRASE_WORDS, most_words), Repeats(RUN_WORDS, most_words))
    step = max(1, len(records) // SAMPLE_DOCUMENTS)
    signatures: list[npt.NDArray[np.uint32]] = []
    sampled_words: list[Hashes] = []
    done = facts = 0
    for path in files:
        for batch in _batches(path):
            tick(f"measuring {len(records)} documents", done / total)
            texts = [row["text"].encode() for _, row in batch]
            first = len(found.documents)
            for (offset, row), text in zip(batch, texts, strict=True):
                found.documents.append(_scanned(records[row["id"]], path, offset, text))
                if (len(found.documents) - 1) % step == 0:
                    found.sample.append(len(found.documents) - 1)
                    found.sample_texts.append(row["text"][:_SAMPLE_CHARACTERS])
                    facts += len(facts_of(row["text"], row["source"]))
            hashes, bounds = _words(texts)
            _count_repeats(found.documents[first:], hashes, bounds, counters)
            signatures.append(minhash.signatures(*minhash.shingles(hashes, bounds, 3)))
            if sum(map(len, sampled_words)) < _SAMPLE_WORDS:
                chosen = range(first + (-first) % step, len(found.documents), step)
                sampled_words += [hashes[bounds[at - first] : bounds[at - first + 1]] for at in chosen]
            done += sum(map(len, texts))
    found.derivable_pairs = round(facts * len(found.documents) / max(len(found.sample), 1))
    found.word_hashes = np.concatenate([*sampled_words, np.empty(0, np.uint64)])[:_SAMPLE_WORDS]
    found.leaks = _leaks(found.documents, np.concatenate(signatures)) if signatures else []
    return found


def _batches(path: Path) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    """Yield rows with the places of their lines, about four megabytes at a time."""
    batch: list[tuple[int, dict[str, Any]]] = []
    start = offset = 0
    with path.open("rb") as lines:
        for line in lines:
            batch.append((offset, json.loads(line)))
            offset += len(line)
            if offset - start >= _BATCH_BYTES:
                yield batch
                batch, start = [], offset
    if batch:
        yield batch


def _scanned(record: Mapping[str, Any], file: Path, offset: int, text: bytes) -> Scanned:
    return Scanned(
        id=record["id"],
        source=record["source"],
        format=record["format"],
        language=record["language"],
        split=record["split"],
        family=record["family"],
        tokens=record["tokens"],
        bytes=len(text),
        file=file,
        offset=offset,
        quality=measure(text),
        structure=structure_of(text),
        licences=licences_of(text),
        terms=Terms(*(record.get(name, "") for name in TERMS)),
        found=Counter(span.kind for span in find(text)),
    )


def _words(texts: Sequence[bytes]) -> tuple[Hashes, npt.NDArray[np.int64]]:
    offsets = np.cumsum([0, *map(len, texts)])
    return minhash.words(np.frombuffer(b"".join(texts), np.uint8), offsets, minhash.fold_table())


def _count_repeats(
    documents: Sequence[Scanned], hashes: Hashes, bounds: npt.NDArray[np.int64], counters: tuple[Repeats, Repeats]
) -> None:
    phrases, runs = counters
    if documents[0].split == HELDOUT:
        _share(documents, "known_share", *phrases.known(hashes, bounds))
        return
    _share(documents, "phrase_share", *phrases.add(hashes, bounds))
    _share(documents, "run_share", *runs.add(hashes, bounds))


def _share(documents: Sequence[Scanned], name: str, looked: npt.NDArray[np.int64], seen: npt.NDArray[np.int64]) -> None:
    for document, share in zip(documents, (seen / np.maximum(looked, 1)).tolist(), strict=True):
        setattr(document, name, share)


def _leaks(documents: Sequence[Scanned], rows: npt.NDArray[np.uint32]) -> list[tuple[int, int, float]]:
    """Return pairs across the splits that are about the same by their signatures, the most alike first."""
    pairs, _ = minhash.candidates(rows, np.arange(len(rows)), _SAME_AGREEMENT, _ALL_PAIRS_MAX)
    across = [(a, b) for a, b in pairs.tolist() if documents[a].split != documents[b].split]
    return sorted(((a, b, float((rows[a] == rows[b]).mean())) for a, b in across), key=lambda leak: (-leak[2], leak))


def _text_at(document: Scanned) -> bytes:
    with document.file.open("rb") as file:
        file.seek(document.offset)
        text: str = json.loads(file.readline())["text"]
    return text.encode()
