"""Reports as one HTML file: tables and SVG plots, no scripts, no network, light and dark.

    report = Report("Data profile", "projects/p/datasets/d")
    report.heading("What was kept")
    report.bars("Documents", {"kept": 90, "TOO_SHORT": 10})
    path.write_text(report.html())

Everything given is escaped; the same calls give the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

__all__ = ["Interval", "Report", "Series", "format_number"]

_WIDTH, _HEIGHT = 720, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 16, 44
_ROW = 26
_LABEL_WIDTH = 210
_CSS = Path(__file__).with_name("report.css").read_text()
_HEAD = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
)
Cell = str | int | float | None


@dataclass(frozen=True)
class Series:
    """One line of a plot."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Interval:
    """An estimate with its lower and upper bound."""

    label: str
    low: float
    middle: float
    high: float


class Report:
    """Collects sections in order and writes them as one HTML file."""

    def __init__(self, title: str, subtitle: str = "") -> None:
        self._title = title
        self._parts = [f"<h1>{escape(title)}</h1>"]
        if subtitle:
            self._parts.append(f'<p class="soft">{escape(subtitle)}</p>')

    def heading(self, text: str, level: int = 2) -> None:
        """Start a section; level 3 starts a part of one."""
        self._parts.append(f"<h{level}>{escape(text)}</h{level}>")

    def paragraph(self, text: str) -> None:
        """Add prose."""
        self._parts.append(f"<p>{escape(text)}</p>")

    def quote(self, text: str) -> None:
        """Add text as it stands, such as an example or a command."""
        self._parts.append(f"<pre>{escape(text)}</pre>")

    def numbers(self, values: Mapping[str, Cell]) -> None:
        """Add a row of headline figures."""
        cells = "".join(
            f"<div><dt>{escape(k)}</dt><dd>{escape(format_number(v))}</dd></div>" for k, v in values.items()
        )
        self._parts.append(f"<dl>{cells}</dl>")

    def table(self, header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
        """Add a table; numbers are set right."""
        body = list(rows)
        number = [
            bool(body) and all(row[at] is None or isinstance(row[at], (int, float)) for row in body)
            for at in range(len(header))
        ]
        mark = [' class="n"' if is_number else "" for is_number in number]
        lines = ["".join(f"<th{m}>{escape(text)}</th>" for m, text in zip(mark, header, strict=True))]
        lines += [
            "".join(f"<td{m}>{escape(format_number(c))}</td>" for m, c in zip(mark, row, strict=True)) for row in body
        ]
        self._parts.append("<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>")

    def lines(
        self, caption: str, series: Sequence[Series], *, x_label: str = "", y_label: str = "", y_log: bool = False
    ) -> None:
        """Add a line plot; points that are not finite, and on a logarithmic axis not positive, are left out."""
        drawn = [
            Series(s.name, [(x, y) for x, y in s.points if _drawable(x) and _drawable(y, log=y_log)]) for s in series
        ]
        points = [point for one in drawn for point in one.points]
        if not points:
            self._figure(caption, "", "nothing to show")
            return
        frame = _Frame(_extent(x for x, _ in points), _extent((y for _, y in points), log=y_log), y_log)
        parts = frame.axes(x_label, y_label)
        for number, one in enumerate(drawn):
            path = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in one.points)
            colour = f"var(--c{number % 6})"
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
            if len(one.points) == 1:
                x, y = one.points[0]
                parts.append(f'<circle cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="3" fill="{colour}"/>')
        self._figure(caption, _svg(_HEIGHT, parts), _legend([one.name for one in drawn]))

    def histogram(self, caption: str, edges: Sequence[float], counts: Sequence[int], *, x_label: str = "") -> None:
        """Add a histogram of `len(edges) - 1` bins, drawn equally wide and labelled by their edges."""
        top = max([*counts, 1])
        frame = _Frame((0.0, float(len(counts))), (0.0, float(top)), log=False)
        parts = frame.axes(x_label, "documents", x_ticks=False)
        every = max(1, len(edges) // 10)
        for at, count in enumerate(counts):
            x, y = frame.x(at), frame.y(count)
            size = f'width="{frame.x(at + 1) - x - 1:.1f}" height="{frame.y(0) - y:.1f}"'
            title = f"{format_number(edges[at])} to {format_number(edges[at + 1])}: {count}"
            parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" {size} fill="var(--c0)"><title>{title}</title></rect>')
        for at in range(0, len(edges), every):
            parts.append(_text(frame.x(at), _HEIGHT - _BOTTOM + 16, format_number(edges[at]), "middle"))
        self._figure(caption, _svg(_HEIGHT, parts), "")

    def bars(self, caption: str, values: Mapping[str, float], *, emphasis: str = "") -> None:
        """Add horizontal bars, one per label, in the given order; `emphasis` names the one set apart."""
        top = max([*values.values(), 0.0]) or 1.0
        scale = (_WIDTH - _LABEL_WIDTH - 90) / top
        parts = []
        for at, (label, value) in enumerate(values.items()):
            y = at * _ROW + 4
            width = max(value * scale, 1.0)
            colour = "var(--c2)" if label == emphasis else "var(--c0)"
            parts.append(_text(_LABEL_WIDTH - 8, y + 14, _short(label), "end"))
            parts.append(
                f'<rect x="{_LABEL_WIDTH}" y="{y}" width="{width:.1f}" height="{_ROW - 8}" rx="2" fill="{colour}"/>'
            )
            parts.append(_text(_LABEL_WIDTH + width + 6, y + 14, format_number(value), "start", "value"))
        self._figure(caption, _svg(len(values) * _ROW + 8, parts), "" if values else "nothing to show")

    def intervals(self, caption: str, intervals: Sequence[Interval], *, reference: float | None = None) -> None:
        """Add estimates with their intervals on one axis; `reference` draws a line, such as zero difference."""
        marks = [] if reference is None else [reference]
        if not intervals:
            self._figure(caption, "", "nothing to show")
            return
        low, high = _extent([*marks, *(v for i in intervals for v in (i.low, i.high))])
        scale = (_WIDTH - _LABEL_WIDTH - 90) / (high - low)
        height = len(intervals) * _ROW + 30
        parts = []
        for value in marks:
            x = _LABEL_WIDTH + (value - low) * scale
            parts.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height - 24}" class="grid" stroke-dasharray="4 3"/>'
            )
        for at, one in enumerate(intervals):
            y = at * _ROW + 14
            x1, x, x2 = (_LABEL_WIDTH + (value - low) * scale for value in (one.low, one.middle, one.high))
            parts.append(_text(_LABEL_WIDTH - 8, y + 4, _short(one.label), "end"))
            parts.append(f'<line x1="{x1:.1f}" x2="{x2:.1f}" y1="{y}" y2="{y}" stroke="var(--c0)" stroke-width="3"/>')
            parts.append(f'<circle cx="{x:.1f}" cy="{y}" r="5" fill="var(--c0)"/>')
            parts.append(_text(x2 + 10, y + 4, format_number(one.middle), "start", "value"))
        ticks = ((_LABEL_WIDTH + (tick - low) * scale, format_number(tick)) for tick in _ticks(low, high))
        parts += [_text(x, height - 6, text, "middle") for x, text in ticks]
        self._figure(caption, _svg(height, parts), "")

    def html(self) -> str:
        """Return the file."""
        head = f"{_HEAD}<title>{escape(self._title)}</title><style>{_CSS}</style></head>"
        return head + "<body>\n" + "\n".join(self._parts) + "\n</body></html>\n"

    def _figure(self, caption: str, drawing: str, below: str) -> None:
        note = f'<div class="soft">{below}</div>' if below else ""
        self._parts.append(f"<figure><figcaption>{escape(caption)}</figcaption>{drawing}{note}</figure>")


