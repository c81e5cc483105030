"""Text versions: documents split by family, tokenized, packed and sharded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from bessemer.api.data.v1.dataset_pb2 import CurationResult, SplitCounts
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import JSON
from bessemer.kernel.errors import InvalidRequest

from data_svc.domain.quality_rules import failures
from data_svc.domain.reasons import Reason, Rejection
from data_svc.domain.recipes import Recipe
from data_svc.domain.splitting import HELDOUT, TRAIN, share, splits_of, within_budget
from data_svc.worker.corpus import Corpus, Document
from data_svc.worker.decontamination import ContaminationIndex, drop_contaminated
from data_svc.worker.duplicates import drop_duplicates, drop_exact
from data_svc.worker.ingest import Upload, ingest
from data_svc.worker.packing import write_rows
from data_svc.worker.profile import page, text_profile
from data_svc.worker.tokens import Encoder
from data_svc.worker.version import Draft, count_reasons, nothing_kept

__all__ = ["curate_documents", "make_text_version"]

Tick = Callable[[str, float], None]


def curate_documents(
    corpus: Corpus, recipe: Recipe, index: ContaminationIndex, rejections: list[Rejection], tick: Tick
) -> list[Document]:
    """Return the corpus's documents in their splits, without duplicates and contaminated ones; adds to `rejections`."""
    unique, exact = drop_exact(corpus.documents)
    kept, near = drop_duplicates(corpus, unique, recipe.near_duplicate_threshold, tick)
    rejections += [*exact, *near]
    splits = splits_of((document.family for document in kept), recipe.seed, recipe.heldout_fraction)
    for document in kept:
        document.split = splits[document.family]
    return drop_contaminated(corpus, kept, index, rejections)


def make_text_version(
    uploads: Sequence[Upload],
    recipe: Recipe,
    tokenizer: Path | None,
    *,
    index: ContaminationIndex,
    blobs: Blobs,
    scratch: Path,
    tick: Tick,
) -> CurationResult:
    """Make a text version of uploads.

    Raises: InvalidRequest without a usable tokenizer; FailedPrecondition DATASET_EMPTY if nothing is kept to train on.
    """
    if tokenizer is None:
        raise InvalidRequest("a text version needs a tokenizer; name a tokenizer.json", field="curation_job.tokenizer")
    encoder = Encoder(tokenizer)
    draft = Draft(scratch / "version")
    draft.folder.mkdir(parents=True)
    with Corpus(scratch / "corpus.bin") as corpus:
        rejections = ingest(uploads, corpus, recipe, scratch=scratch, tick=_part(tick, 0.0, 0.5)).rejections
        kept = curate_documents(corpus, recipe, index, rejections, _part(tick, 0.5, 0.7))
        tokens = _tokenize(corpus, kept, encoder, path=scratch / "tokens.bin", tick=_part(tick, 0.7, 0.9))
        kept = _trim(kept, recipe, rejections)
        reasons = count_reasons(len(kept), sum(document.text_bytes for document in kept), rejections)
        if all(document.split != TRAIN for document in kept):
            raise nothing_kept("document", reasons)
        tick("writing shards", 0.9)
        for split in (TRAIN, HELDOUT):
            _write_split(draft, corpus, split, kept, tokens=tokens, recipe=recipe)
        draft.write_lines("documents.jsonl", (_record(number, document) for number, document in enumerate(kept)))
        draft.write_rejections(rejections)
        profile = text_profile(kept)
        draft.write_json("profile.json", profile)
        splits = list(draft.splits.values())
        report = page("Data profile", reasons, splits, profile=profile, rejections=rejections, documents=kept)
        (draft.folder / "report.html").write_text(report)
    facts: dict[str, JSON] = {
        "sequence_length": recipe.sequence_length,
        "token_bytes": encoder.dtype.itemsize,
        "tokenizer_sha256": encoder.sha256,
        "eos_token": encoder.eos[0] if encoder.eos else None,
        "eos_token_id": encoder.eos[1] if encoder.eos else None,
    }
    return draft.seal(blobs, recipe, reasons, facts)


def _part(tick: Tick, start: float, end: float) -> Tick:
    """Return a reporter for a stage that makes up one part of the job."""
    return lambda stage, fraction: tick(stage, start + fraction * (end - start))


def _tokenize(corpus: Corpus, documents: list[Document], encoder: Encoder, *, path: Path, tick: Tick) -> np.memmap:
    """Write all tokens into one file, fill in where each document's are, and return the file mapped."""
    total = sum(document.text_bytes for document in documents)
    done = start = 0
    with path.open("wb") as file:
        for batch in corpus.batches(documents):
            for document, ids in zip(batch, encoder.encode([corpus.text(d) for d in batch]), strict=True):
                ids.tofile(file)
                document.token_start, document.num_tokens = start, len(ids)
                start += len(ids)
                done += document.text_bytes
            tick(f"tokenizing: {start} tokens", done / total)
        if not start:
            file.write(bytes(encoder.dtype.itemsize))  # an empty file cannot be mapped
    return np.memmap(path, encoder.dtype, "r")


def _trim(documents: list[Document], recipe: Recipe, rejections: list[Rejection]) -> list[Document]:
    """Return the documents within `tokens_max` per split, chosen in a seeded order."""
    taken: set[str] = set()
    for split in (TRAIN, HELDOUT):
        sizes = {document.id: document.num_tokens for document in documents if document.split == split}
        taken |= within_budget(sizes, recipe.tokens_max, lambda key: share(recipe.seed, "budget", key))
    for document in documents:
        if document.id not in taken:
            detail = f"{document.num_tokens} tokens"
            rejections.append(Rejection(document.source, Reason.OVER_BUDGET, detail, document.text_bytes))
    return [document for document in documents if document.id in taken]


def _write_split(
    draft: Draft, corpus: Corpus, split: str, kept: list[Document], *, tokens: np.memmap, recipe: Recipe
) -> None:
    chosen = [(number, document) for number, document in enumerate(kept) if document.split == split]
    length, seed = recipe.sequence_length, recipe.seed
    num_rows = write_rows(draft.folder, split, chosen, tokens, sequence_length=length, seed=seed)
    draft.write_lines(
        f"{split}/texts.jsonl",
        ({"id": document.id, "source": document.source, "text": corpus.text(document)} for _, document in chosen),
    )
    draft.splits[split] = SplitCounts(
        split=split,
        documents=len(chosen),
        rows=num_rows,
        tokens=sum(document.num_tokens for _, document in chosen),
        bytes=sum(document.text_bytes for _, document in chosen),
    )


def _record(number: int, document: Document) -> dict[str, JSON]:
    return {
        "number": number,
        "id": document.id,
        "source": document.source,
        "sha256": document.sha256,
        "split": document.split,
        "format": document.format,
        "language": document.language,
        "characters": document.measures.characters,
        "tokens": document.num_tokens,
        "family": document.family,
        "overlaps": {overlap.suite: round(overlap.share, 3) for overlap in document.overlaps},
        "web_rules": [failure.rule.name for failure in failures(document.quality)],
    }
