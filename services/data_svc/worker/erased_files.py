"""The files of a version without some documents: texts or rows, records, rejections, profile, report, manifest."""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from bessemer.api.data.v1.dataset_pb2 import CurationResult, SplitCounts
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import JSON, Manifest, canonical_json, write_manifest
from bessemer.artifacts.texts import part_of, text_parts
from bessemer.kernel.errors import DataLoss

from data_svc.domain.erasure import Selector
from data_svc.domain.reasons import Reason, Rejection
from data_svc.domain.recipes import Recipe
from data_svc.domain.splitting import HELDOUT, TRAIN
from data_svc.domain.terms import TERMS
from data_svc.worker.batches import batches, write_table
from data_svc.worker.conversations import row_profile
from data_svc.worker.documents import Documents
from data_svc.worker.erased_shards import ErasedTokens, erase_tokens
from data_svc.worker.operators import annotate, operators_of
from data_svc.worker.profile import page, text_profile
from data_svc.worker.rejections import Rejections
from data_svc.worker.rewrite import Rewrite, Span, blocks, lines, without
from data_svc.worker.sandbox import ParsedDocument
from data_svc.worker.text_search import lines_with
from data_svc.worker.version import Draft, count_reasons
from data_svc.worker.web_rules import broken_rules

__all__ = ["Gone", "subtract", "take_out"]

_DOCUMENTS, _REJECTIONS, _PROFILE, _REPORT = "documents.jsonl", "rejections.jsonl", "profile.json", "report.html"
_TITLES = {"TEXT": "Data profile", "CHAT": "Conversations", "PREFERENCE": "Preference pairs"}
_ROWS = ("rows", "questions")
_ID_DIGITS, _ID_START = 32, len(b'{"id":"')
_RECORD = re.compile(rb'"id":"([0-9a-f]{32})"')
_SOURCE = re.compile(rb'"source":("[^"\\]*(?:\\.[^"\\]*)*")')  # in a string of JSON every quote is behind a backslash
Row = dict[str, Any]


@dataclass
class Gone:
    """What leaves a version; filled as it leaves."""

    records: list[Row]  # lines of documents.jsonl
    documents: bytes  # the other lines
    num_left: int
    texts: dict[str, str] = field(default_factory=dict)  # by id
    rows: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))  # by id of their document
    bytes: Counter[str] = field(default_factory=Counter)  # of text or of rows, by split
    tokens: ErasedTokens = field(default_factory=ErasedTokens)

    @classmethod
    def find(cls, version: Rewrite, selector: Selector) -> Gone:
        """Return the records of the documents that a selector takes."""
        data = version.get_bytes(_DOCUMENTS)
        wanted = {document.encode() for document in selector.documents | _holders(version, selector, data)}
        pattern = _SOURCE if selector.sources else _RECORD
        records: list[Row] = []
        spans: list[Span] = []
        num_left = 0
        for found in pattern.finditer(data):
            if selector.takes(_text(found[1])) if selector.sources else found[1] in wanted:
                spans.append((data.rfind(b"\n", 0, found.start()) + 1, data.find(b"\n", found.end()) + 1))
                records.append(json.loads(data[slice(*spans[-1])]))
            else:
                num_left += 1
        return cls(records, without(data, spans), num_left)

    def of(self, split: str) -> list[Row]:
        """Return the records of a split."""
        return [record for record in self.records if record["split"] == split]


def take_out(version: Rewrite, blobs: Blobs, gone: Gone, selector: Selector, *, old_sha256: str) -> CurationResult:
    """Rewrite the files that hold something of the documents, and seal the version without them."""
    is_text = version.manifest.facts["kind"] == "TEXT"
    if is_text:
        _cut_texts(version, gone)
        gone.tokens = erase_tokens(version, {s: [r["number"] for r in gone.of(s)] for s in (TRAIN, HELDOUT)})
    else:
        _cut_rows(version, gone)
    version.put_bytes(_DOCUMENTS, gone.documents)
    rejections = _rewrite_rejections(version, gone, selector)
    splits = _splits(version.manifest, gone)
    kept, kept_bytes = (sum(getattr(split, name) for split in splits) for name in ("documents", "bytes"))
    draft = Draft(version.folder)
    profile = subtract(json.loads(version.get_bytes(_PROFILE)), _profile(gone, is_text=is_text))
    draft.write_json(_PROFILE, profile)
    reasons = count_reasons(kept, kept_bytes, rejections)
    named = rejections.take(np.flatnonzero([source != "" for source in rejections.column("source")]))
    title = _TITLES[str(version.manifest.facts["kind"])]
    (version.folder / _REPORT).write_text(page(title, reasons, splits, profile=profile, rejections=named))
    version.put(_PROFILE)
    version.put(_REPORT)
    facts: dict[str, JSON] = {
        **version.manifest.facts,
        "reasons": {count.reason: count.documents for count in reasons},
        "splits": {s.split: {n: getattr(s, n) for n in ("documents", "rows", "tokens", "bytes")} for s in splits},
        "erased_from": old_sha256,
    }
    if "terms" in facts:
        facts["terms"] = _terms_left(facts["terms"], gone, selector)
    sealed = Manifest("dataset", version.entries, facts)
    return CurationResult(
        manifest=write_manifest(blobs, sealed),
        splits=splits,
        reasons=reasons,
        tokenizer_sha256=str(facts["tokenizer_sha256"]),
        report=sealed.file(_REPORT).ref,
    )


