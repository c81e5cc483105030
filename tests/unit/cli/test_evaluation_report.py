"""Reports of comparisons and decisions: well-formed, complete, and safe with whatever a model said."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from bessemer.api.eval.v1 import evaluation_pb2 as pb
from bessemer.cli.evaluation_report import (
    comparison_html,
    comparison_junit,
    decision_html,
    decision_junit,
    verdict_of,
)

SUITE = "projects/p/evaluationSuites/faq"
HOSTILE = "<script>alert(1)</script>\x00\x1b[31m ]]>"


def compared(difference, low, high, *, suite=SUITE, higher=True):
    return pb.SuiteComparison(
        suite=suite,
        baseline=0.5,
        candidate=0.5 + difference,
        difference=difference,
        interval=pb.Interval(low=low, high=high, confidence=0.95),
        num_pairs=200,
        num_clusters=200,
        num_better=10,
        num_worse=30,
        p_value=0.01,
        higher_is_better=higher,
        flips=[pb.CaseFlip(case_id="c1", prompt=HOSTILE, baseline_output="yes", candidate_output=HOSTILE)],
    )


def comparison():
    return pb.Comparison(
        baseline_run="projects/p/evaluationRuns/a",
        candidate_run="projects/p/evaluationRuns/b",
        suites=[
            compared(-0.1, -0.15, -0.05),
            compared(-0.1, -0.15, -0.05, higher=False),
            compared(0.01, -0.02, 0.04),
            compared(float("inf"), float("-inf"), float("inf")),
        ],
    )


def decision():
    def rule(verdict, *, blocking=True, **fields):
        return pb.RuleVerdict(
            rule=pb.GateRule(suite=SUITE, blocking=blocking, relation=pb.GATE_RELATION_NON_INFERIOR, margin=0.02),
            verdict=verdict,
            explanation=f"because {HOSTILE}",
            **fields,
        )

    evidence = {"comparison": compared(-0.1, -0.15, -0.05), "value": -0.1, "interval": pb.Interval(low=-0.15, high=0.0)}
    return pb.GateDecision(
        name="projects/p/gateDecisions/g",
        model_version="projects/p/models/m/versions/v1",
        verdict=pb.VERDICT_FAIL,
        gate_policy="projects/p/gatePolicies/release",
        level=0.05,
        rules=[
            rule(pb.VERDICT_PASS, **evidence),
            rule(pb.VERDICT_FAIL, **evidence),
            rule(pb.VERDICT_INVALID),
            rule(pb.VERDICT_INCONCLUSIVE, blocking=False, num_cases_needed=1240),
        ],
    )


def test_verdict_of_reads_the_interval_the_right_way_round():
    words = [verdict_of(one) for one in comparison().suites]
    assert words == ["WORSE", "BETTER", "NOT TOLD APART", "NOT TOLD APART"]


def test_comparison_junit_fails_what_got_worse():
    (suite,) = ET.fromstring(comparison_junit(comparison()))  # noqa: S314 - our own
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("4", "1", "0")
    assert [case.find("failure") is not None for case in suite] == [True, False, False, False]


def test_decision_junit_tells_failures_errors_and_advice_apart():
    (suite,) = ET.fromstring(decision_junit(decision()))  # noqa: S314 - our own
    kinds = [[child.tag for child in case if child.tag != "system-out"] for case in suite]
    assert kinds == [[], ["failure"], ["error"], ["skipped"]]
    assert "\ufffd" in suite[1].find("failure").get("message")


def test_pages_are_self_contained_and_escape_what_models_say():
    for page in (comparison_html(comparison()), decision_html(decision())):
        assert "<script" not in page
        assert "http" not in page.replace("http-equiv", "")
        assert "&lt;script&gt;" in page
        assert "<svg" in page
    assert "1,240" in decision_html(decision())
    assert comparison_html(comparison()) == comparison_html(comparison())
