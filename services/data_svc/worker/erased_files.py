"""The files of a version without some documents: texts or rows, records, rejections, profile, report, manifest."""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from bessemer.api.data.v1.dataset_pb2 import CurationResult, SplitCounts
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import JSON, Manifest, canonical_json, write_manifest
from bessemer.artifacts.texts import part_of, text_parts
from bessemer.kernel.errors import DataLoss

from data_svc.domain.erasure import Identifier, Selector
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
from data_svc.worker.rewrite import Edit, Rewrite, Span, cut, lines
from data_svc.worker.sandbox import ParsedDocument
from data_svc.worker.text_search import lines_with
from data_svc.worker.version import Draft, count_reasons
from data_svc.worker.web_rules import broken_rules

__all__ = ["Gone", "subtract", "take_out"]

_DOCUMENTS, _REJECTIONS, _PROFILE, _REPORT = "documents.jsonl", "rejections.jsonl", "profile.json", "report.html"
_TITLES = {"TEXT": "Data profile", "CHAT": "Conversations", "PREFERENCE": "Preference pairs"}
_ROWS = ("rows", "questions")
_RECORD = re.compile(rb'"id":"([0-9a-f]{32})"')
_SOURCE = re.compile(rb'"source":("[^"\\]*(?:\\.[^"\\]*)*")')  # in a string of JSON every quote is behind a backslash
_FEW = 16  # strings that are looked for one by one in the time in which all records of a block are looked at
_ID = slice(len(b'{"id":"'), len(b'{"id":"') + 32)  # of a line of texts
Row = dict[str, Any]


@dataclass
class Gone:
    """What leaves a version; filled as it leaves."""

    records: list[Row]  # lines of documents.jsonl
    num_left: int
    texts: dict[str, str] = field(default_factory=dict)  # by id
    rows: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))  # by id of their document
    bytes: Counter[str] = field(default_factory=Counter)  # of text or of rows, by split
    tokens: ErasedTokens = field(default_factory=ErasedTokens)

    @classmethod
    def find(cls, version: Rewrite, selector: Selector) -> Gone:
        """Return the records of the documents that a selector takes; they leave the records of the version."""
        ids = frozenset(document.encode() for document in selector.documents | _holders(version, selector))
        records: list[Row] = []
        num_lines = 0

        def edits(_: int, block: bytes) -> list[Edit]:
            nonlocal num_lines
            num_lines += block.count(b"\n")
            spans = _records_taken(block, selector, ids)
            records.extend(json.loads(block[first:last]) for first, last in spans)
            return cut(spans)

        version.edit(_DOCUMENTS, edits)
        version.wait()
        return cls(records, num_lines - len(records))

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
    version.wait()
    if is_text and (missing := {record["id"] for record in gone.records} - gone.texts.keys()):
        raise DataLoss(f"the texts lack {len(missing)} documents that {_DOCUMENTS} names, {min(missing)} among them")
    gone.bytes = _bytes_of(gone)
    rejections = _rewrite_rejections(version, gone, selector)
    splits = _splits(version.manifest, gone)
    kept, kept_bytes = (sum(getattr(split, name) for split in splits) for name in ("documents", "bytes"))
    draft = Draft(version.folder)
    profile = subtract(json.loads(version.get_bytes(_PROFILE)), _profile(gone, is_text=is_text))
    draft.write_json(_PROFILE, profile)
    reasons = count_reasons(kept, kept_bytes, rejections)
    named = rejections.take(np.flatnonzero(rejections.named))
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


def _records_taken(block: bytes, selector: Selector, ids: frozenset[bytes]) -> list[Span]:
    """Return the lines of `documents.jsonl` in a block that a selector takes, or that have one of some ids."""
    if selector.sources:
        begun = [b'"source":"' + prefix.encode() for prefix in selector.prefixes]
        found = _SOURCE.finditer(block) if _may_hold(block, begun) else ()
        places = [each.start() for each in found if selector.takes(_text(each[1]))]
    else:
        places = [each.start() for each in _RECORD.finditer(block) if each[1] in ids] if _may_hold(block, ids) else []
    spans = {(block.rfind(b"\n", 0, at) + 1, block.find(b"\n", at) + 1 or len(block)) for at in places}
    for identifier in selector.identifiers:
        for first, last in lines_with(block, identifier):
            if _holds(json.loads(block[first:last]), identifier):
                spans.add((first, last))
    return sorted(spans)


