from __future__ import annotations

import math
from html.parser import HTMLParser

from bessemer.artifacts.report import Interval, Report, Series, format_number


class Balance(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag, _attrs):
        self.seen.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, _attrs):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def full_report() -> str:
    report = Report("A <b>title</b>", "under & over")
    report.heading("One")
    report.paragraph("x < y")
    report.quote("<script>alert(1)</script>")
    report.numbers({"tokens": 12345, "loss": 1.23456, "none": None})
    report.table(["name", "n"], [["<i>", 1], ["b", None]])
    report.lines(
        "loss", [Series("a", [(0, 1.0), (1, 0.1), (2, math.nan)]), Series("b", [])], x_label="step", y_log=True
    )
    report.lines("one point", [Series("a", [(0, 1.0)])])
    report.lines("none", [])
    report.histogram("sizes", [0, 1, 10, 100], [3, 0, 2])
    report.bars("reasons", {"kept": 10, "EMPTY": 0}, emphasis="kept")
    report.bars("no bars", {})
    report.intervals("scores", [Interval("base", 0.1, 0.2, 0.3), Interval("tuned", 0.4, 0.4, 0.4)], reference=0)
    report.intervals("same", [Interval("x", 1, 1, 1)])
    return report.html()


def test_report_of_everything_is_well_formed_and_escaped() -> None:
    text = full_report()
    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    assert "script" not in parser.seen
    assert "<b>title" not in text
    assert "nan" not in text
    assert "prefers-color-scheme: dark" in text
    assert text == full_report()


def test_report_needs_nothing_from_outside() -> None:
    text = full_report()
    assert "http://" not in text
    assert "https://" not in text
    assert "default-src 'none'" in text


def test_format_number_of_sizes_is_readable() -> None:
    assert [format_number(v) for v in (12345, 0.01234567, 1234.5, 3.0, None, "x")] == [
        "12,345",
        "0.01235",
        "1,234",
        "3",
        "-",
        "x",
    ]
