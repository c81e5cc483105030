"""Comparisons and gate decisions as JUnit XML for build servers and as one HTML page for people."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

from bessemer.api.eval.v1 import evaluation_pb2 as pb
from bessemer.artifacts.report import Interval, Report
from bessemer.cli.output import short

__all__ = ["comparison_html", "comparison_junit", "decision_html", "decision_junit", "verdict_of"]

# What XML 1.0 cannot hold, section 2.2; a model may say anything.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_EXAMPLE_CHARACTERS = 400


@dataclass(frozen=True)
class _Row:
    """A line of a test report; `problem` is empty if it passed, `kind` is JUnit's word otherwise."""

    name: str
    text: str
    kind: str = ""
    problem: str = ""


def verdict_of(comparison: Any) -> str:
    """Say in one word what a comparison shows: BETTER, WORSE, or NOT TOLD APART if the interval holds zero."""
    low, high = comparison.interval.low, comparison.interval.high
    if low <= 0 <= high:
        return "NOT TOLD APART"
    return "BETTER" if (low > 0) == comparison.higher_is_better else "WORSE"


def comparison_junit(comparison: pb.Comparison) -> str:
    """Return a test suite with a test per suite; one that got worse failed."""
    rows = [
        _Row(
            short(one.suite),
            _difference(one),
            *(("failure", f"WORSE: {_difference(one)}") if verdict_of(one) == "WORSE" else ()),
        )
        for one in comparison.suites
    ]
    return _junit(f"{short(comparison.baseline_run)} against {short(comparison.candidate_run)}", rows)


def decision_junit(decision: pb.GateDecision) -> str:
    """Return a test suite with a test per rule; advisory rules that did not pass are skipped tests."""
    return _junit(short(decision.name), [_row(rule) for rule in decision.rules])


def comparison_html(comparison: pb.Comparison) -> str:
    """Return a self-contained page: scores, differences with intervals, what changed, examples."""
    report = Report("Comparison", f"{short(comparison.baseline_run)} against {short(comparison.candidate_run)}")
    _evidence(report, comparison.suites)
    return report.html()


def decision_html(decision: pb.GateDecision) -> str:
    """Return a self-contained page: the verdict, every rule with its interval, and the evidence."""
    report = Report(f"Gate: {_word(decision.verdict)}", f"{short(decision.model_version)}, {short(decision.name)}")
    policy = short(decision.gate_policy) if decision.gate_policy else "rules of the request"
    report.numbers({"verdict": _word(decision.verdict), "decided by": policy, "level": decision.level or None})
    report.heading("Rules")
    rows = [
        (_rule_name(r), "blocking" if r.rule.blocking else "advisory", _word(r.verdict), r.num_cases_needed or None)
        for r in decision.rules
    ]
    report.table(("rule", "tier", "verdict", "cases needed"), rows)
    gains = [
        r
        for r in decision.rules
        if r.HasField("interval")
        and r.rule.relation != pb.GATE_RELATION_FLOOR
        and math.isfinite(r.interval.low + r.interval.high)
    ]
    if gains:
        intervals = [Interval(_rule_name(r), r.interval.low, r.value, r.interval.high) for r in gains]
        report.intervals("Gain over the baseline; better is to the right", intervals, reference=0.0)
    for rule in decision.rules:
        without = f" Without cases in training data: {_word(rule.clean_verdict)}." if rule.clean_verdict else ""
        report.paragraph(f"{_rule_name(rule)}: {rule.explanation}{without}")
    compared = {rule.comparison.suite: rule.comparison for rule in decision.rules if rule.HasField("comparison")}
    if compared:
        _evidence(report, compared.values())
    return report.html()


