"""Graders of written answers on answers with known marks."""

from __future__ import annotations

import json

import pytest
from bessemer.api.eval.v1 import evaluation_pb2 as ev
from bessemer.kernel.errors import InvalidRequest
from eval_svc.codec import KINDS, stated_grader
from eval_svc.domain.cases import Case, Grader, parse_cases
from eval_svc.domain.formula import check_formula, compute
from eval_svc.domain.numbers import last_number
from eval_svc.domain.options import check_options, judges_of
from eval_svc.worker import child
from eval_svc.worker.answers import before
from eval_svc.worker.graders import Graders
from eval_svc.worker.text_similarity import chrf, token_f1
from hypothesis import given
from hypothesis import strategies as st

SCHEMA = json.dumps({"type": "object", "required": ["grade"], "properties": {"grade": {"type": "string"}}})


@pytest.fixture(scope="module")
def graders():
    with Graders() as made:
        yield made


def mark(graders, grader, output, target, **options):
    case = Case(id="a", cluster="a", prompt="?", target=target)
    return graders.mark(grader, output, case, ev.GraderOptions(**options))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("it costs $3,000.50 in all.", "3000.50"),
        ("#### -5", "-5"),
        ("3-5", "5"),
        ("10/2 = 5.", "5"),
        ("\u22127 degrees", "-7"),
        (".5", "0.5"),
        ("1e3", "1000"),
        ("1,2,3", "3"),
        ("none", None),
    ],
)
def test_last_number_of_text_is_read_as_people_write_it(text, number):
    found = last_number(text)
    assert (None if found is None else str(found + 0).replace("1E+3", "1000")) == number


@given(st.text(max_size=200))
def test_last_number_of_any_text_is_a_number_or_none(text):
    found = last_number(text)
    assert found is None or found.is_finite()


@pytest.mark.parametrize(
    ("output", "target", "options", "score"),
    [
        ("So 6 * 7 = 42.", "#### 42", {}, 1.0),
        ("42.0", "42", {}, 1.0),
        ("41.9", "42", {}, 0.0),
        ("41.9", "42", {"absolute_tolerance": 0.2}, 1.0),
        ("0.1 + 0.2 = 0.3", "0.3", {}, 1.0),
        ("101", "100", {"relative_tolerance": 0.02}, 1.0),
        ("103", "100", {"relative_tolerance": 0.02}, 0.0),
        ("no idea", "1", {}, 0.0),
    ],
)
def test_numeric_compares_the_last_number_within_its_tolerance(graders, output, target, options, score):
    assert mark(graders, Grader.NUMERIC, output, target, numeric=ev.NumericOptions(**options)).score == score


@pytest.mark.parametrize(
    ("output", "score", "reason"),
    [
        ('{"grade": "S3"}', 1.0, ""),
        ('```json\n{"grade": "S3"}\n```', 1.0, ""),
        ('{"grade": 3}', 0.0, "$.grade"),
        ("{}", 0.0, "grade"),
        ('{"grade": NaN}', 0.0, "NaN"),
        ('Here: {"grade": "S3"}', 0.0, "not JSON"),
        ("[" * 100_000, 0.0, "not JSON"),
    ],
)
def test_json_schema_takes_json_that_fits_and_names_the_first_misfit(graders, output, score, reason):
    found = mark(graders, Grader.JSON_SCHEMA, output, SCHEMA)
    assert found.score == score
    assert reason in found.reason


def test_json_schema_that_is_slow_or_refers_elsewhere_is_unscored_and_gives_no_text_away(graders, monkeypatch):
    monkeypatch.setattr(child, "TIME_LIMIT_S", 0.5)
    slow = mark(graders, Grader.JSON_SCHEMA, json.dumps("a" * 40 + "!"), json.dumps({"pattern": "(a+)+$"}))
    assert slow.score is None
    assert "more than" in slow.reason
    monkeypatch.setattr(child, "TIME_LIMIT_S", 10.0)
    away = mark(graders, Grader.JSON_SCHEMA, "1", json.dumps({"$ref": "http://canary.example/schema.json"}))
    assert away.score is None
    assert "canary" not in away.reason
    assert mark(graders, Grader.JSON_SCHEMA, '{"grade": "S3"}', SCHEMA).score == 1.0


@pytest.mark.parametrize(  # the values of sacrebleu 2.6 without smoothing of orders that are too long
    ("output", "target", "score"),
    [
        ("The cat sat on the mat.", "The cat sat on a mat.", 0.7142247563033848),
        ("hello", "hello world", 0.4069078647589538),
        ("a", "abc", 0.3846153846153846),
        ("", "abc", 0.0),
        ("Ein Test", "Das ist ein Test der Länge", 0.21442433439345224),
        ("ab", "abcdefgh", 0.23404255319148937),
    ],
)
def test_chrf_equals_sacrebleu(output, target, score):
    assert chrf(output, target) == pytest.approx(score, abs=1e-12)


def test_token_f1_ignores_case_articles_and_punctuation():
    assert token_f1("The cat.", "a CAT") == 1.0
    assert token_f1("red furnace", "red hot furnace") == pytest.approx(0.8)
    assert token_f1("", "the") == 1.0
    assert token_f1("cat", "dog") == 0.0


@given(st.text(max_size=30), st.text(min_size=1, max_size=30))
def test_similarity_lies_between_zero_and_one_and_is_one_for_the_same_text(left, right):
    for measure in (chrf, token_f1):
        assert 0 <= measure(left, right) <= 1 + 1e-12
    assert token_f1(right, right) == 1.0
    assert chrf(right, right) == pytest.approx(1.0 if right.split() else 0.0)


def test_exact_that_extracts_takes_the_match_it_is_told_and_compares_as_written(graders):
    options = ev.ExactOptions(extract=r"#### (-?[0-9.,]+)", verbatim=True, ignore=[","], match=-1)
    assert mark(graders, Grader.EXACT, "#### 5\n#### 1,000", "1000", exact=options).score == 1.0
    assert "nothing to extract" in mark(graders, Grader.EXACT, "1000", "1000", exact=options).reason
    plain = ev.ExactOptions(verbatim=True)
    assert mark(graders, Grader.EXACT, "Paris.", "paris", exact=plain).score == 0.0
    kind = ev.ExactOptions(verbatim=True, ignore_case=True, ignore_punctuation=True)
    assert mark(graders, Grader.EXACT, "Paris.", "paris", exact=kind).score == 1.0
    assert mark(graders, Grader.EXACT, "Paris.", "paris").score == 1.0


def test_before_cuts_an_answer_at_the_first_end():
    assert before("a\nQ: b", ["Q:", "\n"]) == "a"
    assert before("abc", ["x"]) == "abc"


FORMULA = ev.FormulaOptions(
    expression="0.7 * right + 0.3 * form",
    parts=[
        ev.FormulaPart(id="right", grader=ev.GRADER_KIND_NUMERIC),
        ev.FormulaPart(id="form", grader=ev.GRADER_KIND_REGEX, target=r"^\d+$"),
    ],
)


def test_formula_weighs_its_parts_and_one_target_can_be_the_same_for_all_cases(graders):
    assert mark(graders, Grader.FORMULA, "42", "42", formula=FORMULA).score == 1.0
    assert mark(graders, Grader.FORMULA, "It is 42", "42", formula=FORMULA).score == pytest.approx(0.7)
    assert mark(graders, Grader.FORMULA, "41", "42", formula=FORMULA).score == pytest.approx(0.3)
    beyond = ev.FormulaOptions(expression="right * 2", parts=FORMULA.parts[:1])
    assert "not from 0 to 1" in mark(graders, Grader.FORMULA, "42", "42", formula=beyond).reason
    divided = ev.FormulaOptions(expression="1 / right", parts=FORMULA.parts[:1])
    assert mark(graders, Grader.FORMULA, "41", "42", formula=divided).score is None


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("a + b * 2", 2.0),
        ("-(b - a)", 0.5),
        ("max(a, b) - min(a, b)", 0.5),
        ("a / 0.5 + 0 * b", 2.0),
        ("+b + 0 * a", 0.5),
    ],
)
def test_formula_is_computed_as_arithmetic_says(expression, value):
    check_formula(expression, ["a", "b"])
    assert compute(expression, {"a": 1.0, "b": 0.5}) == value


@pytest.mark.parametrize(
    "expression",
    [
        "", "a.b", "a[0]", "__import__('os')", "a ** 9", "a if a else a", "lambda: a", "c", "1", "a +", "min(a)",
        "True * a", "a < 1", "(a := 1)", "a" + "+a" * 600, "(" * 300 + "a", "max(*a, a)", "'x' * a", "9 " * 300,
        "-" * 900 + "a", "a * " + "9" * 400,
    ],
)  # fmt: skip
def test_formula_that_is_no_arithmetic_over_its_parts_is_refused(expression):
    with pytest.raises(InvalidRequest) as refused:
        check_formula(expression, ["a"])
    assert refused.value.fields["field"] == "evaluation_suite.options.formula.expression"


@pytest.mark.parametrize(
    ("grader", "options", "field"),
    [
        (Grader.CHOICE, {"stop": ["x"]}, "stop"),
        (Grader.EXACT, {"numeric": ev.NumericOptions()}, "numeric"),
        (Grader.NUMERIC, {"numeric": ev.NumericOptions(absolute_tolerance=-1)}, "numeric"),
        (Grader.NUMERIC, {"numeric": ev.NumericOptions(relative_tolerance=float("nan"))}, "numeric"),
        (Grader.EXACT, {"exact": ev.ExactOptions(extract="(")}, "exact.extract"),
        (Grader.EXACT, {"exact": ev.ExactOptions(ignore_case=True)}, "exact.verbatim"),
        (Grader.JUDGE, {}, "judge.judge"),
        (Grader.JUDGE, {"judge": ev.JudgeOptions(judge="http://evil.example")}, "judge.judge"),
        (Grader.JUDGE, {"judge": ev.JudgeOptions(judge="house", lowest=5)}, "judge.highest"),
        (Grader.JUDGE, {"judge": ev.JudgeOptions(judge="house", instructions="Well?")}, "judge.instructions"),
        (Grader.FORMULA, {}, "formula.parts"),
        (
            Grader.FORMULA,
            {"formula": ev.FormulaOptions(expression="a", parts=[{"id": "a", "grader": ev.GRADER_KIND_FORMULA}])},
            "formula.parts[0].grader",
        ),
        (
            Grader.FORMULA,
            {
                "formula": ev.FormulaOptions(
                    expression="a", parts=[{"id": "a", "grader": ev.GRADER_KIND_REGEX, "target": "("}]
                )
            },
            "formula.parts[0].target",
        ),
    ],
)
def test_options_that_make_no_sense_are_refused_with_their_field(grader, options, field):
    with pytest.raises(InvalidRequest) as refused:
        check_options(grader, ev.GraderOptions(**options), stated_grader, judges=["house"])
    assert refused.value.fields["field"] == f"evaluation_suite.options.{field}"


def test_options_of_formula_say_who_reads_targets_and_who_is_asked():
    options = ev.GraderOptions(formula=FORMULA)
    assert check_options(Grader.FORMULA, options, stated_grader) == [Grader.NUMERIC]
    asking = ev.FormulaPart(id="j", grader=ev.GRADER_KIND_JUDGE, options={"judge": {"judge": "house"}})
    assert judges_of(ev.GraderOptions(formula=ev.FormulaOptions(parts=[asking]))) == {"house"}
    with pytest.raises(InvalidRequest, match="must have a number"):
        parse_cases(b'{"id":"a","prompt":"?","target":"none"}', Grader.FORMULA, [Grader.NUMERIC])


def test_every_kind_of_grader_has_a_name_and_a_number():
    assert {KINDS[grader] for grader in Grader} == set(ev.GraderKind.values()) - {ev.GRADER_KIND_UNSPECIFIED}
