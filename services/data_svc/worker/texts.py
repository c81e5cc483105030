"""Text versions: documents split by family, tokenized, packed and sharded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from bessemer.api.data.v1.dataset_pb2 import CurationResult, SplitCounts
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import JSON, canonical_json
from bessemer.artifacts.report import Report
from bessemer.artifacts.texts import part_path
from bessemer.kernel.errors import InvalidRequest

from data_svc.domain.decoding import REPLACED_SHARE_MAX
from data_svc.domain.partitions import TEXT_PART_BYTES, result_key, starts_partition
from data_svc.domain.reasons import Reason
from data_svc.domain.recipes import Recipe
from data_svc.domain.splitting import HELDOUT, TRAIN, held_out, shares, within_budget
from data_svc.domain.terms import TERMS, stated
from data_svc.worker.batches import bytes_of, places
from data_svc.worker.decontamination import ContaminationIndex, drop_contaminated
from data_svc.worker.documents import Documents, hexadecimal
from data_svc.worker.duplicates import drop_exact, drop_near
from data_svc.worker.executor import Executor, Task
from data_svc.worker.family_sizes import show_families
from data_svc.worker.ingest import ingest
from data_svc.worker.packing import write_rows
from data_svc.worker.partitions import Upload
from data_svc.worker.profile import page, text_profile, title_of
from data_svc.worker.rejections import Rejections
from data_svc.worker.selection import Selection, select
from data_svc.worker.semantic_duplicates import drop_semantic
from data_svc.worker.slices import Numbers, Slices
from data_svc.worker.tasks import TOKENIZE_VERSION
from data_svc.worker.tokens import Encoder
from data_svc.worker.version import Draft, count_reasons, nothing_kept
from data_svc.worker.web_rules import Broken, broken_rules, names_of, show_web_rules

__all__ = ["make_text_version", "split_families"]

Tick = Callable[[str, float], None]


def split_families(
    documents: Documents,
    recipe: Recipe,
    index: ContaminationIndex,
    rejections: Rejections,
    *,
    scratch: Path,
    tick: Tick,
) -> Documents:
    """Return the documents in order of source, each with its `family` and `split`.

    Duplicates and training documents that give cases of evaluation suites away are left out.
    """
    unique = drop_exact(documents, rejections)
    kept = drop_near(unique, recipe.near_duplicate_threshold, rejections, scratch=scratch, tick=tick)
    kept = drop_semantic(kept, recipe.semantic_duplicate_threshold, rejections, tick)
    families, family = np.unique(bytes_of(kept.table["family"]), return_inverse=True)
    sizes = np.bincount(family, kept.texts.sizes).astype(np.int64)
    held = held_out(shares(recipe.seed, "split", hexadecimal(families)), recipe.heldout_fraction, sizes)
    kept = kept.with_column("split", pa.array(np.where(held[family], HELDOUT, TRAIN), pa.string()))
    return drop_contaminated(kept, index, rejections, tick=tick)


def make_text_version(
    uploads: Sequence[Upload],
    recipe: Recipe,
    tokenizer: Path | None,
    *,
    index: ContaminationIndex,
    blobs: Blobs,
    executor: Executor,
    scratch: Path,
    tick: Tick,
    labels: Path | None = None,
    dry_run: bool = False,
) -> CurationResult:
    """Make a text version of uploads; `labels` is a file that a classifier of quality learns from.

    Raises: InvalidRequest without a usable tokenizer; FailedPrecondition DATASET_EMPTY if nothing is kept to
    train on, and SOURCE_INVALID as `ingest`.
    """
    if tokenizer is None:
        raise InvalidRequest("a text version needs a tokenizer; name a tokenizer.json", field="curation_job.tokenizer")
    encoder = Encoder(tokenizer)
    draft = Draft(scratch / "version", dry_run)
    draft.folder.mkdir(parents=True)
    rejections = Rejections()
    found = ingest(uploads, recipe, executor, rejections, scratch=scratch, tick=_part(tick, 0.0, 0.6)).documents
    selection = None
    if labels is not None:
        part = _part(tick, 0.6, 0.6)
        found, selection = select(found, labels, recipe, rejections, executor, scratch=scratch, tick=part)
    kept = split_families(found, recipe, index, rejections, scratch=scratch, tick=_part(tick, 0.6, 0.7))
    kept, tokens = _tokenize(kept, encoder, tokenizer, executor=executor, tick=_part(tick, 0.7, 0.9))
    within = _within_budget(kept, recipe, rejections)
    kept, tokens = kept.take(within), tokens.take(within)
    reasons = count_reasons(len(kept), int(kept.texts.sizes.sum()), rejections)
    if not _in_split(kept, TRAIN).any():
        raise nothing_kept("document", reasons)
    for split in (TRAIN, HELDOUT):
        tick(f"writing shards of {split}", 0.9)
        _write_split(draft, split, kept, tokens, recipe=recipe, dtype=encoder.dtype)
    broken = broken_rules(kept)
    draft.write_lines("documents.jsonl", _records(kept, broken))
    draft.write_rejections(rejections)
    profile = text_profile(kept, broken)
    draft.write_json("profile.json", profile)
    splits = list(draft.splits.values())
    show = partial(_show, documents=kept, broken=broken, selection=selection)
    report = page(title_of("Data profile", recipe), reasons, splits, profile=profile, rejections=rejections, show=show)
    (draft.folder / "report.html").write_text(report)
    facts: dict[str, JSON] = {
        "sequence_length": recipe.sequence_length,
        "token_bytes": encoder.dtype.itemsize,
        "tokenizer_sha256": encoder.sha256,
        "eos_token": encoder.eos[0] if encoder.eos else None,
        "eos_token_id": encoder.eos[1] if encoder.eos else None,
    }
    if selection is not None:
        facts["classifier"] = selection.facts
    if terms := stated((upload.name, upload.terms) for upload in uploads):
        facts["terms"] = terms
    return draft.seal(blobs, recipe, reasons, facts)


def _show(report: Report, documents: Documents, broken: Broken, selection: Selection | None) -> None:
    """Add what only text versions have to tell."""
    if selection is not None:
        selection.show(report)
    show_families(report, documents)
    show_web_rules(report, documents, broken)


def _part(tick: Tick, start: float, end: float) -> Tick:
    """Return a reporter for a stage that makes up one part of the job."""
    return lambda stage, fraction: tick(stage, start + fraction * (end - start))


def _tokenize(
    documents: Documents, encoder: Encoder, tokenizer: Path, *, executor: Executor, tick: Tick
) -> tuple[Documents, Slices]:
    """Return the documents with their number of `tokens`, and where these lie."""
    parts = [*documents.by_partition()]
    files, starts, sizes = (np.zeros(len(documents), np.int64) for _ in range(3))

    def tasks() -> Iterator[Task]:
        for here, path, rows in parts:
            request = {"kind": "tokenize", "partition": str(path), "rows": rows.tolist(), "tokenizer": str(tokenizer)}
            given: JSON = [TOKENIZE_VERSION, encoder.sha256, hexadecimal(documents.ids[here])]
            yield Task(result_key("tokenize", given), request, path.with_suffix(".tokens"))

    done: list[Path] = []
    for task in executor.map(tasks(), lambda at: tick(f"tokenizing {at}", len(done) / len(parts))):
        here = parts[len(done)][0]
        starts[here], sizes[here] = places(task.out, "tokens")
        files[here] = len(done)
        done.append(task.out)
    tokens = Slices(done, files, starts, sizes)
    return documents.with_column("tokens", pa.array(sizes // encoder.dtype.itemsize)), tokens


def _within_budget(documents: Documents, recipe: Recipe, rejections: Rejections) -> Numbers:
    """Return the documents within `tokens_max` per split, chosen in a seeded order."""
    if not recipe.tokens_max:
        return np.arange(len(documents))
    drawn = shares(recipe.seed, "budget", hexadecimal(documents.ids))
    order, sizes = np.lexsort((documents.ids, drawn)), documents.numbers("tokens")
    taken = np.zeros(len(documents), np.bool_)
    for split in (TRAIN, HELDOUT):
        inside = _in_split(documents, split)
        chosen = np.flatnonzero(inside)
        tried = np.searchsorted(chosen, order[inside[order]])
        taken[chosen] = within_budget(sizes[chosen], tried, recipe.tokens_max)
    left = np.flatnonzero(~taken)
    rejections.add_columns(
        source=documents.table["source"].take(left),
        reason=[str(Reason.OVER_BUDGET)] * len(left),
        detail=[f"{size} tokens" for size in sizes[left].tolist()],
        size_bytes=documents.texts.sizes[left],
    )
    return np.flatnonzero(taken)


def _in_split(documents: Documents, split: str) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.asarray(documents.table["split"].to_numpy() == split)


def _write_split(
    draft: Draft, split: str, kept: Documents, tokens: Slices, *, recipe: Recipe, dtype: np.dtype[np.unsignedinteger]
) -> None:
    numbers = np.flatnonzero(_in_split(kept, split))
    chosen, length = kept.take(numbers), recipe.sequence_length
    mine = tokens.take(numbers)
    num_rows = write_rows(draft.folder, split, numbers, mine, dtype=dtype, sequence_length=length, seed=recipe.seed)
    _write_texts(draft.folder, split, numbers, chosen)
    draft.splits[split] = SplitCounts(
        split=split,
        documents=len(chosen),
        rows=num_rows,
        tokens=int(chosen.numbers("tokens").sum()),
        bytes=int(chosen.texts.sizes.sum()),
    )


def _write_texts(folder: Path, split: str, numbers: Numbers, documents: Documents) -> None:
    """Write the parts of a split; their bounds depend on its documents alone, so versions share what they share."""
    with ExitStack() as opened:
        part, held = None, 0
        for number, id_, record in zip(numbers.tolist(), documents.ids.tolist(), _texts(documents), strict=True):
            line = canonical_json(record)
            if part is None or starts_partition(id_, len(line), held, TEXT_PART_BYTES):
                opened.close()
                path = folder / part_path(split, number)
                path.parent.mkdir(parents=True, exist_ok=True)
                part, held = opened.enter_context(path.open("wb")), 0
            held += part.write(line)


def _texts(documents: Documents) -> Iterator[dict[str, JSON]]:
    sources = (str(record["source"]) for record in documents.records(("source",)))
    for batch in documents.texts.batches(np.arange(len(documents))):
        for id_, text in zip(hexadecimal(documents.ids[batch]), documents.texts.read(batch), strict=True):
            yield {"id": id_, "source": next(sources), "text": text.decode()}


def _records(documents: Documents, broken: Broken) -> Iterator[dict[str, JSON]]:
    names = ["source", "sha256", "split", "format", "language", "characters", "tokens", "family", "overlaps", *TERMS]
    names += [name for name in documents.table.column_names if name == "accept_probability"]
    for number, record in enumerate(documents.records(names)):
        sha256, family = record["sha256"].hex(), record["family"].hex()
        rules = names_of(int(broken[number]))
        overlaps = json.loads(record["overlaps"])
        known = {"number": number, "id": sha256[:32], "sha256": sha256, "family": family}
        for name in TERMS:
            if not record[name]:
                del record[name]
        if documents.damage[number] > REPLACED_SHARE_MAX:
            record["damaged_share"] = round(float(documents.damage[number]), 4)
        yield {**record, **known, "overlaps": overlaps, "web_rules": rules}