def _evidence(report: Report, comparisons: Iterable[Any]) -> None:
    found = list(comparisons)
    report.heading("Scores")
    report.table(
        ("suite", "baseline", "candidate", "difference, 95 % interval", "p", "pairs", "groups", "verdict"),
        [
            (
                short(one.suite),
                one.baseline,
                one.candidate,
                _difference(one),
                one.p_value,
                one.num_pairs,
                one.num_clusters,
                verdict_of(one),
            )
            for one in found
        ],
    )
    intervals = []
    for one in found:
        bounds = (one.interval.low, one.difference, one.interval.high)
        if not one.higher_is_better:
            bounds = (-one.interval.high, -one.difference, -one.interval.low)
        if all(map(math.isfinite, bounds)):  # one group of cases says nothing about the spread
            intervals.append(Interval(short(one.suite), *bounds))
    report.intervals("Gain with its 95 % interval; better is to the right", intervals, reference=0.0)
    if any(one.HasField("clean") for one in found):
        report.heading("Without cases that stand in training data")
        report.table(
            ("suite", "cases left out", "difference, 95 % interval", "p", "verdict"),
            [
                (short(one.suite), one.num_pairs - one.clean.num_pairs, _difference(one.clean), one.clean.p_value,
                 verdict_of(one.clean))
                for one in found
                if one.HasField("clean")
            ],
        )  # fmt: skip
    for one in found:
        report.heading(f"What changed in {short(one.suite)}")
        same = one.num_pairs - one.num_better - one.num_worse
        report.bars("Cases", {"better": one.num_better, "worse": one.num_worse, "the same": same}, emphasis="worse")
        for flip in one.flips:
            change = f"{flip.baseline_score:.4g} to {flip.candidate_score:.4g}"
            report.heading(f"{flip.case_id}: {change}", level=3)
            lines = {
                "asked": flip.prompt,
                "right": flip.target,
                "baseline": flip.baseline_output,
                "candidate": flip.candidate_output,
            }
            report.quote("\n".join(f"{key}: {text[:_EXAMPLE_CHARACTERS]}" for key, text in lines.items() if text))


def _difference(one: Any) -> str:
    form = "{:+.3f}" if one.higher_is_better else "{:+.2%}"
    difference, low, high = (form.format(v) for v in (one.difference, one.interval.low, one.interval.high))
    return f"{difference} ({low} to {high})"


def _row(rule: Any) -> _Row:
    word = _word(rule.verdict)
    if rule.verdict == pb.VERDICT_PASS:
        return _Row(_rule_name(rule), rule.explanation)
    missing = rule.verdict in {pb.VERDICT_MISSING, pb.VERDICT_INVALID}
    kind = ("error" if missing else "failure") if rule.rule.blocking else "skipped"
    return _Row(_rule_name(rule), rule.explanation, kind, f"{word}: {rule.explanation}")


def _rule_name(rule: Any) -> str:
    relation = pb.GateRelation.Name(rule.rule.relation).removeprefix("GATE_RELATION_").lower().replace("_", "-")
    words = [short(rule.rule.suite), f"in {rule.rule.slice}" if rule.rule.slice else ""]
    words.append("forgetting" if rule.rule.forgetting_budget else relation.replace("unspecified", "difference"))
    return " ".join(word for word in words if word)


def _word(verdict: int) -> str:
    return pb.Verdict.Name(verdict).removeprefix("VERDICT_")


def _junit(name: str, rows: list[_Row]) -> str:
    """Return JUnit XML as build servers read it: testsuites, testsuite, testcase."""
    counts = {f"{kind}s": str(sum(row.kind == kind for row in rows)) for kind in ("failure", "error")}
    counts["skipped"] = str(sum(row.kind == "skipped" for row in rows))
    root = ET.Element("testsuites")
    suite = ET.SubElement(root, "testsuite", {"name": _clean(name), "tests": str(len(rows))} | counts)
    for row in rows:
        case = ET.SubElement(suite, "testcase", classname=_clean(name), name=_clean(row.name))
        if row.kind:
            ET.SubElement(case, row.kind, message=_clean(row.problem))
        ET.SubElement(case, "system-out").text = _clean(row.text)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