class _Frame:
    """The plot area and its scales."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float], log: bool) -> None:  # noqa: FBT001 - private
        self._x, self._log = x, log
        self._y = (math.log10(y[0]), math.log10(y[1])) if log else y

    def x(self, value: float) -> float:
        return _LEFT + (value - self._x[0]) / (self._x[1] - self._x[0]) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        value = math.log10(value) if self._log else value
        return _HEIGHT - _BOTTOM - (value - self._y[0]) / (self._y[1] - self._y[0]) * (_HEIGHT - _TOP - _BOTTOM)

    def axes(self, x_label: str, y_label: str, *, x_ticks: bool = True) -> list[str]:
        parts = []
        for tick in _ticks(*self._y):
            value = 10**tick if self._log else tick
            y = self.y(value)
            parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
            parts.append(_text(_LEFT - 8, y + 4, format_number(value), "end"))
        if x_ticks:
            ticks = _ticks(*self._x)
            parts += [_text(self.x(tick), _HEIGHT - _BOTTOM + 16, format_number(tick), "middle") for tick in ticks]
        parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8, x_label, "middle"))
        parts.append(_text(_LEFT, _TOP - 4, y_label, "start"))
        return parts


def format_number(value: Cell) -> str:
    """Return a value as people read it: 12,345 and 0.0123; text stays as it is."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e12):
        return f"{int(value):,}"
    if not math.isfinite(value):
        return str(value)
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def _drawable(value: float, *, log: bool = False) -> bool:
    return math.isfinite(value) and (not log or value > 0)


def _extent(values: Iterable[float], *, log: bool = False) -> tuple[float, float]:
    """Return the range of values, never of width zero."""
    found = list(values)
    low, high = min(found), max(found)
    if low == high:
        return (low / 2, high * 2) if log else (low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2)
    return low, high


def _ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Return about `wanted` round numbers between two."""
    step = 10 ** math.floor(math.log10((high - low) / wanted))
    step *= next((factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= wanted), 10)
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 12) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _svg(height: float, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height:g}" role="img">{"".join(parts)}</svg>'


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    mark = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{mark}>{escape(text)}</text>'


def _short(label: str) -> str:
    return label if len(label) <= 30 else label[:29] + "…"


def _legend(names: Sequence[str]) -> str:
    return " ".join(f'<span style="color:var(--c{at % 6})">■</span> {escape(name)}' for at, name in enumerate(names))
