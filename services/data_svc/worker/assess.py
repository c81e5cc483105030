"""The assessment task: what a text version is worth, for what, and what would change that."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from bessemer.api.data.v1 import assessment_pb2 as pb
from bessemer.api.data.v1.dataset_job_pb2 import DatasetJob, DatasetJobResult
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import Manifest, fetch, read_manifest
from bessemer.jobs.worker import Done, TaskContext

from data_svc.domain import advice
from data_svc.domain.reasons import KEPT
from data_svc.domain.source_verdicts import judge_source
from data_svc.worker.assessment_counts import Findings, broken_words, collect
from data_svc.worker.assessment_measures import measures_of
from data_svc.worker.assessment_page import page
from data_svc.worker.assessment_scan import scan
from data_svc.worker.tokens import Encoder
from data_svc.worker.topics import find_topics

__all__ = ["assess", "assess_version"]

_PASSES = (1, 2, 4, 8, 16)


def assess(context: TaskContext, job: DatasetJob, blobs: Blobs) -> Done:
    """Assess the job's version and write the report."""
    manifest = read_manifest(blobs, job.inputs.manifest)
    folder = context.workdir / "assessment"
    shutil.rmtree(folder, ignore_errors=True)

    def tick(stage: str, fraction: float) -> None:
        context.check()
        context.report(stage=stage, fraction=fraction)

    tick("fetching", 0.0)
    wanted = [e.path for e in manifest.files if e.path.endswith(".jsonl")]
    source = fetch(blobs, manifest, folder / "version", wanted)
    tokenizer = None
    if job.inputs.HasField("tokenizer"):
        tokenizer = blobs.get_file(job.inputs.tokenizer, folder / "tokenizer.json")
    result, html = assess_version(source, manifest, job.assess, tokenizer, tick=tick)
    result.report.CopyFrom(blobs.put_bytes(html.encode(), "text/html; charset=utf-8"))
    shutil.rmtree(folder)
    return Done(DatasetJobResult(assessment=result), [result.report])


def assess_version(
    folder: Path,
    manifest: Manifest,
    task: pb.AssessDatasetTask,
    tokenizer: Path | None = None,
    *,
    tick: Callable[[str, float], None] = lambda _stage, _fraction: None,
) -> tuple[pb.Assessment, str]:
    """Return the assessment of a text version whose files lie in `folder`, without its report, and the report."""
    scanned = scan(folder, lambda stage, fraction: tick(stage, 0.1 + 0.7 * fraction))
    findings = collect(folder, manifest, scanned)
    tick("finding topics", 0.8)
    findings.topics = find_topics(scanned.sample_texts)
    if tokenizer is not None:
        findings.broken, findings.broken_share = broken_words(scanned.sample_texts, Encoder(tokenizer))
    tick("writing the report", 0.9)
    context_length = task.context_length or int(findings.facts["sequence_length"])
    novelty = task.novelty_nats if task.HasField("novelty_nats") else None
    unique = findings.unique_tokens
    result = pb.Assessment(
        tokens=findings.tokens,
        unique_tokens=unique,
        unique_share=unique / max(findings.delivered_tokens, 1),
        repetition=[pb.Repetition(epochs=n, effective_tokens=advice.effective_tokens(unique, n)) for n in _PASSES],
        measures=measures_of(findings, context_length, novelty),
        sources=_sources(findings),
        advice=[_advice(found) for found in advice.advise(_evidence(findings, task))],
    )
    return result, page(task.dataset_version, result, findings, context_length)


def _evidence(findings: Findings, task: pb.AssessDatasetTask) -> advice.Evidence:
    return advice.Evidence(
        unique_tokens=findings.unique_tokens,
        base_parameters=task.base_parameters,
        target_parameters=task.target_parameters,
        novelty_nats=task.novelty_nats if task.HasField("novelty_nats") else None,
        pairs=sum(document.structure.pairs for document in findings.documents),
        derivable_pairs=findings.scan.derivable_pairs,
        preference_pairs=task.preference_pairs,
        pass_at_8=task.pass_at_8 if task.HasField("pass_at_8") else None,
    )


def _advice(found: advice.Advice) -> pb.Advice:
    return pb.Advice(
        method=f"ADVICE_METHOD_{found.method}",
        light=f"LIGHT_{found.light}",
        why=found.why,
        flip=found.flip,
        flip_value=found.flip_value,
        flip_unit=found.flip_unit,
    )


def _sources(findings: Findings) -> list[pb.SourceAssessment]:
    sources = []
    for name, counts in findings.sources.items():
        judged = judge_source(counts, findings.bytes_per_token)
        sources.append(
            pb.SourceAssessment(
                source=name,
                delivered_documents=sum(counts.fates.values()),
                kept_documents=counts.fates.get(KEPT, 0),
                tokens=counts.tokens,
                verdict=f"SOURCE_VERDICT_{judged.verdict}",
                reasons=judged.reasons,
                tokens_at_stake=judged.tokens_at_stake,
            )
        )
    return sources