def subtract(profile: dict[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    """Return a profile without the documents that `part` is the profile of."""
    less = {shown["measure"]: shown["counts"] for shown in part["histograms"]}
    for shown in profile["histograms"]:
        for at, count in enumerate(less.get(shown["measure"], [])[: len(shown["counts"])]):
            shown["counts"][at] = max(0, shown["counts"][at] - count)
    left = {name: count - part["categories"].get(name, 0) for name, count in profile["categories"].items()}
    return {"histograms": profile["histograms"], "categories": {n: count for n, count in left.items() if count > 0}}


def _terms_left(terms: Any, gone: Gone, selector: Selector) -> list[JSON]:
    """Return what owners state, without the sources whose names tell of what went."""
    sources = {record["source"] for record in gone.records}
    return [
        entry
        for entry in terms
        if not (entry["source"] in sources or selector.takes(entry["source"]) or selector.is_in(entry["source"]))
    ]


def _holders(version: Rewrite, selector: Selector, documents: bytes) -> set[str]:
    """Return the ids of the documents that hold an identifier in their text, their rows or their source."""
    found: set[str] = set()
    if not selector.identifiers:
        return found
    files = [version.get(f"{s}/{n}.jsonl") for s in (TRAIN, HELDOUT) for n in _ROWS if version.has(f"{s}/{n}.jsonl")]
    parts = version.get_parts(entry.path for s in (TRAIN, HELDOUT) for entry in text_parts(version.manifest, s))
    for block in chain([documents], parts, (block for file in files for _, block in blocks(file))):
        for identifier in selector.identifiers:
            for first, last in lines_with(block, identifier):
                row = json.loads(block[first:last])
                if any(identifier.is_in(text) for text in _strings(row)):
                    found.add(_document_of(row))
    return found


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for member in value.values() if isinstance(value, dict) else value:
            yield from _strings(member)


def _document_of(row: Row) -> str:
    """Return the document that a text, a row, a question's case or a record belongs to."""
    return str(row.get("document") or row.get("cluster") or row["id"])


def _text(written: bytes) -> str:
    """Return what a string of JSON says."""
    return str(json.loads(written)) if b"\\" in written else written[1:-1].decode()


def _cut_texts(version: Rewrite, gone: Gone) -> None:
    for split in (TRAIN, HELDOUT):
        paths = [entry.path for entry in text_parts(version.manifest, split)]
        by_part: dict[str, set[bytes]] = defaultdict(set)
        for record in gone.of(split):
            by_part[part_of(paths, record["number"])].add(record["id"].encode())
        for path, wanted in by_part.items():
            data = version.get_bytes(path)
            spans: list[Span] = []
            first = 0
            while first < len(data):
                last = data.find(b"\n", first) + 1
                if data[first + _ID_START : first + _ID_START + _ID_DIGITS] in wanted:
                    text = json.loads(data[first:last])
                    gone.texts[text["id"]] = text["text"]
                    gone.bytes[split] += len(text["text"].encode())
                    spans.append((first, last))
                first = last
            if len(spans) != len(wanted):
                raise DataLoss(f"{path} has {len(spans)} of {len(wanted)} documents that {_DOCUMENTS} names")
            version.put_bytes(path, without(data, spans))


def _cut_rows(version: Rewrite, gone: Gone) -> None:
    ids = {record["id"] for record in gone.records}
    for split in (TRAIN, HELDOUT):
        for name in _ROWS:
            path, spans = f"{split}/{name}.jsonl", []
            for start, block in blocks(version.get(path)) if version.has(path) else []:
                for first, last in lines(block):
                    row = json.loads(block[first:last])
                    if _document_of(row) in ids:
                        spans.append((start + first, start + last))
                        if name == "rows":
                            gone.rows[_document_of(row)].append(row)
                            gone.bytes[split] += last - first
            version.cut(path, spans)


def _rewrite_rejections(version: Rewrite, gone: Gone, selector: Selector) -> Rejections:
    """Make the lines that tell of the documents nameless, add one per document, and return all."""
    ids, sources = {record["id"] for record in gone.records}, {record["source"] for record in gone.records}
    data = version.get_bytes(_REJECTIONS)
    raw, before = data.splitlines(keepends=True), Rejections.read(data)
    named = before.column("source")
    told = {
        at
        for at, (source, stands) in enumerate(zip(named, before.column("duplicate_of"), strict=True))
        if source in sources or stands in ids or selector.takes(source)
    }
    starts = np.cumsum([0, *map(len, raw)])
    for identifier in selector.identifiers:
        for at in (int(np.searchsorted(starts, start)) for start, _ in lines_with(data, identifier)):
            line = json.loads(raw[at])
            if selector.is_in(line["source"]) or selector.is_in(line["detail"]):
                told.add(at)
    sizes = {d: len(text.encode()) for d, text in gone.texts.items()}
    sizes |= {d: sum(len(canonical_json(row)) for row in rows) for d, rows in gone.rows.items()}
    nameless = [(line["reason"], line["size_bytes"]) for line in (json.loads(raw[at]) for at in sorted(told))]
    nameless += [(Reason.ERASED, sizes.get(record["id"], 0)) for record in gone.records]
    kept = [at for at in range(len(raw)) if at not in told]
    after = before.take(np.array(kept, np.int64))
    for reason, size_bytes in nameless:
        after.append(Rejection("", Reason(reason), "", size_bytes))
    num_first = sum(not named[at] for at in kept)  # what has no name is sorted before all else
    first = sorted([*(raw[at] for at in kept[:num_first]), *(_nameless(*each) for each in nameless)], key=_order)
    version.put_bytes(_REJECTIONS, b"".join([*first, *(raw[at] for at in kept[num_first:])]))
    return after


def _order(line: bytes) -> Rejection:
    fields = json.loads(line)
    return Rejection(**{**fields, "reason": Reason(fields["reason"])})


def _nameless(reason: str, size_bytes: int) -> bytes:
    fields: dict[str, JSON] = {"source": "", "reason": reason, "detail": "", "size_bytes": size_bytes}
    return canonical_json({**fields, "duplicate_of": ""})


def _splits(manifest: Manifest, gone: Gone) -> list[SplitCounts]:
    stated: Mapping[str, Mapping[str, int]] = manifest.facts["splits"]  # type: ignore[assignment] # written by `seal`
    found = []
    for split in sorted(stated, reverse=True):
        counts, records = stated[split], gone.of(split)
        rows = sum(len(gone.rows.get(record["id"], [])) for record in records) + gone.tokens.rows_dropped[split]
        found.append(
            SplitCounts(
                split=split,
                documents=counts["documents"] - len(records),
                rows=counts["rows"] - rows,
                tokens=counts["tokens"] - sum(gone.tokens.tokens(record["number"]) for record in records),
                bytes=counts["bytes"] - gone.bytes[split],
            )
        )
    return found


def _profile(gone: Gone, *, is_text: bool) -> dict[str, JSON]:
    """Return the profile of what goes; a text's measures are taken again."""
    if is_text:
        with tempfile.TemporaryDirectory() as folder:
            documents = _documents(gone, Path(folder) / "gone.arrow")
            return text_profile(documents, broken_rules(documents))
    by_split: dict[str, list[Row]] = {TRAIN: [], HELDOUT: []}
    for record in gone.records:
        by_split[record["split"]] += gone.rows.get(record["id"], [])
    return row_profile(by_split, Counter(), Counter())


def _documents(gone: Gone, path: Path) -> Documents:
    """Return the documents that go, measured again, with what their records say of them."""
    texts = [gone.texts[record["id"]].encode() for record in gone.records]
    items = (
        (number, ParsedDocument(record["source"], record["format"], text, record["characters"], 0))
        for number, (record, text) in enumerate(zip(gone.records, texts, strict=True))
    )
    write_table(path, (annotate(batch, operators_of(Recipe())) for batch in batches(items)))
    documents = Documents.of([path], [np.arange(len(texts))])
    for name in ("split", "tokens"):
        documents = documents.with_column(name, pa.array([record[name] for record in gone.records]))
    for name in TERMS:
        documents = documents.with_column(
            name, pa.array([record.get(name, "") for record in gone.records], pa.string())
        )
    return documents.with_column("overlaps", pa.array([json.dumps(record["overlaps"]) for record in gone.records]))
