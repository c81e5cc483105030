"""Spreadsheets: each sheet a Markdown table, in blocks where it is long.

Source: ECMA-376 part 1, chapter 18.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

from data_svc.domain.tables import table_blocks
from data_svc.worker.office_files import Event, Package, open_package

__all__ = ["read_xlsx"]

_DATE_FORMATS = {*range(14, 23), *range(45, 48)}  # the built-in ones; ECMA-376 part 1, 18.8.30
_QUOTED = re.compile(r'"[^"]*"|\\.|\[[^\]]*\]')
_EPOCH = datetime(1899, 12, 30)  # noqa: DTZ001 - cells have no time zone
_DAYS_MAX = 2_958_466  # the end of the year 9999


def read_xlsx(file: Path) -> Iterator[tuple[str, str]]:
    """Yield a suffix and a Markdown text for each block of each sheet.

    Raises: as `open_package` and `Package.events`.
    """
    with open_package(file) as package:
        shared = list(_shared_strings(package.events("xl/sharedStrings.xml")))
        dates = _date_styles(package.events("xl/styles.xml"))
        related = package.related("xl/workbook.xml")
        for sheet in [event for event in package.events("xl/workbook.xml") if event.name == "sheet"]:
            if sheet.kind != "start" or sheet.get("id") not in related:
                continue
            name = sheet.get("name")
            rows = _rows(package, related[sheet.get("id")][1], shared, dates)
            for number, (first, last, text) in enumerate(table_blocks(rows)):
                yield f"#{name}" + (f":rows{first}-{last}" if number else ""), f"# {name}\n\n{text}"


def _shared_strings(events: Iterable[Event]) -> Iterator[str]:
    text: list[str] = []
    in_text = in_phonetic = False
    for event in events:
        if event.kind == "text":
            if in_text and not in_phonetic:
                text.append(event.name)
        elif event.name == "t":
            in_text = event.kind == "start"
        elif event.name == "rPh":
            in_phonetic = event.kind == "start"
        elif event.name == "si" and event.kind == "end":
            yield "".join(text)
            text = []


def _date_styles(events: Iterable[Event]) -> set[str]:
    """Return the numbers of the cell styles that show a number as a date or time."""
    formats = set(map(str, _DATE_FORMATS))
    styles: set[str] = set()
    in_cells = False
    num_styles = 0
    for event in events:
        if event.name == "cellXfs":
            in_cells = event.kind == "start"
        elif event.kind == "start" and event.name == "numFmt":
            if re.search("[ymdhs]", _QUOTED.sub("", event.get("formatCode")).lower()):
                formats.add(event.get("numFmtId"))
        elif event.kind == "start" and event.name == "xf" and in_cells:
            if event.get("numFmtId") in formats:
                styles.add(str(num_styles))
            num_styles += 1
    return styles


def _rows(package: Package, path: str, shared: list[str], dates: set[str]) -> Iterator[dict[int, str]]:
    row: dict[int, str] = {}
    cell = Event("", "", {})
    text: list[str] = []
    column = 0
    in_value = False
    for event in package.events(path):
        if event.kind == "text":
            if in_value:
                text.append(event.name)
        elif event.name in {"v", "t"}:
            in_value = event.kind == "start"
        elif event.name == "c" and event.kind == "start":
            cell, text = event, []
            column = _column(event.attributes.get("r", "")) or column + 1
        elif event.name == "c":
            row[column] = _value("".join(text), cell, shared, dates)
        elif event.name == "row" and event.kind == "end":
            yield row
            row, column = {}, 0


def _column(reference: str) -> int:
    """Return the number of a cell's column, counted from 1; 0 if the reference names none."""
    number = 0
    for letter in reference[:3]:
        if not "A" <= letter <= "Z":
            break
        number = number * 26 + ord(letter) - 64
    return number


def _value(text: str, cell: Event, shared: list[str], dates: set[str]) -> str:
    kind = cell.attributes.get("t", "n")
    if kind == "s":
        return shared[int(text)] if text.isdecimal() and int(text) < len(shared) else ""
    if kind == "b":
        return "TRUE" if text == "1" else "FALSE"
    if kind != "n" or not text:
        return text
    try:
        number = float(text)
    except ValueError:
        return text
    if cell.attributes.get("s") in dates and 0 <= number < _DAYS_MAX:
        moment = _EPOCH + timedelta(seconds=round(number * 86_400))
        return moment.isoformat(" ") if number % 1 else moment.date().isoformat()
    return f"{number:.15g}" if abs(number) < 1e15 else text
