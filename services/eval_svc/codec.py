"""Between messages of the contract and records of the domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bessemer.api.eval.v1 import drift_pb2
from bessemer.api.eval.v1 import evaluation_pb2 as pb
from bessemer.kernel.errors import InvalidRequest

from eval_svc.config import (
    CONFIDENCE,
    DRIFT_FALSE_ALARMS_DEFAULT,
    DRIFT_REFERENCE_DEFAULT,
    DRIFT_REFERENCE_MIN,
    RULES_MAX,
)
from eval_svc.domain.cases import Grader
from eval_svc.domain.compare import Pair, Paired
from eval_svc.domain.drift.alarms import Alarm, Cause, explain
from eval_svc.domain.drift.features import Feature, Kind, Role, Row, Strata
from eval_svc.domain.drift.monitor import Monitor, Plan
from eval_svc.domain.effect import Relation, Rule
from eval_svc.domain.gate import Outcome, Verdict
from eval_svc.domain.judge import Anchors

__all__ = [
    "KINDS",
    "VERDICTS",
    "comparison",
    "drift_alarm",
    "drift_monitor",
    "drift_plan",
    "drift_row",
    "flip",
    "grader",
    "rule_verdict",
    "rules",
    "stated_grader",
    "with_levels",
]


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
    Grader.RECORDED: pb.GRADER_KIND_RECORDED,
}
VERDICTS: Mapping[Verdict, pb.Verdict] = {
    Verdict.PASS: pb.VERDICT_PASS,
    Verdict.FAIL: pb.VERDICT_FAIL,
    Verdict.INCONCLUSIVE: pb.VERDICT_INCONCLUSIVE,
    Verdict.MISSING: pb.VERDICT_MISSING,
    Verdict.INVALID: pb.VERDICT_INVALID,
}
FEATURE_KINDS: Mapping[drift_pb2.DriftFeatureKind, Kind] = {
    drift_pb2.DRIFT_FEATURE_KIND_NUMBER: Kind.NUMBER,
    drift_pb2.DRIFT_FEATURE_KIND_BINARY: Kind.BINARY,
    drift_pb2.DRIFT_FEATURE_KIND_CATEGORY: Kind.CATEGORY,
    drift_pb2.DRIFT_FEATURE_KIND_TEXT: Kind.TEXT,
}
ROLES: Mapping[drift_pb2.DriftRole, Role] = {
    drift_pb2.DRIFT_ROLE_INPUT: Role.INPUT,
    drift_pb2.DRIFT_ROLE_OUTPUT: Role.OUTPUT,
    drift_pb2.DRIFT_ROLE_OUTCOME: Role.OUTCOME,
    drift_pb2.DRIFT_ROLE_SYSTEM: Role.SYSTEM,
}
STRATA: Mapping[drift_pb2.DriftStrata, Strata] = {
    drift_pb2.DRIFT_STRATA_UNSPECIFIED: Strata.NONE,
    drift_pb2.DRIFT_STRATA_HOUR: Strata.HOUR,
    drift_pb2.DRIFT_STRATA_WEEKDAY: Strata.WEEKDAY,
}
CAUSES: Mapping[Cause, drift_pb2.DriftCause] = {
    Cause.COVARIATE: drift_pb2.DRIFT_CAUSE_COVARIATE,
    Cause.CONCEPT: drift_pb2.DRIFT_CAUSE_CONCEPT,
    Cause.SYSTEM: drift_pb2.DRIFT_CAUSE_SYSTEM,
}
# Unless a feature says otherwise.
_ROLE_OF_KIND = {
    drift_pb2.DRIFT_FEATURE_KIND_NUMBER: drift_pb2.DRIFT_ROLE_OUTPUT,
    drift_pb2.DRIFT_FEATURE_KIND_BINARY: drift_pb2.DRIFT_ROLE_OUTCOME,
    drift_pb2.DRIFT_FEATURE_KIND_CATEGORY: drift_pb2.DRIFT_ROLE_INPUT,
    drift_pb2.DRIFT_FEATURE_KIND_TEXT: drift_pb2.DRIFT_ROLE_INPUT,
}
# What serve_svc reports of every answer.
_SERVED = (
    ("prompt", drift_pb2.DRIFT_FEATURE_KIND_TEXT, drift_pb2.DRIFT_ROLE_INPUT),
    ("prompt_tokens", drift_pb2.DRIFT_FEATURE_KIND_NUMBER, drift_pb2.DRIFT_ROLE_INPUT),
    ("response_tokens", drift_pb2.DRIFT_FEATURE_KIND_NUMBER, drift_pb2.DRIFT_ROLE_OUTPUT),
    ("truncated", drift_pb2.DRIFT_FEATURE_KIND_BINARY, drift_pb2.DRIFT_ROLE_OUTPUT),
    ("seconds_per_token", drift_pb2.DRIFT_FEATURE_KIND_NUMBER, drift_pb2.DRIFT_ROLE_SYSTEM),
)


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


def rule_verdict(
    rule: pb.GateRule, outcome: Outcome, evidence: pb.SuiteComparison | None, *, clean: Outcome | None = None
) -> pb.RuleVerdict:
    """Return the message of a rule's outcome; `clean` is that without cases that stand in training data."""
    verdict = pb.RuleVerdict(
        rule=rule,
        verdict=VERDICTS[outcome.verdict],
        comparison=evidence,
        num_cases_needed=outcome.num_cases_needed,
        explanation=outcome.explanation,
        p_value=outcome.p_value,
        clean_verdict=VERDICTS[clean.verdict] if clean else pb.VERDICT_UNSPECIFIED,
    )
    effect = outcome.effect
    if effect is not None:
        verdict.value = effect.value
        verdict.interval.low, verdict.interval.high = effect.low, effect.high
        verdict.interval.confidence = effect.confidence
    return verdict


