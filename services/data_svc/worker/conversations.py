"""Conversation and preference versions: checked rows from uploads, and questions about facts of documents."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from bessemer.api.data.v1.dataset_pb2 import CurationResult, SplitCounts
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import JSON, canonical_json
from bessemer.artifacts.texts import read_texts
from bessemer.kernel.ids import id_of

from data_svc.domain.conversations import Row, read_row
from data_svc.domain.facts import Fact, facts_of
from data_svc.domain.personal_data import KINDS
from data_svc.domain.questions import (
    TARGET_CHARACTERS_MAX,
    Source,
    ask,
    conversation,
    evaluation_case,
    excerpt,
    pair,
    phrasings,
)
from data_svc.domain.reasons import Reason, Rejection
from data_svc.domain.recipes import Recipe
from data_svc.domain.splitting import HELDOUT, TRAIN, share, splits_of
from data_svc.domain.terms import TERMS, stated
from data_svc.worker.decontamination import ContaminationIndex, contaminated, suites_of
from data_svc.worker.documents import Documents, hexadecimal
from data_svc.worker.executor import Executor
from data_svc.worker.ingest import ingest
from data_svc.worker.partitions import Upload
from data_svc.worker.personal_data import cleaned
from data_svc.worker.profile import histogram, page, title_of
from data_svc.worker.rejections import Rejections
from data_svc.worker.texts import split_families
from data_svc.worker.version import Draft, count_reasons, nothing_kept

__all__ = ["make_row_version", "row_profile"]

_PHRASINGS_MAX = 3
_CONTENT = {"messages", "prompt", "chosen", "rejected"}
_LENGTHS = [0.0, 10, 20, 50, 100, 200, 300, 400, 500, 600, 800, 1000, 2000, 5000, 10_000]
Tick = Callable[[str, float], None]


@dataclass
class _Rows:
    """Everything collected for a version, per split."""

    given: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {TRAIN: [], HELDOUT: []})
    facts: dict[str, list[tuple[Source, Fact, str]]] = field(default_factory=lambda: {TRAIN: [], HELDOUT: []})
    documents: list[dict[str, JSON]] = field(default_factory=list)
    rejections: Rejections = field(default_factory=Rejections)
    num_bytes: int = 0
    personal_data: Counter[str] = field(default_factory=Counter)
    """Sources that hold a kind of personal data or secret, by kind: given rows, and documents that were asked about."""
    overlaps: Counter[str] = field(default_factory=Counter)
    """The same kinds of sources that share a few words in a row with an evaluation suite, by suite."""
    terms: dict[str, dict[str, JSON]] = field(default_factory=dict)
    """What owners state, by source."""


def make_row_version(
    uploads: Sequence[Upload],
    texts: Path | None,
    recipe: Recipe,
    *,
    index: ContaminationIndex,
    blobs: Blobs,
    executor: Executor,
    scratch: Path,
    tick: Tick,
    dry_run: bool = False,
) -> CurationResult:
    """Make a conversation or preference version of uploads, of a text version's documents, or of both.

    Raises: FailedPrecondition DATASET_EMPTY if there is no row.
    """
    draft = Draft(scratch / "version", dry_run)
    draft.folder.mkdir(parents=True)
    rows = _Rows()
    if uploads:
        _take_uploads(rows, uploads, recipe, index, executor=executor, scratch=scratch, tick=tick)
    for record in _lines(texts / "documents.jsonl") if texts else ():
        _note_terms(rows, record)
    for split, record in _read_texts(texts) if texts else []:
        held: Counter[str] = Counter()
        text = cleaned(record["text"].encode(), recipe.redact, held)
        if split == TRAIN and (rejection := contaminated([(record["source"], text)], index, rows.overlaps)[0]):
            rows.rejections.append(rejection)
            continue
        rows.personal_data.update(held.keys())
        _take_facts(rows, split, Source(record["id"], record["source"]), text.decode(), recipe)
    tick("asking questions", 0.8)
    _drop_leaks(rows)
    reasons = count_reasons(len(rows.documents), rows.num_bytes, rows.rejections)
    if not rows.documents:
        raise nothing_kept("conversation" if recipe.kind == "CHAT" else "pair", reasons)
    written = {split: _write_split(draft, split, rows, recipe) for split in (TRAIN, HELDOUT)}
    records = (record | rows.terms.get(str(record["source"]), {}) for record in rows.documents)
    draft.write_lines("documents.jsonl", ({"number": n, **record} for n, record in enumerate(records)))
    draft.write_rejections(rows.rejections)
    profile = row_profile(written, rows.personal_data, rows.overlaps)
    draft.write_json("profile.json", profile)
    splits = list(draft.splits.values())
    report = page(
        title_of("Conversations" if recipe.kind == "CHAT" else "Preference pairs", recipe),
        reasons,
        splits,
        profile=profile,
        rejections=rows.rejections,
    )
    (draft.folder / "report.html").write_text(report)
    facts: dict[str, JSON] = {"sequence_length": 0, "token_bytes": 0, "tokenizer_sha256": ""}
    if terms := stated((upload.name, upload.terms) for upload in uploads):
        facts["terms"] = terms
    return draft.seal(blobs, recipe, reasons, facts)


def _take_uploads(
    rows: _Rows,
    uploads: Sequence[Upload],
    recipe: Recipe,
    index: ContaminationIndex,
    *,
    executor: Executor,
    scratch: Path,
    tick: Tick,
) -> None:
    """Take the conversations and pairs of uploads as they are, and the facts of their documents."""
    found = ingest(uploads, recipe, executor, rows.rejections, scratch=scratch, tick=tick)
    given = found.given
    for record in chain(given.records(("source", *TERMS)), found.documents.records(("source", *TERMS))):
        _note_terms(rows, record)
    rows.personal_data.update(_held(given))
    sources = [str(record["source"]) for record in given.records(("source",))]
    texts = given.texts.read(np.arange(len(given)))
    taken = [(source, read_row(text.decode())) for source, text in zip(sources, texts, strict=True)]
    _take_given(rows, taken, recipe, index)
    documents = split_families(found.documents, recipe, index, rows.rejections, scratch=scratch, tick=tick)
    rows.personal_data.update(_held(documents))
    rows.overlaps.update(suites_of(documents))
    for number, record in enumerate(documents.records(("source", "split"))):
        [text], [id_] = documents.texts.read(np.array([number])), hexadecimal(documents.ids[number : number + 1])
        _take_facts(rows, record["split"], Source(id_, record["source"]), text.decode(), recipe)


def _held(documents: Documents) -> dict[str, int]:
    """Return how many documents hold each kind of personal data that one holds."""
    held = np.count_nonzero(documents.annotation("personal_data"), axis=0).tolist() if len(documents) else []
    return {kind: count for kind, count in zip(KINDS, held, strict=False) if count}


def _note_terms(rows: _Rows, record: Mapping[str, Any]) -> None:
    if terms := {name: record[name] for name in TERMS if record.get(name)}:
        rows.terms[record["source"]] = terms


def _read_texts(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    for split in (TRAIN, HELDOUT):
        yield from ((split, record) for record in read_texts(folder, split))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        with path.open("rb") as file:
            yield from map(json.loads, file)


def _take_given(rows: _Rows, given: Sequence[tuple[str, Row]], recipe: Recipe, index: ContaminationIndex) -> None:
    """Take checked rows of uploads; rows with the same first question stay in one split."""
    fitting = _fitting(rows, given, recipe)
    splits = splits_of((question for _, question, _ in fitting), recipe.seed, recipe.heldout_fraction)
    verdicts = contaminated([(source, _said(fields)) for source, _, fields in fitting], index, rows.overlaps)
    for (source, question, fields), rejection in zip(fitting, verdicts, strict=True):
        split = splits[question]
        if rejection and split == TRAIN:
            rows.rejections.append(rejection)
            continue
        rows.given[split].append(fields)
        rows.documents.append({"id": fields["id"], "source": source, "sha256": "", "split": split})
        rows.num_bytes += len(canonical_json({name: fields[name] for name in fields.keys() & _CONTENT}))


def _said(fields: Mapping[str, Any]) -> bytes:
    """Return everything that is said in a row, but for system messages."""
    turns = fields.get("messages") or fields["prompt"]
    said = [turn["content"] for turn in turns if turn["role"] != "system"]
    text = "\n".join([*said, fields.get("chosen", ""), fields.get("rejected", "")])
    return unicodedata.normalize("NFC", text).encode()


def _fitting(rows: _Rows, given: Sequence[tuple[str, Row]], recipe: Recipe) -> list[tuple[str, str, dict[str, Any]]]:
    """Return source, first question and fields of the rows that fit the recipe, each once; notes the others."""
    seen: dict[str, str] = {}
    fitting: list[tuple[str, str, dict[str, Any]]] = []
    for source, row in sorted(given, key=lambda item: item[0]):
        if recipe.kind == "PREFERENCE" and row.kind != "PREFERENCE":
            detail = "a preference version needs prompt, chosen and rejected"
            rows.rejections.append(Rejection(source, Reason.ROW_INVALID, detail, len(row.canonical())))
            continue
        fields = row.fields()
        if recipe.kind == "CHAT" and row.kind == "PREFERENCE":
            fields = {"messages": [*row.messages, {"role": "assistant", "content": row.chosen}]}
        text = canonical_json(fields)
        key = hashlib.sha256(text).hexdigest()[:32]
        if key in seen:
            detail = f"the same row as {seen[key]}"
            rows.rejections.append(Rejection(source, Reason.EXACT_DUPLICATE, detail, len(text), key))
            continue
        seen[key] = source
        question = next((m["content"] for m in row.messages if m["role"] == "user"), "")
        fitting.append((source, question, {"id": key, **fields, "source": source, "form": "given"}))
    return fitting


def _take_facts(rows: _Rows, split: str, source: Source, text: str, recipe: Recipe) -> None:
    """Take a document's facts, each with the piece of text that states it."""
    found = [(source, fact, excerpt(text, fact, recipe.seed)) for fact in facts_of(text, source.path)]
    found = [item for item in found if item[1].value in item[2]]
    size = len(text.encode())
    if not found:
        rows.rejections.append(Rejection(source.path, Reason.NO_FACTS, "", size))
        return
    rows.facts[split] += found
    rows.num_bytes += size
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    rows.documents.append({"id": source.id, "source": source.path, "sha256": sha256, "split": split})


