from __future__ import annotations

import io
import json
import logging

import pytest
from bessemer.svckit import context, log


@pytest.fixture
def written():
    stream = io.StringIO()
    log.setup("data", stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    log.setup("data")


def test_line_is_one_json_object_with_event_and_fields(written):
    log.info("rpc", code="OK", duration_ms=1.5, text="two\nlines \x1b[31m\u2028red")
    [line] = written()
    assert (line["event"], line["level"], line["service"], line["duration_ms"]) == ("rpc", "INFO", "data", 1.5)
    assert line["text"] == "two\nlines  [31m red"


@pytest.mark.parametrize(
    "value",
    [
        "Bearer abcdefgh",
        "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhZG1pbiJ9.c2lnbmF0dXJl",
        "postgresql://user:abcdefgh@host/db",
        "http://x/y?X-Amz-Signature=abcdefgh",
    ],
)
def test_secret_in_a_value_is_masked(written, value):
    log.info("x", text=f"before {value} after")
    text = written()[0]["text"]
    assert "abcdefgh" not in text
    assert "eyJzdWIi" not in text
    assert text.startswith("before ")


def test_secret_by_name_of_its_field_is_masked(written):
    log.info("x", token="t", s3_secret_key="s", password="p", tokens=5, page_token_size=3)
    [line] = written()
    assert [line["token"], line["s3_secret_key"], line["password"]] == ["***"] * 3
    assert (line["tokens"], line["page_token_size"]) == (5, 3)


def test_long_value_is_cut(written):
    log.info("x", text="a" * 1_000_000)
    assert len(written()[0]["text"]) < 2_100


def test_traceback_of_exception_is_kept(written):
    try:
        raise ValueError("inner")
    except ValueError as error:
        log.error("failed", exc=error)
    assert "ValueError: inner" in written()[0]["traceback"]


def test_request_id_of_the_call_is_added(written):
    token = context.request_id.set("r-1")
    log.info("x")
    context.request_id.reset(token)
    log.info("y")
    assert [line.get("request_id") for line in written()] == ["r-1", None]


def test_lines_of_libraries_and_of_ours_arrive_in_the_same_form(written):
    logging.getLogger("nats").warning("lost %s", "it")
    logging.getLogger("nats").info("chatter")
    logging.getLogger("data_svc.app").info("ours", extra={"dataset": "d"})
    assert [(line["event"], line["logger"]) for line in written()] == [("lost it", "nats"), ("ours", "data_svc.app")]
    assert written()[1]["dataset"] == "d"