def drift_monitor(given: drift_pb2.DriftMonitor) -> drift_pb2.DriftMonitor:
    """Return a monitor as it is asked for, with what was left open filled in.

    Raises: InvalidRequest for two features of one name, strata of a text, a reference that is too small, or an
    estimate from features that are not there.
    """
    served = _SERVED[:1] if given.reference_dataset else _SERVED
    features = list(given.features) or [
        drift_pb2.DriftFeature(name=name, kind=kind, role=role) for name, kind, role in served
    ]
    if given.reference_dataset and [one.kind for one in features] != [drift_pb2.DRIFT_FEATURE_KIND_TEXT]:
        raise InvalidRequest(
            "drift_monitor.features must be one text where a dataset is the reference; it has no lengths and outcomes",
            field="drift_monitor.features",
        )
    kinds: dict[str, drift_pb2.DriftFeatureKind] = {}
    for index, feature in enumerate(features):
        where = f"drift_monitor.features[{index}]"
        if feature.kind not in FEATURE_KINDS:
            raise InvalidRequest(f"{where}.kind must be stated", field=f"{where}.kind")
        if feature.name in kinds:
            raise InvalidRequest(f"{where}.name is there already: {feature.name}", field=f"{where}.name")
        if feature.kind == drift_pb2.DRIFT_FEATURE_KIND_TEXT and feature.strata:
            raise InvalidRequest(f"{where}.strata must be unset for a text", field=f"{where}.strata")
        if feature.kind == drift_pb2.DRIFT_FEATURE_KIND_TEXT and feature.kind in kinds.values():
            raise InvalidRequest(f"{where} is a second text; a request has the words of one", field=f"{where}.kind")
        kinds[feature.name] = feature.kind
        feature.role = feature.role or _ROLE_OF_KIND[feature.kind]
        feature.weight = feature.weight or (2.0 if feature.role == drift_pb2.DRIFT_ROLE_OUTCOME else 1.0)
    _check_estimate(given, kinds)
    num_reference = given.num_reference or DRIFT_REFERENCE_DEFAULT
    if num_reference < DRIFT_REFERENCE_MIN:
        raise InvalidRequest(
            f"drift_monitor.num_reference must be at least {DRIFT_REFERENCE_MIN}, or 0 for "
            f"{DRIFT_REFERENCE_DEFAULT}; got {num_reference}",
            field="drift_monitor.num_reference",
        )
    return drift_pb2.DriftMonitor(
        display_name=given.display_name,
        endpoint=given.endpoint,
        features=features,
        num_reference=num_reference,
        false_alarms=given.false_alarms or DRIFT_FALSE_ALARMS_DEFAULT,
        outcome=given.outcome,
        confidence=given.confidence,
    )


