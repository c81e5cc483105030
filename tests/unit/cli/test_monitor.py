from __future__ import annotations

import json

import pytest
import typer
from bessemer.api.eval.v1 import drift_pb2 as drift
from bessemer.artifacts.lexical import sketch, telling_terms
from bessemer.cli.monitor import parse_feature, parse_row, sparkline

FEATURES = [parse_feature(text) for text in ("prompt:text", "tokens:number", "thumb:binary", "language:category")]


def test_feature_of_an_option_has_kind_role_and_strata():
    feature = parse_feature("latency_s:number:system:hour")
    assert (feature.name, feature.kind) == ("latency_s", drift.DRIFT_FEATURE_KIND_NUMBER)
    assert (feature.role, feature.strata) == (drift.DRIFT_ROLE_SYSTEM, drift.DRIFT_STRATA_HOUR)
    with pytest.raises(typer.BadParameter, match="'float'"):
        parse_feature("latency_s:float")
    with pytest.raises(typer.BadParameter, match="names no kind"):
        parse_feature("latency_s")


def test_row_of_a_line_holds_buckets_and_no_text():
    line = {"id": 7, "time": "2026-11-25T09:00:00+00:00", "prompt": "hot ore", "tokens": 12, "thumb": True, "x": 1}
    row = parse_row(json.dumps(line | {"language": "de"}), 1, FEATURES)
    assert row == drift.DriftRow(
        id="7",
        time={"seconds": 1795597200},
        numbers={"tokens": 12},
        flags={"thumb": True},
        categories={"language": "de"},
        buckets=sketch("hot ore"),
    )
    assert b"ore" not in row.SerializeToString()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 3 is not JSON"),
        ("[]", "line 3 must be an object"),
        ('{"tokens": "12"}', "tokens must be a number"),
        ('{"tokens": true}', "tokens must be a number"),
        ('{"thumb": 1}', "thumb must be a binary"),
        ('{"time": "yesterday"}', "time must be seconds"),
    ],
)
def test_row_of_a_bad_line_names_line_and_key(line, message):
    with pytest.raises(typer.BadParameter, match=message):
        parse_row(line, 3, FEATURES)


def test_sparkline_shows_the_newest_values():
    assert sparkline([0.0] * 30 + [0.5, 1.0]) == "▁" * 22 + "▅█"


def test_telling_terms_are_those_that_others_lack():
    others = ["the furnace and the ore", "the slag and the heat", "ore and heat and slag"]
    assert telling_terms(["the salary and leave", "leave of the salary", "the salary"], others, 2) == [
        "salary",
        "leave",
    ]
