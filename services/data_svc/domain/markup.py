"""Light readers of structured text: mail-like headers, reStructuredText, JSON records, notebooks.

They keep what people read and the `Key: value` lines that facts come from; nothing is ever included or executed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["headers_to_text", "notebook_to_markdown", "record_to_text", "rst_to_markdown"]

_HEADER = re.compile(r"^([A-Za-z][A-Za-z0-9-]*): ?(.*)$")
_ADORNMENT = re.compile(r"^([=\-~^\"'`#*+.:_<>])\1{2,}$")
_DIRECTIVE = re.compile(r"^(\s*)\.\. +(?:\|[^|]+\| +)?([A-Za-z][\w-]*)::\s*(.*)$")
_EXPLICIT = re.compile(r"^\s*\.\. ")
_DROPPED = {
    "image",
    "figure",
    "contents",
    "toctree",
    "include",
    "raw",
    "sectnum",
    "meta",
    "highlight",
    "testsetup",
    "only",
}
_CODE = {"code", "code-block", "sourcecode", "testcode", "parsed-literal", "prompt"}
_INLINE = (
    (re.compile(r":[\w.:+-]+:`~?([^`<]+?)(?: *<[^`>]*>)?`"), r"\1"),
    (re.compile(r"``([^`\n]+)``"), r"`\1`"),
    (re.compile(r"`([^`<\n]+?)\s*<([^`>\s]+)>`__?"), r"[\1](\2)"),
    (re.compile(r"`([^`<\n]+)`__?"), r"\1"),
)
_LONG_VALUE = 200
_DEPTH_MAX = 20


def headers_to_text(text: str) -> str:
    """Return mail-like headers with folded lines joined and repeated keys in one line, then the body."""
    lines = text.replace("\r\n", "\n").split("\n")
    headers: dict[str, list[str]] = {}
    description: list[str] = []
    key = ""
    num_lines = 0
    for line in lines:
        found = _HEADER.match(line)
        if found:
            key = found.group(1)
            headers.setdefault(key, []).append(found.group(2).strip())
        elif line[:1] in {" ", "\t"} and key:
            if key == "Description":
                description.append(line.strip("|\t ") if "|" in line[:9] else line.removeprefix("        "))
        else:
            break
        num_lines += 1
    body = "\n".join([*description, *lines[num_lines:]])
    if "rst" in "".join(headers.get("Description-Content-Type", [])):
        body = rst_to_markdown(body)
    top = [f"{key}: {', '.join(value for value in values if value)}" for key, values in headers.items()]
    return "\n".join(line for line in top if not line.endswith(": ")) + "\n\n" + body


def rst_to_markdown(text: str) -> str:
    """Return reStructuredText as Markdown: headings, code, links and plain prose; directives lose their markup."""
    lines = text.replace("\r\n", "\n").expandtabs(8).split("\n")
    levels: list[str] = []
    out: list[str] = []
    at = 0
    while at < len(lines):
        line = lines[at]
        title, used, style = _title(lines, at)
        directive = _DIRECTIVE.match(line)
        if title:
            if style not in levels:
                levels.append(style)
            out.append("#" * min(levels.index(style) + 1, 6) + " " + title)
            at += used
        elif directive:
            block, at = _block(lines, at + 1, len(directive.group(1)))
            out.extend(_directive(directive.group(2), directive.group(3), block))
        elif _EXPLICIT.match(line) or line.strip() == "..":  # comments, link targets, footnotes
            _, at = _block(lines, at + 1, len(line) - len(line.lstrip()))
        else:
            out.append(_inline(line))
            at += 1
    return "\n".join(out)


def _title(lines: Sequence[str], at: int) -> tuple[str, int, str]:
    """Return the title at a line, the lines it takes and its adornment; nothing if there is none."""
    line = lines[at]
    after = lines[at + 1] if at + 1 < len(lines) else ""
    if _ADORNMENT.match(line) and at + 2 < len(lines) and lines[at + 2] == line and after.strip():
        return after.strip(), 3, line[0] * 2
    under = _ADORNMENT.match(after.rstrip())
    if under and line.strip() and line[0] != " " and len(after.rstrip()) >= len(line.rstrip()) - 2:
        return line.strip(), 2, after[0]
    return "", 0, ""


def _block(lines: Sequence[str], at: int, indent: int) -> tuple[list[str], int]:
    """Return the lines that are indented deeper, without the indentation, and where they end."""
    start = at
    while at < len(lines) and (not lines[at].strip() or len(lines[at]) - len(lines[at].lstrip()) > indent):
        at += 1
    block = list(lines[start:at])
    depth = min((len(line) - len(line.lstrip()) for line in block if line.strip()), default=0)
    return [line[depth:] for line in block], at


def _directive(name: str, argument: str, block: list[str]) -> list[str]:
    if name in _DROPPED:
        return [""]
    while block and (not block[0].strip() or re.match(r":[\w-]+:", block[0])):
        block = block[1:]
    if name in _CODE:
        return ["", f"```{argument}", *block, "```", ""]
    label = f"{name.capitalize()}: {argument}".rstrip(": ") + ":" if argument or name != "rubric" else ""
    return ["", label, *map(_inline, block), ""]


def _inline(line: str) -> str:
    if "`" in line:
        for pattern, replacement in _INLINE:
            line = pattern.sub(replacement, line)
    return line[:-1] if line.endswith("::") else line


def record_to_text(value: Any) -> str:
    """Return a JSON value as headings, `Key: value` lines and paragraphs."""
    return "\n".join(_record_lines("", value, 1)).strip()


def _record_lines(key: str, value: Any, depth: int) -> list[str]:
    label = (key.capitalize() if key.isupper() else key).replace("_", " ").strip()
    if depth > _DEPTH_MAX or value is None or value in ("", [], {}):
        return []
    if isinstance(value, Mapping):
        lines = ["", "#" * min(depth, 6) + " " + label, ""] if label else []
        for name, item in value.items():
            lines += _record_lines(str(name), item, depth + 1)
        return lines
    if isinstance(value, list):
        return _list_lines(key, label, value, depth)
    text = str(value).strip()
    if len(text) < _LONG_VALUE and label:
        return [f"{label}: {text}"]
    return ["", *([f"{label}:", ""] if label else []), text, ""]


def _list_lines(key: str, label: str, items: Sequence[Any], depth: int) -> list[str]:
    if all(isinstance(item, list) and len(item) == 2 and all(isinstance(x, str) for x in item) for item in items):
        return ["", f"{label}:", "", *(f"{speaker}: {said}" for speaker, said in items), ""]
    if any(isinstance(item, (list, Mapping)) for item in items):
        return [line for item in items for line in _record_lines(key, item, depth)]
    texts = [str(item) for item in items]
    if sum(map(len, texts)) < _LONG_VALUE:
        return [f"{label}: {', '.join(texts)}" if label else ", ".join(texts)]
    return ["", *([f"{label}:", ""] if label else []), *(line for text in texts for line in (text, ""))]


def notebook_to_markdown(notebook: Mapping[str, Any]) -> str:
    """Return the cells of a Jupyter notebook: prose as it is, code in fences; outputs are dropped.

    Source: nbformat 4; the `worksheets` of version 3.
    """
    metadata = notebook.get("metadata", {})
    language = metadata.get("kernelspec", {}).get("language") or metadata.get("language_info", {}).get("name", "")
    cells = notebook.get("cells") or [cell for sheet in notebook["worksheets"] for cell in sheet["cells"]]
    blocks = []
    for cell in cells:
        source = cell.get("source", cell.get("input", ""))
        text = (source if isinstance(source, str) else "".join(source)).strip("\n")
        if cell.get("cell_type") == "code" and text.strip():
            ticks = max((len(run) for run in re.findall("`{3,}", text)), default=2) + 1
            text = f"{'`' * ticks}{language}\n{text}\n{'`' * ticks}"
        blocks.append(text)
    return "\n\n".join(block for block in blocks if block.strip())