def _check_estimate(given: drift_pb2.DriftMonitor, kinds: Mapping[str, drift_pb2.DriftFeatureKind]) -> None:
    wanted = (
        ("outcome", given.outcome, drift_pb2.DRIFT_FEATURE_KIND_BINARY, "yes or no"),
        ("confidence", given.confidence, drift_pb2.DRIFT_FEATURE_KIND_NUMBER, "number"),
    )
    for field, name, kind, words in wanted:
        if bool(given.outcome) != bool(given.confidence):
            raise InvalidRequest(
                "drift_monitor.outcome and drift_monitor.confidence go together: set both or none",
                field=f"drift_monitor.{field}",
            )
        if name and kinds.get(name) != kind:
            raise InvalidRequest(
                f"drift_monitor.{field} must name a feature that is a {words}; got {name!r}",
                field=f"drift_monitor.{field}",
            )


def drift_plan(monitor: drift_pb2.DriftMonitor) -> Plan:
    """Return what a stored monitor watches."""
    features = [
        Feature(
            name=one.name,
            kind=FEATURE_KINDS[one.kind],
            role=ROLES[one.role],
            strata=STRATA[one.strata],
            weight=one.weight,
        )
        for one in monitor.features
    ]
    if monitor.outcome:
        name, of = f"{monitor.outcome} given {monitor.confidence}", (monitor.outcome, monitor.confidence)
        features.append(Feature(name=name, kind=Kind.RELATION, role=Role.OUTCOME, of=of, weight=2.0))
    return Plan(features=features, num_reference=monitor.num_reference, false_alarms=monitor.false_alarms)


def drift_row(given: drift_pb2.DriftRow, now_s: float) -> Row:
    """Return a request that came now unless it says when."""
    return Row(
        id=given.id,
        time_s=given.time.seconds if given.HasField("time") else now_s,
        numbers=dict(given.numbers),
        flags=dict(given.flags),
        categories=dict(given.categories),
        buckets=sorted(set(given.buckets)),
    )


def with_levels(stored: drift_pb2.DriftMonitor, monitor: Monitor) -> drift_pb2.DriftMonitor:
    """Return a monitor as it is read, with where its features stand."""
    shown = drift_pb2.DriftMonitor()
    shown.CopyFrom(stored)
    shown.num_requests = monitor.seen
    for one in monitor.levels():
        shown.levels.add(
            feature=one.feature,
            armed=one.armed,
            alarmed=one.alarmed,
            num_reference=one.num_reference,
            evidence=one.evidence,
            threshold=one.threshold,
            before=one.before,
            now=one.now,
        )
    if (estimate := monitor.estimate()) is not None:
        shown.expected_outcome.CopyFrom(pb.Interval(low=estimate.low, high=estimate.high, confidence=CONFIDENCE))
    return shown


def drift_alarm(alarm: Alarm, *, name: str, endpoint: str) -> drift_pb2.DriftAlarm:
    """Return the message of an alarm."""
    return drift_pb2.DriftAlarm(
        name=name,
        feature=alarm.feature,
        cause=CAUSES[alarm.cause],
        explanation=explain(alarm),
        request=alarm.request,
        since=alarm.since,
        evidence=alarm.evidence,
        threshold=alarm.threshold,
        before=alarm.before,
        now=alarm.now,
        exemplars=alarm.exemplars,
        buckets=alarm.buckets,
        num_wanted=alarm.num_wanted,
        endpoint=endpoint,
    )
