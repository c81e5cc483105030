"""The demo's report: one HTML file that an owner, an engineer and an auditor can read."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bessemer.api.eval.v1 import evaluation_pb2
from bessemer.artifacts.report import Interval, Report, Series
from bessemer.cli.output import short, time_text

__all__ = ["Facts", "write_report"]

METHODS = ("continued pre-training", "fine-tuning", "preferences")


@dataclass(kw_only=True)
class Facts:
    """What the stages of the demo found out."""

    minutes: float
    source: str
    versions: tuple[Any, Any, Any]
    profile: Any
    base: Any
    jobs: tuple[Any, Any, Any]
    metrics: Sequence[Any]
    baseline: Any
    candidate: Any
    decision: Any
    answers: list[tuple[str, str, str, str]] = field(default_factory=list)
    lineage: Any = None
    stages: list[tuple[str, float]] = field(default_factory=list)


def write_report(path: Path, facts: Facts) -> Path:
    """Write the report and return its path."""
    verdict = evaluation_pb2.Verdict.Name(facts.decision.verdict).removeprefix("VERDICT_")
    model = short(facts.jobs[-1].model_version)
    report = Report(f"{model}: {verdict}", f"From {facts.source} and {short(facts.base.name)} to a model that is yours")
    _summary(report, facts, verdict)
    _data(report, facts)
    _training(report, facts)
    _evaluation(report, facts)
    _answers(report, facts)
    _lineage(report, facts)
    _cost(report, facts)
    partial = path.with_suffix(".part")
    partial.write_text(report.html(), encoding="utf-8")
    return partial.replace(path)


def _summary(report: Report, facts: Facts, verdict: str) -> None:
    comparisons = {_suite(rule.rule.suite): rule.comparison for rule in facts.decision.rules}
    questions = comparisons["questions"]
    report.numbers(
        {
            "gate": verdict,
            "perplexity on held-out documents": f"{comparisons['text'].difference:+.1%}",
            "questions answered right": f"{questions.baseline:.0%} → {questions.candidate:.0%}",
            "perplexity on general text": f"{comparisons['general'].difference:+.1%}",
            "tokens trained on": sum(job.usage.tokens for job in facts.jobs),
        }
    )
    for rule in facts.decision.rules:
        report.paragraph(rule.explanation)


def _data(report: Report, facts: Facts) -> None:
    report.heading("The data")
    text = facts.versions[0]
    report.bars("What became of the documents", {r.reason: r.documents for r in text.reasons}, emphasis="kept")
    rows = [
        (short(version.name), split.split, split.documents, split.rows, split.tokens, version.manifest.sha256[:16])
        for version in facts.versions
        for split in version.splits
    ]
    report.table(("version", "split", "documents", "rows", "tokens", "digest"), rows)
    for histogram in facts.profile.histograms:
        report.histogram(histogram.measure.replace("_", " "), list(histogram.edges), list(histogram.counts))
    categories: dict[str, dict[str, float]] = {}
    for key, count in sorted(facts.profile.categories.items(), key=lambda item: -item[1]):
        measure, _, value = key.partition("/")
        categories.setdefault(measure, {})[value] = count
    for measure, counts in sorted(categories.items()):
        report.bars(f"documents by {measure}", dict(list(counts.items())[:12]))


def _training(report: Report, facts: Facts) -> None:
    report.heading("The training")
    for method, job, metrics in zip(METHODS, facts.jobs, facts.metrics, strict=True):
        report.heading(f"{method}: {short(job.base_model_version)} → {short(job.model_version)}", level=3)
        curves: dict[str, list[tuple[float, float]]] = {}
        for point in metrics.points:
            curves.setdefault(point.key, []).append((point.step, point.value))
        report.lines(
            "loss by step",
            [Series(key, points) for key, points in curves.items() if key.endswith("loss")],
            x_label="step",
            y_label="nats",
        )
        if method == METHODS[-1]:
            wanted = [Series(key, points) for key, points in curves.items() if key.startswith("dpo/")]
            report.lines("preference margin and accuracy by step", wanted, x_label="step")


def _evaluation(report: Report, facts: Facts) -> None:
    report.heading("The evaluation")
    report.paragraph(
        "Base and trained model saw the same held-out cases; differences are paired by case, with 95 % intervals. "
        "Better is to the right."
    )
    intervals = []
    for rule in facts.decision.rules:
        comparison, sign = rule.comparison, 1.0 if rule.comparison.higher_is_better else -1.0
        low, high = sorted((sign * comparison.interval.low, sign * comparison.interval.high))
        intervals.append(Interval(_suite(rule.rule.suite), low, sign * comparison.difference, high))
    report.intervals("improvement over the base model", intervals, reference=0.0)
    report.table(
        ("suite", "base", "trained", "difference", "interval", "needed", "verdict", "cases"),
        [
            (
                _suite(rule.rule.suite),
                rule.comparison.baseline,
                rule.comparison.candidate,
                f"{rule.comparison.difference:+.3f}",
                f"{rule.comparison.interval.low:+.3f} to {rule.comparison.interval.high:+.3f}",
                f"{rule.rule.min_difference:+.2f}",
                evaluation_pb2.Verdict.Name(rule.verdict).removeprefix("VERDICT_"),
                rule.comparison.num_pairs,
            )
            for rule in facts.decision.rules
        ],
    )


def _answers(report: Report, facts: Facts) -> None:
    report.heading("The answers, side by side")
    if not facts.answers:
        report.paragraph("The model was not deployed, because the gate did not pass.")
    for question, right, base, trained in facts.answers:
        report.quote(question)
        report.table(("right", "base model", "your model"), [(right, base, trained)])


def _lineage(report: Report, facts: Facts) -> None:
    report.heading("Where it came from")
    report.paragraph("Every step names what it used by digest; the graph is rebuilt from the events of all services.")
    edges = facts.lineage.edges if facts.lineage else []
    report.table(
        ("made", "how", "from"), [(short(e.target), e.relation.replace("_", " "), short(e.source)) for e in edges]
    )
    digests = [(short(node.name), node.kind, node.sha256) for node in facts.lineage.nodes if node.sha256]
    report.table(("resource", "kind", "SHA-256"), digests)


def _cost(report: Report, facts: Facts) -> None:
    report.heading("What it cost")
    rows = [
        (method, job.usage.steps, job.usage.tokens, round(job.usage.seconds, 1), f"{job.usage.flops:.3g}")
        for method, job in zip(METHODS, facts.jobs, strict=True)
    ]
    report.table(("training", "steps", "tokens", "seconds", "FLOPs"), rows)
    ends = [*facts.stages[1:], facts.stages[-1]]
    stages = [(title, time_text(end - begin)) for (title, begin), (_, end) in zip(facts.stages, ends, strict=True)][:-1]
    report.table(("stage", "time in this run"), stages)
    report.paragraph(
        f"Machine: {platform.machine()}, {platform.system()} {platform.release()}, Python {platform.python_version()}."
    )


def _suite(name: str) -> str:
    """Return the kind of a demo suite, `text` for `.../demo-text-0a1b2c3d`."""
    return name.rsplit("/", 1)[-1].split("-")[1]
