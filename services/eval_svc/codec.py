"""Between messages of the contract and records of the domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bessemer.api.eval.v1 import evaluation_pb2 as pb
from bessemer.kernel.errors import InvalidRequest

from eval_svc.config import CONFIDENCE, RULES_MAX
from eval_svc.domain.cases import Grader
from eval_svc.domain.compare import Pair, Paired
from eval_svc.domain.effect import Relation, Rule
from eval_svc.domain.gate import Outcome, Verdict
from eval_svc.domain.judge import Anchors

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
    Verdict.INVALID: pb.VERDICT_INVALID,
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
    seen: set[tuple[str, str, int]] = set()
    for index, rule in enumerate(given):
        _check_rule(rule, f"rules[{index}]")
        key = (rule.suite, rule.slice, rule.relation)
        if key in seen:
            raise InvalidRequest(
                f"rules[{index}].suite has a rule already; give each suite, slice and relation one: {rule.suite}",
                field=f"rules[{index}].suite",
            )
        seen.add(key)
    if not any(rule.blocking for rule in given):
        raise InvalidRequest("rules must have a blocking one; without, every model passes", field="rules")
    return [_rule(rule) for rule in given]


def _check_rule(rule: pb.GateRule, path: str) -> None:
    """Raise InvalidRequest if a rule makes no sense."""
    bounds = {
        pb.GATE_RELATION_UNSPECIFIED: ("min_difference", -1 <= rule.min_difference < 1, "at least -1 and below 1"),
        pb.GATE_RELATION_NON_INFERIOR: ("margin", 0 < rule.margin <= 1, "above 0 and at most 1"),
        pb.GATE_RELATION_SUPERIOR: ("margin", 0 <= rule.margin < 1, "at least 0 and below 1"),
        pb.GATE_RELATION_FLOOR: ("floor", rule.floor > 0, "above 0"),
    }
    field, fits, wanted = bounds[rule.relation]
    if not fits:
        raise InvalidRequest(
            f"{path}.{field} must be {wanted}, where 0.03 stands for 3 %; got {getattr(rule, field)}",
            field=f"{path}.{field}",
        )
    if rule.relative and (rule.relation == pb.GATE_RELATION_FLOOR or rule.HasField("judge_anchors")):
        raise InvalidRequest(f"{path}.relative goes with neither a floor nor judge anchors", field=f"{path}.relative")
    anchors = rule.judge_anchors
    if anchors.num_right_agreed > anchors.num_right or anchors.num_wrong_agreed > anchors.num_wrong:
        raise InvalidRequest(
            f"{path}.judge_anchors: the judge cannot agree on more answers than people judged",
            field=f"{path}.judge_anchors",
        )


def _rule(rule: pb.GateRule) -> Rule:
    relation, limit = {
        pb.GATE_RELATION_UNSPECIFIED: (Relation.DIFFERENCE, rule.min_difference),
        pb.GATE_RELATION_NON_INFERIOR: (Relation.NON_INFERIOR, -rule.margin),
        pb.GATE_RELATION_SUPERIOR: (Relation.SUPERIOR, rule.margin),
        pb.GATE_RELATION_FLOOR: (Relation.FLOOR, rule.floor),
    }[rule.relation]
    anchors = rule.judge_anchors
    return Rule(
        suite=rule.suite,
        limit=limit,
        blocking=rule.blocking,
        relation=relation,
        relative=rule.relative,
        slice=rule.slice,
        anchors=Anchors(
            num_right=anchors.num_right,
            num_right_agreed=anchors.num_right_agreed,
            num_wrong=anchors.num_wrong,
            num_wrong_agreed=anchors.num_wrong_agreed,
        )
        if rule.HasField("judge_anchors")
        else None,
    )


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


def rule_verdict(rule: pb.GateRule, outcome: Outcome, evidence: pb.SuiteComparison | None) -> pb.RuleVerdict:
    """Return the message of a rule's outcome."""
    verdict = pb.RuleVerdict(
        rule=rule,
        verdict=VERDICTS[outcome.verdict],
        comparison=evidence,
        num_cases_needed=outcome.num_cases_needed,
        explanation=outcome.explanation,
        p_value=outcome.p_value,
    )
    effect = outcome.effect
    if effect is not None:
        verdict.value = effect.value
        verdict.interval.low, verdict.interval.high = effect.low, effect.high
        verdict.interval.confidence = effect.confidence
    return verdict
