"""Panels for reports that judge: lights, marked tables, waterfalls, small multiples, folded details.

    panels = Panels("Data assessment")
    panels.lights([Lamp("Fine-tuning", "RED", "no pairs", "1,000 more pairs would do")])

A light is `GREEN`, `AMBER`, `RED` or `UNSPECIFIED`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from bessemer.artifacts.report import Cell, Report, format_number

__all__ = ["Heat", "Lamp", "Mark", "Multiple", "Panels"]

_WIDTH, _LABEL, _ROW, _RIGHT = 720, 230, 26, 130
_SMALL_WIDTH, _SMALL_HEIGHT = 168, 64


@dataclass(frozen=True)
class Lamp:
    """A goal with its light, why, and what would change it."""

    title: str
    light: str
    why: str
    change: str


@dataclass(frozen=True)
class Mark:
    """A cell with a coloured word."""

    text: str
    light: str


@dataclass(frozen=True)
class Heat:
    """A cell whose background tells its size; `share` is 0 to 1. What is `plain` is neither good nor bad."""

    text: str
    share: float
    plain: bool = False


@dataclass(frozen=True)
class Multiple:
    """A small histogram; what lies outside `low` to `high` is set apart. Edges are one more than counts."""

    title: str
    edges: Sequence[float]
    counts: Sequence[int]
    low: float
    high: float
    note: str = ""


class Panels(Report):
    """A report with panels that judge."""

    def lights(self, lamps: Iterable[Lamp]) -> None:
        """Add one row per goal, its light in front."""
        rows = "".join(
            f'<div class="lamp"><span class="dot {escape(lamp.light)}" role="img" aria-label="{escape(lamp.light)}">'
            f"</span><div><b>{escape(lamp.title)}</b><p>{escape(lamp.why)}</p>"
            f'<p class="soft">{escape(lamp.change)}</p></div></div>'
            for lamp in lamps
        )
        self._parts.append(f'<div class="lamps">{rows}</div>')

    def marked_table(self, header: Sequence[str], rows: Iterable[Sequence[Cell | Mark | Heat]]) -> None:
        """Add a table whose cells may be marks or heat; numbers are set right."""
        body = list(rows)
        right = [
            bool(body) and all(isinstance(row[at], (int, float, Heat, type(None))) for row in body)
            for at in range(len(header))
        ]
        head = "".join(
            f"<th{' class=n' if n else ''}>{escape(text)}</th>" for n, text in zip(right, header, strict=True)
        )
        lines = ["".join(_cell(cell, right=n) for n, cell in zip(right, row, strict=True)) for row in body]
        self._parts.append(f"<table><tr>{head}</tr>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>")

    def waterfall(
        self, caption: str, start: tuple[str, float], steps: Mapping[str, float], ends: Sequence[str]
    ) -> None:
        """Add bars from a start down to an end; a step named in `ends` is a subtotal, its value what is left."""
        top = max(start[1], 1e-9)
        scale = (_WIDTH - _LABEL - _RIGHT) / top
        parts = [self._bar(0, start[0], 0.0, start[1] * scale, (format_number(round(start[1])), "var(--c0)"))]
        left = start[1]
        for number, (label, value) in enumerate(steps.items(), 1):
            if label in ends:
                left = value
                shown, first = (f"{format_number(round(value))} ({value / top:.0%})", "var(--c2)"), 0.0
            else:
                left -= value
                shown, first = (f"- {format_number(round(value))}", "var(--c1)"), left * scale
            parts.append(self._bar(number, label, first, value * scale, shown))
        self._figure(
            caption, f'<svg viewBox="0 0 {_WIDTH} {len(parts) * _ROW + 8}" role="img">{"".join(parts)}</svg>', ""
        )

    def multiples(self, multiples: Iterable[Multiple]) -> None:
        """Add small histograms side by side."""
        self._parts.append('<div class="multiples">' + "".join(map(_small, multiples)) + "</div>")

    def fold(self, title: str) -> None:
        """Start what is folded away until somebody opens it; ends with `unfold`."""
        self._parts.append(f"<details><summary>{escape(title)}</summary>")

    def unfold(self) -> None:
        """End what is folded away."""
        self._parts.append("</details>")

    def points(self, items: Iterable[Cell | Mark | tuple[Mark, str]]) -> None:
        """Add a list; an item may begin with a mark."""
        lines = []
        for item in items:
            mark, text = item if isinstance(item, tuple) else (None, item)
            front = f"{_mark(mark)} " if mark else ""
            lines.append(f"<li>{front}{_mark(text) if isinstance(text, Mark) else escape(format_number(text))}</li>")
        self._parts.append(f"<ul>{''.join(lines)}</ul>")

    @staticmethod
    def _bar(number: int, label: str, first: float, width: float, shown: tuple[str, str]) -> str:
        y = number * _ROW + 4
        text, colour = shown
        end = _LABEL + first + max(width, 1.5)
        return (
            f'<text x="{_LABEL - 8}" y="{y + 14}" text-anchor="end">{escape(label)}</text>'
            f'<rect x="{_LABEL + first:.1f}" y="{y}" width="{max(width, 1.5):.1f}" height="{_ROW - 8}" rx="2" '
            f'fill="{colour}"/><text x="{end + 6:.1f}" y="{y + 14}" class="value">{escape(text)}</text>'
        )


def _cell(cell: Cell | Mark | Heat, *, right: bool) -> str:
    number = ' class="n"' if right else ""
    if isinstance(cell, Heat):
        strength = round(100 * min(max(cell.share, 0.0), 1.0) ** 0.5 * 0.7)
        colour = "var(--c0)" if cell.plain else "var(--c1)"
        return (
            f'<td class="n heat" style="background:color-mix(in srgb, {colour} {strength}%, transparent)">'
            f"{escape(cell.text)}</td>"
        )
    return f"<td{number}>{_mark(cell) if isinstance(cell, Mark) else escape(format_number(cell))}</td>"


def _mark(mark: Mark) -> str:
    return f'<span class="mark {escape(mark.light)}">{escape(mark.text)}</span>'


def _small(multiple: Multiple) -> str:
    top = max([*multiple.counts, 1])
    width = _SMALL_WIDTH / max(len(multiple.counts), 1)
    parts = []
    for at, count in enumerate(multiple.counts):
        low, high = multiple.edges[at], multiple.edges[at + 1]
        outside = high <= multiple.low or low >= multiple.high
        height = max(count / top * (_SMALL_HEIGHT - 4), 1.0 if count else 0.0)
        colour = "var(--c1)" if outside else "var(--c0)"
        parts.append(
            f'<rect x="{at * width:.1f}" y="{_SMALL_HEIGHT - height:.1f}" width="{max(width - 1, 0.5):.1f}" '
            f'height="{height:.1f}" fill="{colour}"><title>{format_number(low)} to {format_number(high)}: {count}'
            f"</title></rect>"
        )
    for bound in (multiple.low, multiple.high):
        place = _place(bound, multiple.edges)
        if place is not None:
            x = place * width
            parts.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{_SMALL_HEIGHT}" class="bound" stroke-dasharray="3 2"/>'
            )
    y = _SMALL_HEIGHT + 13
    first, last = format_number(multiple.edges[0]), format_number(multiple.edges[-1])
    ends = f'<text x="0" y="{y}">{first}</text><text x="{_SMALL_WIDTH}" y="{y}" text-anchor="end">{last}</text>'
    drawing = f'<svg viewBox="0 0 {_SMALL_WIDTH} {_SMALL_HEIGHT + 16}" role="img">{"".join(parts)}{ends}</svg>'
    note = f'<div class="soft">{escape(multiple.note)}</div>' if multiple.note else ""
    return f"<figure><figcaption>{escape(multiple.title)}</figcaption>{drawing}{note}</figure>"


def _place(bound: float, edges: Sequence[float]) -> float | None:
    """Return where a bound lies among bins of equal width; None outside."""
    for at in range(len(edges) - 1):
        if edges[at] <= bound <= edges[at + 1]:
            return at + (bound - edges[at]) / (edges[at + 1] - edges[at])
    return None