def _may_hold(block: bytes, any_of: Collection[bytes]) -> bool:
    """Say whether it is worth while to look at each record of a block."""
    return len(any_of) > _FEW or any(each in block for each in any_of)


def _holders(version: Rewrite, selector: Selector) -> set[str]:
    """Return the ids of the documents that hold an identifier in their text or their rows."""
    if not selector.identifiers:
        return set()
    parts = [entry.path for split in (TRAIN, HELDOUT) for entry in text_parts(version.manifest, split)]
    rows = [path for split in (TRAIN, HELDOUT) for name in _ROWS if version.has(path := f"{split}/{name}.jsonl")]
    return set(version.search([*rows, *parts], partial(_held_in, selector=selector)))


def _held_in(block: bytes, selector: Selector) -> Iterator[str]:
    for identifier in selector.identifiers:
        for first, last in lines_with(block, identifier):
            if _holds(row := json.loads(block[first:last]), identifier):
                yield _document_of(row)


def _holds(row: Row, identifier: Identifier) -> bool:
    return any(identifier.is_in(text) for text in _strings(row))


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
            version.edit(path, partial(_cut_from_part, gone=gone, wanted=wanted))


def _cut_from_part(_: int, block: bytes, *, gone: Gone, wanted: Collection[bytes]) -> list[Edit]:
    spans = [(first, last) for first, last in lines(block) if block[first:last][_ID] in wanted]
    for first, last in spans:
        text = json.loads(block[first:last])
        gone.texts[text["id"]] = text["text"]
    return cut(spans)


def _cut_rows(version: Rewrite, gone: Gone) -> None:
    ids = {record["id"] for record in gone.records}
    for split in (TRAIN, HELDOUT):
        for name in _ROWS:
            if version.has(path := f"{split}/{name}.jsonl"):
                version.edit(path, partial(_cut_from_rows, gone=gone, ids=ids, keep=name == "rows"))


def _cut_from_rows(_: int, block: bytes, *, gone: Gone, ids: set[str], keep: bool) -> list[Edit]:
    spans = []
    for first, last in lines(block):
        row = json.loads(block[first:last])
        if _document_of(row) in ids:
            spans.append((first, last))
            if keep:
                gone.rows[_document_of(row)].append(row)
    return cut(spans)


def _bytes_of(gone: Gone) -> Counter[str]:
    """Return the bytes of the texts or rows that went, by split."""
    found: Counter[str] = Counter()
    for record in gone.records:
        rows = gone.rows.get(record["id"], [])
        found[record["split"]] += len(gone.texts.get(record["id"], "").encode()) + sum(
            map(len, map(canonical_json, rows))
        )
    return found


def _rewrite_rejections(version: Rewrite, gone: Gone, selector: Selector) -> Rejections:
    """Make the lines that tell of the documents nameless, add one per document, and return all."""
    data = version.get_bytes(_REJECTIONS)
    raw, before = data.splitlines(keepends=True), Rejections.read(data)
    told = set(np.flatnonzero(_tells(before, gone, selector)).tolist())
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
    num_first = len(kept) - (pc.sum(after.named).as_py() or 0)  # what has no name is sorted first
    first = sorted([*(raw[at] for at in kept[:num_first]), *(_nameless(*each) for each in nameless)], key=_order)
    version.put_bytes(_REJECTIONS, b"".join([*first, *(raw[at] for at in kept[num_first:])]))
    return after


def _tells(rejections: Rejections, gone: Gone, selector: Selector) -> npt.NDArray[np.bool_]:
    """Say which rejections tell of a document that goes, or of a source that is picked."""
    sources, stands = rejections.column("source"), rejections.column("duplicate_of")
    found = np.zeros(len(sources), np.bool_)
    for column, values in ((sources, {r["source"] for r in gone.records}), (stands, {r["id"] for r in gone.records})):
        found |= np.asarray(pc.is_in(column, pa.array(sorted(values), column.type)))
    for prefix in selector.prefixes:
        for at in np.flatnonzero(pc.starts_with(sources, prefix)).tolist():
            found[at] |= selector.takes(sources[at].as_py())
    return found


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
