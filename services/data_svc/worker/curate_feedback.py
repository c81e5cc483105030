"""The dataset job that makes a version of what users said: reads the pinned snapshot, curates, seals."""

from __future__ import annotations

import hashlib
import shutil
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from bessemer.api.data.v1.dataset_job_pb2 import DatasetJob, DatasetJobResult
from bessemer.api.data.v1.dataset_pb2 import CurationResult, SplitCounts
from bessemer.api.data.v1.feedback_curation_pb2 import FeedbackCuration
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.contamination import read_contamination_set
from bessemer.artifacts.manifest import JSON, canonical_json
from bessemer.artifacts.report import Report
from bessemer.jobs.worker import Done, TaskContext

from data_svc.domain.feedback.curation import Curated, curate, enough, row_of
from data_svc.domain.feedback.records import Said, Settings, read_said
from data_svc.domain.feedback.task import settings_of
from data_svc.domain.personal_data import expand
from data_svc.domain.reasons import Rejection
from data_svc.domain.recipes import Recipe
from data_svc.domain.splitting import HELDOUT, TRAIN, share
from data_svc.worker.conversations import row_profile
from data_svc.worker.decontamination import ContaminationIndex, contaminated
from data_svc.worker.personal_data import cleaned
from data_svc.worker.profile import page
from data_svc.worker.rejections import Rejections
from data_svc.worker.version import Draft, count_reasons

__all__ = ["curate_feedback", "make_feedback_version"]

SCRUB_VERSION = 1
_TITLES = {"ACCEPTED": "Accepted answers", "THUMBS": "Rated answers", "EDITS": "Edited answers"}


def curate_feedback(context: TaskContext, job: DatasetJob, blobs: Blobs) -> Done:
    """Make the version; started over after a crash it makes the same one.

    The snapshot holds what people said before it was scrubbed, so it goes once the result is safe with the service.
    """
    saved = context.saved_state
    result = DatasetJobResult.FromString(saved) if saved else _make(context, job, blobs)
    context.report(stage="forgetting the snapshot", fraction=0.9, saved_state=result.SerializeToString())
    context.objects.delete(job.inputs.feedback.key)
    return Done(result, [result.sealed.manifest, result.sealed.report])


def _make(context: TaskContext, job: DatasetJob, blobs: Blobs) -> DatasetJobResult:
    folder = context.workdir / "feedback"
    shutil.rmtree(folder, ignore_errors=True)
    context.report(stage="fetching", fraction=0.1)
    snapshot = blobs.get_file(job.inputs.feedback, folder / "feedback.jsonl")
    hashes = {found.suite: blobs.get_bytes(found.hashes) for found in job.inputs.contamination_sets}
    index = ContaminationIndex({suite: read_contamination_set(data) for suite, data in hashes.items()})
    context.report(stage="curating", fraction=0.3)
    context.check()
    with snapshot.open("rb") as lines:
        said = [read_said(line) for line in lines]
    kinds, settings = expand(job.curate_feedback.redact), settings_of(job.curate_feedback)
    sealed, found = make_feedback_version(said, settings, kinds, index, blobs, folder=folder / "version")
    shutil.rmtree(folder)
    return DatasetJobResult(sealed=sealed, feedback=found)


def make_feedback_version(
    said: Sequence[Said],
    settings: Settings,
    kinds: Sequence[str],
    index: ContaminationIndex,
    blobs: Blobs,
    *,
    folder: Path,
) -> tuple[CurationResult, FeedbackCuration]:
    """Return the sealed version of records, and what was found; `kinds` of personal data are replaced.

    Raises: FailedPrecondition DATASET_EMPTY, with how many are missing, if too little counts.
    """
    held: Counter[str] = Counter()
    scrub = partial(_scrub, kinds=kinds, held=held)
    curated = curate(said, settings, scrub, scrub_version=SCRUB_VERSION)
    if error := enough(curated, settings):
        raise error
    draft = Draft(folder)
    folder.mkdir(parents=True)
    rejections, overlaps = Rejections(), Counter[str]()
    for one, reason, detail in curated.dropped:
        rejections.append(Rejection(one.name, reason, detail, len(one.answer.encode())))
    rows = list(_rows(curated, settings, index, rejections, overlaps))
    written = {split: [row for row in rows if row["split"] == split] for split in (TRAIN, HELDOUT)}
    reasons = count_reasons(len(rows), sum(len(canonical_json(row)) for row in rows), rejections)
    recipe = Recipe(
        kind="CHAT" if settings.form == "ACCEPTED" else "PREFERENCE",
        heldout_fraction=settings.heldout_fraction,
        seed=settings.seed,
        redact=tuple(kinds),
    )
    for split, part in written.items():
        _write_split(draft, split, part, settings.seed)
    draft.write_lines("documents.jsonl", (_record(number, row) for number, row in enumerate(rows)))
    draft.write_rejections(rejections)
    profile = row_profile(written, held, overlaps)
    draft.write_json("profile.json", profile)
    found = _found(curated, reasons)
    splits, show = list(draft.splits.values()), partial(_show, found=found)
    (folder / "report.html").write_text(
        page(_TITLES[settings.form], reasons, splits, profile=profile, rejections=rejections, show=show)
    )
    facts: dict[str, JSON] = {"sequence_length": 0, "token_bytes": 0, "tokenizer_sha256": ""}
    facts["feedback"] = _facts(settings, curated)
    return draft.seal(blobs, recipe, reasons, facts), found