def _drop_leaks(rows: _Rows) -> None:
    """Remove held-out facts that a training document states as well."""
    known = {(fact.subject.lower(), fact.attribute) for _, fact, _ in rows.facts[TRAIN]}
    rows.facts[HELDOUT] = [
        item for item in rows.facts[HELDOUT] if (item[1].subject.lower(), item[1].attribute) not in known
    ]


def _write_split(draft: Draft, split: str, rows: _Rows, recipe: Recipe) -> list[dict[str, Any]]:
    facts = rows.facts[split]
    values: dict[str, list[str]] = defaultdict(list)
    for _, fact, _ in facts:
        values[fact.attribute].append(fact.value)
    derived: list[dict[str, Any]] = []
    for form in ("open-book", "closed-book"):
        if form == "open-book" or split == TRAIN:
            made = [row for row in _derive(form, facts, values, recipe=recipe) if _identify(row)]
            derived += sorted(made, key=lambda row: share(recipe.seed, "rows", row["id"]))[: recipe.rows_max]
    written = sorted([*rows.given[split], *derived], key=lambda row: share(recipe.seed, "order", row["id"]))
    draft.write_lines(f"{split}/rows.jsonl", written)
    if split == HELDOUT and recipe.kind == "CHAT":
        draft.write_lines(f"{split}/questions.jsonl", _cases(facts, values, recipe))
    draft.splits[split] = SplitCounts(
        split=split,
        documents=sum(record["split"] == split for record in rows.documents),
        rows=len(written),
        bytes=sum(len(canonical_json(row)) for row in written),
    )
    return written


