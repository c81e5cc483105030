"""Documents that passed the gates: texts on disk, records in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from data_svc.domain.contamination import Overlap
from data_svc.domain.gates import Measures
from data_svc.domain.quality_rules import QualityMeasures

__all__ = ["Corpus", "Document"]


@dataclass(slots=True)
class Document:
    """One document; `text_start` and `text_bytes` find its text in the corpus file."""

    id: str
    source: str
    format: str
    sha256: str
    measures: Measures
    quality: QualityMeasures
    language: str
    text_start: int
    text_bytes: int
    personal_data: Mapping[str, int]
    family: str = ""
    split: str = ""
    token_start: int = 0
    num_tokens: int = 0
    overlaps: Sequence[Overlap] = ()
    """What a training document has in common with evaluation suites."""


class Corpus:
    """A growing file of texts with the documents in it; equal texts are written once."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b")
        self._places: dict[str, tuple[int, int]] = {}
        self._end = 0
        self.documents: list[Document] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(
        self,
        text: bytes,
        source: str,
        found: str,
        *,
        measures: Measures,
        quality: QualityMeasures,
        language: str,
        personal_data: Mapping[str, int],
    ) -> None:
        """Add a document; its id is its text's digest. `personal_data` counts what was found in it, by kind."""
        sha256 = hashlib.sha256(text).hexdigest()
        if sha256 not in self._places:
            self._file.seek(self._end)
            self._file.write(text)
            self._places[sha256] = (self._end, len(text))
            self._end += len(text)
        start, size = self._places[sha256]
        self.documents.append(
            Document(sha256[:32], source, found, sha256, measures, quality, language, start, size, personal_data)
        )

    def text_bytes(self, document: Document) -> bytes:
        """Return a document's text as UTF-8."""
        self._file.seek(document.text_start)
        return self._file.read(document.text_bytes)

    def text(self, document: Document) -> str:
        """Return a document's text."""
        return self.text_bytes(document).decode()

    def batches(self, documents: list[Document], batch_bytes: int = 4 << 20) -> Iterator[list[Document]]:
        """Yield the documents in runs whose texts are about `batch_bytes` together."""
        batch: list[Document] = []
        size = 0
        for document in documents:
            batch.append(document)
            size += document.text_bytes
            if size >= batch_bytes:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch
