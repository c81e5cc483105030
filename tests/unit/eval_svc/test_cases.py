"""What a suite may hold."""

from __future__ import annotations

import json
from importlib import resources

import pytest
from bessemer.kernel.errors import InvalidRequest
from eval_svc.domain.cases import Case, Grader, format_cases, given_away, parse_cases, passages, pick
from eval_svc.domain.results import CaseResult, format_results, parse_results, summarise, why_invalid

CHOICE = {"id": "a", "prompt": "Q: 1 + 1? A:", "choices": ["two", "three"], "target": "two"}


def lines(*records):
    return "\n".join(json.dumps(record) for record in records).encode()


@pytest.mark.parametrize(
    ("grader", "record"),
    [
        (Grader.PERPLEXITY, {"id": "a", "text": "Some text."}),
        (Grader.CHOICE, CHOICE),
        (Grader.CHOICE, {**CHOICE, "target": 1, "cluster": "doc"}),
        (Grader.EXACT, {"id": "a", "prompt": [{"role": "user", "content": "Hi"}], "target": "Hello", "cluster": "c"}),
        (Grader.REGEX, {"id": "a", "prompt": "Year?", "target": r"\b19\d\d\b"}),
    ],
)
def test_cases_written_and_read_again_are_the_same(grader, record):
    cases = parse_cases(lines(record), grader)
    assert parse_cases(format_cases(cases), grader) == cases
    assert cases[0].cluster == record.get("cluster", "a")


@pytest.mark.parametrize(
    ("grader", "data", "line", "wrong"),
    [
        (Grader.PERPLEXITY, b"", 0, "at least one"),
        (Grader.PERPLEXITY, b"{", 1, "JSON"),
        (Grader.PERPLEXITY, b'{"id":"a","text":"x"}\n[1]', 2, "JSON object"),
        (Grader.PERPLEXITY, b'{"id":"a","text":"x"}\n\n{"id":"a","text":"y"}', 3, "line 1"),
        (Grader.PERPLEXITY, b'{"id":"a","text":" "}', 1, "text"),
        (Grader.PERPLEXITY, b'{"id":"a","text":"\\ud800"}', 1, "surrogate"),
        (Grader.PERPLEXITY, b"\xff", 1, "UTF-8"),
        (Grader.CHOICE, lines({**CHOICE, "target": 2}), 1, "target"),
        (Grader.CHOICE, lines({**CHOICE, "target": True}), 1, "target"),
        (Grader.CHOICE, lines({**CHOICE, "choices": ["two", "two"]}), 1, "choices"),
        (Grader.EXACT, lines({"id": "a", "prompt": [{"role": "x", "content": "?"}], "target": "t"}), 1, "role"),
        (Grader.EXACT, lines({"id": "a", "prompt": "?"}), 1, "target"),
        (Grader.REGEX, lines({"id": "a", "prompt": "?", "target": "("}), 1, "regular expression"),
    ],
)
def test_cases_that_are_wrong_are_refused_with_their_line(grader, data, line, wrong):
    with pytest.raises(InvalidRequest) as refused:
        parse_cases(data, grader)
    assert wrong in refused.value.message
    assert refused.value.fields["line"] == str(line)
    assert refused.value.fields["field"].startswith("cases")


def test_passages_of_long_documents_end_at_spaces_and_know_their_document():
    cut = passages([("doc", "word " * 1000)], characters=200, num_max=100)
    assert all(len(case.text) <= 200 and case.text.endswith("word") for case in cut)
    assert {case.cluster for case in cut} == {"doc"}
    assert sum(len(case.text) + 1 for case in cut) == pytest.approx(5000, abs=200)


def test_passages_when_few_are_wanted_come_from_as_many_documents_as_possible():
    documents = [(f"d{i}", "some text here " * 100) for i in range(20)]
    chosen = passages(documents, characters=300, num_max=25)
    assert len(chosen) == 25
    assert len({case.cluster for case in chosen}) == 20
    assert passages(reversed(documents), characters=300, num_max=25) == chosen


def test_pick_of_fewer_cases_than_allowed_keeps_all():
    cases = [Case(id=f"q{i}", cluster="c") for i in range(5)]
    assert pick(cases, num_max=10) == cases


@pytest.mark.parametrize(
    ("name", "grader", "least"),
    [
        ("general-knowledge", Grader.PERPLEXITY, 200),
        ("general-choice", Grader.CHOICE, 120),
    ],
)
def test_builtin_suite_is_valid_and_large_enough(name, grader, least):
    data = resources.files("eval_svc.worker.suites").joinpath(f"{name}.jsonl").read_bytes()
    cases = parse_cases(data, grader)
    assert len(cases) >= least
    for case in cases:
        if grader is Grader.PERPLEXITY:
            assert 15 <= len(case.text.split()) <= 30
        else:
            assert len(case.choices) == 4


def test_results_written_and_read_again_are_the_same():
    results = [
        CaseResult(id="a", cluster="a", score=1.0, output="line\u2028break\nä", nll=2.5, tokens=3, bytes=9),
        CaseResult(id="b", cluster="b", score=None, unscored="too long"),
    ]
    assert parse_results(format_results(results)) == results


def test_summarise_of_texts_gives_perplexity_and_bits_per_byte():
    results = [
        CaseResult(id=str(i), cluster=str(i), score=8.0, nll=2.0794415 * 10, tokens=10, bytes=40) for i in range(9)
    ]
    total = summarise([*results, CaseResult(id="x", cluster="x", score=None)], Grader.PERPLEXITY)
    assert total.score == pytest.approx(8.0)
    assert total.bits_per_byte == pytest.approx(30 / 40)
    assert (total.num_cases, total.num_unscored, total.tokens) == (9, 1, 90)


def test_why_invalid_of_many_unscored_cases_names_the_commonest_reason():
    fine = [CaseResult(id=str(i), cluster="c", score=1.0) for i in range(98)]
    failed = [CaseResult(id=f"x{i}", cluster="c", score=None, unscored="it is too long") for i in range(3)]
    assert why_invalid([*fine, *failed[:2]]) == ""
    assert "it is too long" in why_invalid([*fine, *failed])


@pytest.mark.parametrize(
    ("grader", "record", "text"),
    [
        (Grader.PERPLEXITY, {"id": "a", "text": "Some text."}, "Some text."),
        (Grader.CHOICE, CHOICE, "Q: 1 + 1? A:\ntwo"),
        (Grader.EXACT, {"id": "a", "prompt": "Hi?", "target": "Hello"}, "Hi?\nHello"),
        (Grader.REGEX, {"id": "a", "prompt": "Year?", "target": r"\b19\d\d\b"}, "Year?"),
        (
            Grader.EXACT,
            {
                "id": "a",
                "prompt": [
                    {"role": "system", "content": "Be short."},
                    {"role": "user", "content": "One"},
                    {"role": "assistant", "content": "Two"},
                    {"role": "user", "content": "Three"},
                ],
                "target": "Four",
            },
            "One\nTwo\nThree\nFour",
        ),
    ],
)
def test_what_a_case_gives_away_is_its_question_and_right_answer_or_its_text(grader, record, text):
    (case,) = parse_cases(lines(record), grader)
    assert given_away(case, grader) == text
