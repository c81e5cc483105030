"""What was delivered and what became of it, by source; and the words that the tokenizer breaks up."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bessemer.artifacts.manifest import Manifest

from data_svc.domain.personal_data import PII, SECRETS
from data_svc.domain.reasons import KEPT, Reason
from data_svc.domain.source_groups import group_sources
from data_svc.domain.source_verdicts import SourceCounts
from data_svc.domain.structure import RESTRICTED
from data_svc.worker.assessment_scan import Scan, Scanned
from data_svc.worker.tokens import Encoder
from data_svc.worker.topics import WORD, Topics

__all__ = ["Cluster", "Findings", "broken_words", "collect"]

COPIES = (Reason.EXACT_DUPLICATE, Reason.NEAR_DUPLICATE)
# What was not used for one of these was never text: its size says nothing about tokens.
NO_TEXT = (
    *(Reason.BINARY, Reason.UNSUPPORTED_FORMAT, Reason.ENCRYPTED, Reason.EMPTY),
    *(reason for reason in Reason if reason.startswith(("PARSE_", "ARCHIVE_"))),
)
_PIECES_MAX = 3


@dataclass(frozen=True)
class Cluster:
    """A kept document and the copies that were dropped for it."""

    source: str
    copies: Sequence[str]
    bytes: int


@dataclass
class Findings:
    """Everything that measures, advice and page are made of."""

    scan: Scan
    facts: Mapping[str, Any]
    rejections: Sequence[Mapping[str, Any]]
    groups: Mapping[str, str]
    sources: Mapping[str, SourceCounts]
    clusters: Sequence[Cluster]
    topics: Topics = field(default_factory=Topics)
    broken: Sequence[tuple[str, int, int]] | None = None
    """Words of more than three pieces, with pieces and times; None without a tokenizer."""
    broken_share: float = 0.0

    @property
    def documents(self) -> Sequence[Scanned]:
        """The kept documents."""
        return self.scan.documents

    @property
    def tokens(self) -> int:
        """Tokens of the version."""
        return sum(document.tokens for document in self.documents)

    @property
    def bytes(self) -> int:
        """Bytes of text of the version."""
        return sum(document.bytes for document in self.documents)

    @property
    def bytes_per_token(self) -> float:
        """Bytes of text per token."""
        return self.bytes / max(self.tokens, 1)

    @property
    def unique_tokens(self) -> int:
        """Tokens that do not stand elsewhere in the version."""
        return round(sum(document.unique_tokens for document in self.documents))

    @property
    def fates(self) -> Counter[str]:
        """Delivered documents by what became of them."""
        counts = Counter({KEPT: len(self.documents)})
        counts.update(rejection["reason"] for rejection in self.rejections)
        return counts

    @property
    def lost_bytes(self) -> Counter[str]:
        """Bytes of what was not kept, by reason."""
        lost: Counter[str] = Counter()
        for rejection in self.rejections:
            lost[rejection["reason"]] += rejection["size_bytes"]
        return lost

    @property
    def delivered_tokens(self) -> float:
        """Tokens of all text that was delivered; those of what was not kept are estimated."""
        lost = sum(size for reason, size in self.lost_bytes.items() if reason not in NO_TEXT)
        return self.tokens + lost / self.bytes_per_token


def collect(folder: Path, manifest: Manifest, scan: Scan) -> Findings:
    """Return the findings of a version whose files lie in a folder."""
    with (folder / "rejections.jsonl").open("rb") as lines:
        rejections = [json.loads(line) for line in lines]
    delivered = [*(d.source for d in scan.documents), *(rejection["source"] for rejection in rejections)]
    groups = group_sources(delivered)
    sources: dict[str, SourceCounts] = defaultdict(SourceCounts)
    for document in scan.documents:
        _add_document(sources[groups[document.source]], document)
    for rejection in rejections:
        counts = sources[groups[rejection["source"]]]
        reason = rejection["reason"]
        counts.fates[reason] = counts.fates.get(reason, 0) + 1
        counts.lost_bytes[reason] = counts.lost_bytes.get(reason, 0) + rejection["size_bytes"]
    ordered = dict(sorted(sources.items(), key=lambda item: (-item[1].tokens, item[0])))
    return Findings(scan, manifest.facts, rejections, groups, ordered, _clusters(scan.documents, rejections))


def broken_words(texts: Sequence[str], encoder: Encoder) -> tuple[list[tuple[str, int, int]], float]:
    """Return words of more than three pieces, the most frequent first, and their share of all words.

    A word stands after a blank, as in running text.
    """
    counts = Counter(word for text in texts for word in WORD.findall(text))
    words = sorted(counts)
    end = 1 if encoder.eos else 0
    pieces = [len(ids) - end for ids in encoder.encode([f" {word}".encode() for word in words])] if words else []
    found = [(word, size, counts[word]) for word, size in zip(words, pieces, strict=True) if size > _PIECES_MAX]
    found.sort(key=lambda item: (-item[2], item[0]))
    return found, sum(times for _, _, times in found) / max(counts.total(), 1)


def _add_document(counts: SourceCounts, document: Scanned) -> None:
    counts.fates[KEPT] = counts.fates.get(KEPT, 0) + 1
    counts.bytes += document.bytes
    counts.tokens += document.tokens
    counts.repeated_tokens += document.tokens - document.unique_tokens
    for kind, times in document.found.items():
        counts.found[kind] = counts.found.get(kind, 0) + times
    if any(kind in document.found for kind in SECRETS):
        counts.secret_tokens += document.tokens
    if any(kind in document.found for kind in PII):
        counts.personal_tokens += document.tokens
    if RESTRICTED in document.licences:
        counts.restricted_documents += 1
        counts.restricted_tokens += document.tokens


def _clusters(documents: Sequence[Scanned], rejections: Sequence[Mapping[str, Any]]) -> list[Cluster]:
    """Return who was copied, the most copied first."""
    copies: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for rejection in rejections:
        if rejection["duplicate_of"]:
            copies[rejection["duplicate_of"]].append(rejection)
    kept = {document.id: document.source for document in documents}
    found = [
        Cluster(kept[of], [r["source"] for r in group], sum(r["size_bytes"] for r in group))
        for of, group in copies.items()
        if of in kept
    ]
    return sorted(found, key=lambda cluster: (-len(cluster.copies), cluster.source))
