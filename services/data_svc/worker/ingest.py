"""Uploads to gated documents: read, parse, measure, decide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from data_svc.domain.conversations import Row, read_row
from data_svc.domain.gates import Measures, gate
from data_svc.domain.quality_rules import first_failure
from data_svc.domain.reasons import Reason, Rejection
from data_svc.domain.recipes import Recipe
from data_svc.worker.archives import read_source
from data_svc.worker.corpus import Corpus
from data_svc.worker.kernels import repetition
from data_svc.worker.language import detect
from data_svc.worker.personal_data import find, redact
from data_svc.worker.quality import measure
from data_svc.worker.sandbox import ParsedDocument, Sandbox

__all__ = ["Delivered", "Upload", "cleaned", "ingest"]

_TICK_FILES = 20


@dataclass(frozen=True)
class Upload:
    """One file that was handed in, and the name it had."""

    name: str
    file: Path


@dataclass
class Delivered:
    """What came out of the uploads besides the documents in the corpus."""

    rejections: list[Rejection] = field(default_factory=list)
    rows: list[tuple[str, Row]] = field(default_factory=list)
    num_files: int = 0
    personal_data: Counter[str] = field(default_factory=Counter)
    """Rows of `rows` that hold a kind of personal data or secret, by kind."""


def ingest(
    uploads: Iterable[Upload], corpus: Corpus, recipe: Recipe, *, scratch: Path, tick: Callable[[str, float], None]
) -> Delivered:
    """Fill the corpus with the documents that pass the gates and return the rest.

    Rows of conversations and pairs become documents for a text version and stay rows for the others.
    """
    delivered = Delivered()
    uploads = list(uploads)
    with Sandbox(scratch, rows=recipe.kind != "TEXT") as sandbox:
        for number, upload in enumerate(uploads):
            for item in _parsed(upload, sandbox, scratch, delivered):
                if isinstance(item, Rejection):
                    delivered.rejections.append(item)
                elif item.format in {"CHAT", "PREFERENCE"}:
                    delivered.rows.append((item.source, _cleaned_row(item, recipe, delivered.personal_data)))
                elif rejection := _admit(item, corpus, recipe):
                    delivered.rejections.append(rejection)
                if (len(corpus.documents) + len(delivered.rejections)) % _TICK_FILES == 0:
                    tick(f"reading {upload.name}: {len(corpus.documents)} documents", number / len(uploads))
    return delivered


def _parsed(
    upload: Upload, sandbox: Sandbox, scratch: Path, delivered: Delivered
) -> Iterator[ParsedDocument | Rejection]:
    for found in read_source(upload.name, upload.file, scratch):
        delivered.num_files += 1
        if isinstance(found, Rejection):
            yield found
        else:
            yield from sandbox.parse(found)


def _admit(document: ParsedDocument, corpus: Corpus, recipe: Recipe) -> Rejection | None:
    """Put a document into the corpus, or say why not; what the recipe redacts never gets there."""
    personal_data: Counter[str] = Counter()
    text = cleaned(document.text, recipe, personal_data)
    if text is not document.text:
        document = replace(document, text=text, characters=len(text.decode()))
    words, lines, ngrams, letters = repetition(np.frombuffer(document.text, np.uint8))
    measures = Measures(document.characters, document.replaced, words, lines, ngrams, letters)
    verdict = gate(measures, recipe.min_characters)
    if verdict:
        reason, detail = verdict
        return Rejection(document.source, Reason(reason), detail, len(document.text))
    quality = measure(document.text)
    failure = first_failure(quality) if recipe.quality == "WEB" else None
    if failure:
        return Rejection(document.source, Reason.LOW_QUALITY, str(failure), len(document.text))
    language = detect(document.text)
    corpus.add(
        document.text,
        document.source,
        document.format,
        measures=measures,
        quality=quality,
        language=language,
        personal_data=personal_data,
    )
    return None


def cleaned(text: bytes, recipe: Recipe, counts: Counter[str]) -> bytes:
    """Return UTF-8 text as the recipe wants it redacted; adds all that was found in it to `counts`, by kind."""
    found = Counter(span.kind for span in find(text))
    counts.update(found)
    return text if found.keys().isdisjoint(recipe.redact) else redact(text, recipe.redact)


def _cleaned_row(item: ParsedDocument, recipe: Recipe, counts: Counter[str]) -> Row:
    """Return the row of an item after redaction; adds the kinds it held to `counts`."""
    held: Counter[str] = Counter()
    row = read_row(item.text.decode()).map_text(lambda text: cleaned(text.encode(), recipe, held).decode())
    counts.update(held.keys())
    return row
