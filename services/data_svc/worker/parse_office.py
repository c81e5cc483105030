"""Word documents and slides as Markdown: headings, paragraphs, lists, tables and speaker notes.

Source: ECMA-376 part 1, chapters 17 (w:), 19 (p:) and 21 (a:); Word and PowerPoint name their text alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from data_svc.domain.tables import table
from data_svc.worker.office_files import Event, open_package

__all__ = ["read_docx", "read_pptx"]

_BREAKS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_SKIPPED = {"Fallback", "moveFrom"}  # a second copy of the same text
_NO_TEXT = {"sldNum", "sldImg", "dt", "ftr", "hdr"}  # placeholders of slides that say nothing of their own
_LEVEL_MAX = 6


def read_docx(file: Path) -> str:
    """Return a Word document as Markdown.

    Raises: as `open_package` and `Package.events`.
    """
    with open_package(file) as package:
        blocks = _Flow(_styles(package.events("word/styles.xml"))).read(package.events("word/document.xml"))
    return "\n\n".join(blocks)


def read_pptx(file: Path) -> str:
    """Return slides as Markdown, in their order: title, text, tables, then the notes.

    Raises: as `open_package` and `Package.events`.
    """
    slides = []
    with open_package(file) as package:
        related = package.related("ppt/presentation.xml")
        order = [event.get("id") for event in package.events("ppt/presentation.xml") if event.name == "sldId"]
        for number, path in enumerate((related[key][1] for key in order if key in related), 1):
            flow = _Flow({})
            blocks = flow.read(package.events(path))
            title = flow.title or f"Slide {number}"
            for kind, notes in package.related(path).values():
                if kind == "notesSlide" and (said := _Flow({}).read(package.events(notes))):
                    blocks.append("Notes: " + "\n\n".join(said))
            slides.append("\n\n".join([f"## {title}", *blocks]))
    return "\n\n".join(slides)


def _styles(events: Iterable[Event]) -> dict[str, int]:
    """Return the heading level of each paragraph style that has one, and 0 for styles of lists.

    The names of styles are in the language of the program that wrote them, and tell nothing.
    """
    levels: dict[str, int] = {}
    style = ""
    for event in events:
        if event.kind != "start":
            continue
        if event.name == "style":
            style = event.get("styleId")
        elif event.name == "numPr":
            levels.setdefault(style, 0)
        elif event.name == "outlineLvl" and event.get("val").isdecimal() and int(event.get("val")) < _LEVEL_MAX:
            levels[style] = int(event.get("val")) + 1
        elif event.name == "name" and event.get("val").lower() == "title":
            levels[style] = 1
    return levels


class _Flow:
    """Blocks of text out of the events of one part."""

    def __init__(self, levels: Mapping[str, int]) -> None:
        self.title = ""
        self._levels = levels
        self._blocks: list[str] = []
        self._text: list[str] = []
        self._prefix = ""
        self._shape = ""  # kind of the placeholder that we are in
        self._rows: list[list[list[str]]] = []  # of the outermost table: rows of cells of paragraphs
        self._num_tables = self._num_skipped = 0
        self._in_text = False

    def read(self, events: Iterator[Event]) -> list[str]:
        """Return the blocks, in the order of the file."""
        for event in events:
            if event.kind == "text":
                if self._in_text:
                    self._text.append(event.name)
            elif event.name in _SKIPPED:
                self._num_skipped += 1 if event.kind == "start" else -1
            elif event.kind == "start" and not self._num_skipped:
                self._start(event)
            elif not self._num_skipped:
                self._end(event.name)
        self._end_paragraph()
        return self._blocks

    def _start(self, event: Event) -> None:
        name = event.name
        if name == "t":
            self._in_text = True
        elif name in _BREAKS:
            self._text.append(_BREAKS[name])
        elif name == "p":
            self._end_paragraph()
        elif name in {"sp", "graphicFrame"}:
            self._shape = ""
        elif name == "ph":
            self._shape = event.get("type") or "body"
        elif name == "tbl":
            self._num_tables += 1
        elif name == "tr" and self._num_tables == 1:
            self._rows.append([])
        elif name == "tc" and self._num_tables == 1 and self._rows:
            self._rows[-1].append([])
        else:
            self._start_style(event)

    def _start_style(self, event: Event) -> None:
        name = event.name
        if name == "pStyle":
            level = self._levels.get(event.get("val"), _level_of(event.get("val")))
            self._prefix = "" if level is None else "#" * level + " " if level else "- "
        elif name in {"ilvl", "pPr"}:
            value = event.get("val") if name == "ilvl" else event.get("lvl")
            depth = min(int(value), 8) if value.isdecimal() else -1
            if depth >= (0 if name == "ilvl" else 1) and not self._prefix.startswith("#"):
                self._prefix = "  " * (depth if name == "ilvl" else depth - 1) + "- "

    def _end(self, name: str) -> None:
        if name == "t":
            self._in_text = False
        elif name == "p":
            self._end_paragraph()
        elif name == "tbl":
            self._num_tables -= 1
            if not self._num_tables:
                rows = [dict(enumerate(" ".join(cell) for cell in row)) for row in self._rows]
                self._blocks.append(table(rows) if rows else "")
                self._rows = []

    def _end_paragraph(self) -> None:
        text = "".join(self._text).strip()
        prefix, self._prefix, self._text = self._prefix, "", []
        if not text or self._shape in _NO_TEXT:
            return
        if self._num_tables:
            if self._rows and self._rows[-1]:
                self._rows[-1][-1].append(text)
        elif self._shape in {"title", "ctrTitle"}:
            self.title = f"{self.title} {' '.join(text.split())}".strip()
        elif prefix.lstrip().startswith("- ") and self._blocks and self._blocks[-1].lstrip().startswith("- "):
            self._blocks[-1] += f"\n{prefix}{text}"
        else:
            self._blocks.append(prefix + text)


def _level_of(style: str) -> int | None:
    """Return the level of a style that is named as Word names its own, None if it is none of them."""
    name = style.lower()
    level = name.removeprefix("heading")
    return 1 if name == "title" else int(level) if name != level and level in {*"123456"} else None
