"""A dataset version in the making: its files, and the manifest that seals it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bessemer.api.data.v1.dataset_pb2 import CurationResult, ReasonCount, SplitCounts
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import JSON, FileEntry, Manifest, canonical_json, write_manifest
from bessemer.kernel.errors import FailedPrecondition

from data_svc.domain.reasons import EXPLANATIONS, KEPT
from data_svc.domain.recipes import Recipe
from data_svc.worker.rejections import Rejections

__all__ = ["MEDIA_TYPES", "Draft", "count_reasons", "nothing_kept"]

MEDIA_TYPES = {
    ".bin": "application/octet-stream",
    ".bounds": "application/octet-stream",
    ".jsonl": "application/jsonl",
    ".json": "application/json",
    ".html": "text/html; charset=utf-8",
}
_REASONS_NAMED = 3


@dataclass
class Draft:
    """The folder a version is written into, and the counts that go with it; of a dry run only the report is stored."""

    folder: Path
    dry_run: bool = False
    splits: dict[str, SplitCounts] = field(default_factory=dict)

    def write_lines(self, path: str, rows: Iterable[Mapping[str, JSON]]) -> None:
        """Write JSON Lines, one canonical object per line."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            for row in rows:
                file.write(canonical_json(row))

    def write_json(self, path: str, value: JSON) -> None:
        """Write one JSON file."""
        (self.folder / path).write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")

    def write_rejections(self, rejections: Rejections) -> None:
        """Write `rejections.jsonl`, in order of source."""
        self.write_lines("rejections.jsonl", (asdict(rejection) for rejection in rejections.ordered()))

    def seal(
        self, blobs: Blobs, recipe: Recipe, reasons: Sequence[ReasonCount], facts: Mapping[str, JSON]
    ) -> CurationResult:
        """Store all files, the manifest last, and return what the job hands back; a dry run has no manifest."""
        splits = [self.splits[name] for name in sorted(self.splits, reverse=True)]
        if self.dry_run:
            page = blobs.put_file(self.folder / "report.html", MEDIA_TYPES[".html"])
            return CurationResult(splits=splits, reasons=reasons, report=page)
        files = []
        report = None
        for file in sorted(path for path in self.folder.rglob("*") if path.is_file()):
            path = file.relative_to(self.folder).as_posix()
            ref = blobs.put_file(file, MEDIA_TYPES[file.suffix])
            files.append(FileEntry.of(path, ref))
            report = ref if path == "report.html" else report
        stated: dict[str, JSON] = {
            "kind": recipe.kind,
            "recipe": asdict(recipe),
            "reasons": {count.reason: count.documents for count in reasons},
            "splits": {
                split.split: {name: getattr(split, name) for name in ("documents", "rows", "tokens", "bytes")}
                for split in splits
            },
            **facts,
        }
        manifest = write_manifest(blobs, Manifest("dataset", tuple(files), stated))
        return CurationResult(
            manifest=manifest,
            splits=splits,
            reasons=reasons,
            tokenizer_sha256=str(facts.get("tokenizer_sha256", "")),
            report=report,
        )


def count_reasons(kept: int, kept_bytes: int, rejections: Rejections) -> list[ReasonCount]:
    """Return one count per fate: kept first, then the rejections by how many they are."""
    ordered = sorted(rejections.counts().items(), key=lambda item: (-item[1][0], item[0]))
    first = ReasonCount(reason=KEPT, documents=kept, bytes=kept_bytes)
    return [first, *(ReasonCount(reason=r, documents=n, bytes=size) for r, (n, size) in ordered)]


def nothing_kept(what: str, reasons: Sequence[ReasonCount]) -> FailedPrecondition:
    """Return the error that says why a version would be empty."""
    top = [count for count in reasons if count.reason != KEPT][:_REASONS_NAMED]
    because = "; ".join(f"{c.documents} {c.reason} ({EXPLANATIONS.get(c.reason, 'see the report')})" for c in top)
    message = f"no {what} could be kept: {because or 'nothing was delivered'}; add other files or relax the recipe"
    return FailedPrecondition(message, reason="DATASET_EMPTY", field="uploads")