def _scrub(text: str, kinds: Sequence[str], held: Counter[str]) -> str:
    return cleaned(text.encode(), kinds, held).decode()


def _rows(
    curated: Curated, settings: Settings, index: ContaminationIndex, rejections: Rejections, overlaps: Counter[str]
) -> Iterator[dict[str, Any]]:
    """Yield rows with their id and split; training rows that hold cases of evaluation suites are rejected."""
    verdicts = contaminated([(one.name, _spoken(one)) for one in curated.kept], index, overlaps)
    for one, rejection in zip(curated.kept, verdicts, strict=True):
        if rejection and one.split == TRAIN:
            rejections.append(rejection)
            continue
        row = row_of(one, settings.form)
        yield {**row, "id": hashlib.sha256(canonical_json(row)).hexdigest()[:32], "split": one.split}


def _spoken(one: Said) -> bytes:
    turns = [message["content"] for message in one.messages if message["role"] != "system"]
    return unicodedata.normalize("NFC", "\n".join([*turns, one.answer, one.edited])).encode()


def _write_split(draft: Draft, split: str, rows: Sequence[Mapping[str, Any]], seed: int) -> None:
    ordered = sorted(rows, key=lambda row: share(seed, "order", row["id"]))
    content = [{name: value for name, value in row.items() if name != "split"} for row in ordered]
    draft.write_lines(f"{split}/rows.jsonl", content)
    size = sum(len(canonical_json(row)) for row in content)
    draft.splits[split] = SplitCounts(split=split, documents=len(rows), rows=len(rows), bytes=size)


def _record(number: int, row: Mapping[str, Any]) -> dict[str, JSON]:
    origin: dict[str, JSON] = {name: row[name] for name in ("id", "source", "split", "model_version")}
    return {"number": number, "sha256": "", **origin}


def _found(curated: Curated, reasons: Sequence[Any]) -> FeedbackCuration:
    rated = curated.found.get("ratings", [])
    ups = sum(1 for one in curated.kept if one.rating > 0)
    return FeedbackCuration(
        reasons=reasons,
        operators=curated.operators,
        num_users=curated.num_users,
        num_up=ups,
        num_down=sum(1 for one in curated.kept if one.rating < 0),
        label_noise=curated.found.get("label_noise", 0.0),
        num_double_rated=curated.found.get("num_double_rated", 0),
        groups=curated.found["groups"],
        ratings=rated,
    )


def _facts(settings: Settings, curated: Curated) -> dict[str, JSON]:
    """Return what the manifest holds: settings and operators, which with the snapshot make the same version."""
    stated = {
        name: sorted(value) if isinstance(value, frozenset) else value for name, value in asdict(settings).items()
    }
    return {**stated, "operators": list(curated.operators)}


def _show(report: Report, found: FeedbackCuration) -> None:
    report.heading("Who was believed")
    report.numbers({"people": found.num_users, "ratings up": found.num_up, "ratings down": found.num_down})
    if found.num_double_rated:
        pairs = found.num_double_rated
        noise = f"{found.label_noise:.0%} of ratings are wrong, by {pairs} pairs of ratings of one answer"
        report.table(["measure", "value"], [("label noise", noise)])
    if found.groups:
        report.table(
            ["left out as", "people", "ratings", "because"],
            [(group.reason, group.num_users, group.num_ratings, group.evidence) for group in found.groups],
        )
    report.heading("How versions were rated")
    report.table(
        ["model version", "ratings", "up"],
        [(each.model_version, each.num_rated, f"{each.num_up / each.num_rated:.1%}") for each in found.ratings],
    )