def _derive(
    form: str, facts: Sequence[tuple[Source, Fact, str]], values: dict[str, list[str]], *, recipe: Recipe
) -> Iterator[dict[str, Any]]:
    """Yield rows of one form, at most three phrasings per fact."""
    for source, fact, text in facts:
        first = int(share(recipe.seed, "phrasing", f"{source.id}{fact.attribute}") * 100)
        for phrasing in range(first, first + min(_PHRASINGS_MAX, len(phrasings(fact)))):
            prompt = ask(fact, phrasing, text if form == "open-book" else "")
            if recipe.kind == "CHAT":
                fields = conversation(fact, prompt)
            else:
                fields = pair(fact, prompt, values[fact.attribute], recipe.seed)
            yield {**fields, "source": source.path, "document": source.id, "attribute": fact.attribute, "form": form}


def _identify(row: dict[str, Any]) -> dict[str, Any]:
    row["id"] = hashlib.sha256(canonical_json(row)).hexdigest()[:32]
    return row


def _cases(
    facts: Sequence[tuple[Source, Fact, str]], values: dict[str, list[str]], recipe: Recipe
) -> list[dict[str, Any]]:
    """Return one evaluation case per held-out fact with a short value."""
    cases = []
    for source, fact, text in facts:
        if len(fact.value) <= TARGET_CHARACTERS_MAX:
            prompt = ask(fact, int(share(recipe.seed, "case", f"{source.id}{fact.attribute}") * 100), text)
            case = evaluation_case(fact, prompt, values[fact.attribute], source=source, seed=recipe.seed)
            cases.append(_identify(case))
    return sorted(cases, key=lambda case: share(recipe.seed, "cases", case["id"]))[: recipe.rows_max]


def row_profile(
    written: Mapping[str, list[dict[str, Any]]], personal_data: Counter[str], overlaps: Counter[str]
) -> dict[str, JSON]:
    """Return what `profile.json` holds for rows by split.

    `personal_data` counts sources that held a kind of it, `overlaps` documents that share words with a suite.
    """
    categories: Counter[str] = Counter({f"personal_data/{kind}": count for kind, count in personal_data.items()})
    categories.update({f"evaluation_overlap/{id_of(suite)}": count for suite, count in overlaps.items()})
    prompts, answers = [], []
    for split, rows in written.items():
        for row in rows:
            messages = row.get("messages") or [*row["prompt"], {"content": row.get("chosen") or row["completion"]}]
            prompts.append(sum(len(message["content"]) for message in messages[:-1]))
            answers.append(len(messages[-1]["content"]))
            categories[f"split/{split}"] += 1
            categories[f"form/{row['form']}"] += 1
            categories[f"attribute/{row.get('attribute', 'given')}"] += 1
    histograms: list[JSON] = [
        histogram("prompt_characters", _LENGTHS, prompts),
        histogram("answer_characters", _LENGTHS, answers),
    ]
    return {"histograms": histograms, "categories": dict(sorted(categories.items()))}
