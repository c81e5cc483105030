"""Between messages of the contract and records of the domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bessemer.api.eval.v1 import evaluation_pb2 as pb
from bessemer.kernel.errors import InvalidRequest

from eval_svc.config import CONFIDENCE, RULES_MAX
from eval_svc.domain.cases import Grader
from eval_svc.domain.compare import Pair, Paired
from eval_svc.domain.gate import Outcome, Rule, Verdict

__all__ = ["KINDS", "VERDICTS", "comparison", "flip", "grader", "rule_verdict", "rules", "stated_grader"]


KINDS: Mapping[Grader, pb.GraderKind] = {
    Grader.PERPLEXITY: pb.GRADER_KIND_PERPLEXITY,
    Grader.CHOICE: pb.GRADER_KIND_CHOICE,
    Grader.EXACT: pb.GRADER_KIND_EXACT,
    Grader.REGEX: pb.GRADER_KIND_REGEX,
    Grader.NUMERIC: pb.GRADER_KIND_NUMERIC,
    Grader.JSON_SCHEMA: pb.GRADER_KIND_JSON_SCHEMA,
    Grader.TEXT_SIMILARITY: pb.GRADER_KIND_TEXT_SIMILARITY,
    Grader.PYTHON: pb.GRADER_KIND_PYTHON,
    Grader.JUDGE: pb.GRADER_KIND_JUDGE,
    Grader.FORMULA: pb.GRADER_KIND_FORMULA,
}
VERDICTS: Mapping[Verdict, pb.Verdict] = {
    Verdict.PASS: pb.VERDICT_PASS,
    Verdict.FAIL: pb.VERDICT_FAIL,
    Verdict.INCONCLUSIVE: pb.VERDICT_INCONCLUSIVE,
    Verdict.MISSING: pb.VERDICT_MISSING,
}


def grader(kind: pb.GraderKind) -> Grader:
    """Return the grader of a kind that is stated."""
    return next(grader for grader, known in KINDS.items() if known == kind)


def stated_grader(kind: int) -> Grader | None:
    """Return the grader of a kind; None if it is not stated."""
    return next((grader for grader, known in KINDS.items() if known == kind), None)


def rules(given: Sequence[pb.GateRule]) -> list[Rule]:
    """Return the rules of a gate.

    Raises: InvalidRequest if one can never pass, two are about one suite, or none blocks.
    """
    if not 1 <= len(given) <= RULES_MAX:
        raise InvalidRequest(f"rules must be 1 to {RULES_MAX}; got {len(given)}", field="rules")
    seen: set[str] = set()
    for index, rule in enumerate(given):
        if not -1 <= rule.min_difference < 1:
            raise InvalidRequest(
                f"rules[{index}].min_difference must be at least -1 and below 1, where 0.03 stands for 3 %; "
                f"got {rule.min_difference}",
                field=f"rules[{index}].min_difference",
            )
        if rule.suite in seen:
            raise InvalidRequest(
                f"rules[{index}].suite has a rule already; give each suite one: {rule.suite}",
                field=f"rules[{index}].suite",
            )
        seen.add(rule.suite)
    if not any(rule.blocking for rule in given):
        raise InvalidRequest("rules must have a blocking one; without, every model passes", field="rules")
    return [Rule(suite=r.suite, min_difference=r.min_difference, blocking=r.blocking) for r in given]


def comparison(suite: str, paired: Paired, flips: Sequence[Pair]) -> pb.SuiteComparison:
    """Return the message of a comparison."""
    return pb.SuiteComparison(
        suite=suite,
        baseline=paired.baseline,
        candidate=paired.candidate,
        difference=paired.difference,
        interval=pb.Interval(low=paired.low, high=paired.high, confidence=CONFIDENCE),
        num_pairs=paired.num_pairs,
        p_value=paired.p_value,
        num_better=paired.num_better,
        num_worse=paired.num_worse,
        flips=[flip(pair) for pair in flips],
        higher_is_better=paired.higher_is_better,
        num_clusters=paired.num_clusters,
    )


def flip(pair: Pair) -> pb.CaseFlip:
    """Return the message of a case that changed."""
    return pb.CaseFlip(
        case_id=pair.baseline.id,
        prompt=pair.baseline.prompt_preview,
        target=pair.baseline.target,
        baseline_output=pair.baseline.output,
        candidate_output=pair.candidate.output,
        baseline_score=pair.baseline.score or 0.0,
        candidate_score=pair.candidate.score or 0.0,
    )


def rule_verdict(outcome: Outcome, evidence: pb.SuiteComparison | None) -> pb.RuleVerdict:
    """Return the message of a rule's outcome."""
    rule = outcome.rule
    return pb.RuleVerdict(
        rule=pb.GateRule(suite=rule.suite, min_difference=rule.min_difference, blocking=rule.blocking),
        verdict=VERDICTS[outcome.verdict],
        comparison=evidence,
        num_cases_needed=outcome.num_cases_needed,
        explanation=outcome.explanation,
    )
