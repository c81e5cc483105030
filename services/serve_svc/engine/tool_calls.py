"""Reads calls of tools out of an answer while it is written.

Text goes on as text, calls come as their parts become certain: the name first, then the arguments as they are written.
What only looks like a call, or names a tool that was not offered, stays text. Standard library only.
"""

from __future__ import annotations

import json
import re
import secrets
import string
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

__all__ = ["CallDelta", "ToolCallReader", "new_call_id"]

_HEAD_MAX = 2048  # characters until which a call must have said its name
_HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\{)')
_LETTERS = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class CallDelta:
    """A piece of a call; `id` and `name` in the first piece only."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class _Syntax:
    """What opens calls, what may stand bare at the very beginning, what follows a call, what opens the next one."""

    open: tuple[str, ...]
    bare: str
    after: re.Pattern[str]
    more: str


_SYNTAX = {
    "hermes": _Syntax(("<tool_call>",), "", re.compile(r"\s*\}\s*</tool_call>"), ""),
    "mistral": _Syntax(("[TOOL_CALLS]",), "[", re.compile(r"\s*\}\s*[,\]]"), ","),
    "llama3": _Syntax(("<|python_tag|>",), "{", re.compile(r"\s*\}\s*;?"), ";"),
}


def new_call_id() -> str:
    """Return an id of nine letters and digits, the only form that every chat template takes."""
    return "".join(secrets.choice(_LETTERS) for _ in range(9))


class ToolCallReader:
    """Splits one answer into text and calls; with `single`, what follows the first call is dropped."""

    def __init__(
        self,
        tool_format: str,
        names: Collection[str],
        *,
        single: bool = False,
        new_id: Callable[[], str] = new_call_id,
    ) -> None:
        self._syntax = _SYNTAX[tool_format]
        self._names = frozenset(names)
        self._single = single
        self._new_id = new_id
        self._state = self._begin
        self._held = ""  # not looked at to its end
        self._opening = ""  # what opened the call that is being read, given back if it is none
        self._depth, self._quoted, self._escaped = 0, False, False
        self.num_calls = 0

    def push(self, text: str) -> tuple[str, list[CallDelta]]:
        """Take text and return what of it is text and what came of calls."""
        self._held += text
        return self._collect(last=False)

    def finish(self) -> tuple[str, list[CallDelta]]:
        """Return what was held back; call once, when no text follows."""
        return self._collect(last=True)

    def _collect(self, *, last: bool) -> tuple[str, list[CallDelta]]:
        texts, calls = [], []
        for part in self._parts(last=last):
            if isinstance(part, str):
                texts.append(part)
            else:
                calls.append(part)
        return "".join(texts), calls

    def _parts(self, *, last: bool) -> Iterator[str | CallDelta]:
        while True:
            state, held = self._state, self._held
            yield from state(last)
            if self._state == state and self._held == held:
                return

    def _begin(self, last: bool) -> Iterator[str | CallDelta]:  # noqa: FBT001 - a state
        """Nothing but white space so far: a bare call may begin here."""
        start = self._held.lstrip()
        if not last and (not start or any(mark.startswith(start) for mark in self._syntax.open)):
            return
        opened = start.startswith(self._syntax.open)
        if self._syntax.bare and start.startswith(self._syntax.bare) and not opened:
            white = len(self._held) - len(start)
            # A bracket opens the list, a brace is the call itself.
            size = white + (len(self._syntax.bare) if self._syntax.bare == "[" else 0)
            self._opening, self._held = self._held[:size], self._held[size:]
            self._state = self._head
        else:
            self._state = self._text
        yield from ()

    def _text(self, last: bool) -> Iterator[str | CallDelta]:  # noqa: FBT001 - a state
        found = [(at, mark) for mark in self._syntax.open if (at := self._held.find(mark)) >= 0]
        if found:
            at, mark = min(found)
            before, self._held = self._held[:at], self._held[at + len(mark) :]
            self._opening, self._state = mark, self._head
            if mark == "[TOOL_CALLS]":
                self._state = self._bracket
            yield before.rstrip()
            return
        size = 0 if last else max(_overlap(self._held, mark) for mark in self._syntax.open)
        # White space before a call is no text, so it waits for what follows.
        keep = len(self._held) - size
        keep = keep if last else len(self._held[:keep].rstrip())
        ready, self._held = self._held[:keep], self._held[keep:]
        yield ready

    def _bracket(self, last: bool) -> Iterator[str | CallDelta]:  # noqa: FBT001 - a state
        start = self._held.lstrip()
        if start:
            if start.startswith("["):
                self._held = start[1:]
            self._state = self._head
        elif last:
            self._state = self._text
        yield from ()

    def _head(self, last: bool) -> Iterator[str | CallDelta]:  # noqa: FBT001 - a state
        found = _HEAD.match(self._held)
        if found:
            name = _unquoted(found[1])
            if name in self._names:
                self._held = self._held[found.end() :]
                self._depth, self._quoted, self._escaped = 0, False, False
                self._state = self._arguments
                yield CallDelta(self.num_calls, self._new_id(), name)
                self.num_calls += 1
                return
        swapped = self._swapped()
        if swapped is not None:
            yield swapped
            return
        if found or last or len(self._held) > _HEAD_MAX or not _may_be_head(self._held):
            given, self._opening, self._state = self._opening, "", self._text
            yield given

    def _swapped(self) -> CallDelta | None:
        """Return a call that is complete and says its name last, or whose arguments are quoted."""
        try:
            value, end = json.JSONDecoder().raw_decode(self._held.lstrip())
        except ValueError:
            return None
        arguments = value.get("arguments", value.get("parameters", {})) if isinstance(value, dict) else None
        if arguments is None or value.get("name") not in self._names:
            return None
        white = len(self._held) - len(self._held.lstrip())
        self._held = "}" + self._held[white + end :]  # as if the arguments had just ended
        self._state = self._after
        text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        self.num_calls += 1
        return CallDelta(self.num_calls - 1, self._new_id(), value["name"], text)

    def _arguments(self, last: bool) -> Iterator[str | CallDelta]:  # noqa: ARG002, FBT001 - a state
        for index, letter in enumerate(self._held):
            if self._quoted:
                self._escaped, ends = letter == "\\" and not self._escaped, letter == '"' and not self._escaped
                self._quoted = not ends
            elif letter == '"':
                self._quoted = True
            elif letter in "{[":
                self._depth += 1
            elif letter in "}]":
                self._depth -= 1
                if self._depth == 0:
                    arguments, self._held = self._held[: index + 1], self._held[index + 1 :]
                    self._state = self._after
                    yield CallDelta(self.num_calls - 1, arguments=arguments)
                    return
        if self._held:
            arguments, self._held = self._held, ""
            yield CallDelta(self.num_calls - 1, arguments=arguments)

    def _after(self, last: bool) -> Iterator[str | CallDelta]:  # noqa: FBT001 - a state
        found = self._syntax.after.match(self._held)
        if self._single:
            self._state, self._held = self._nothing, ""
        elif found and self._syntax.more and (found[0].endswith(self._syntax.more)):
            self._held, self._opening, self._state = self._held[found.end() :], "", self._head
        elif found and (self._syntax.more != ";" or last or len(self._held) > found.end()):
            self._held, self._state = self._held[found.end() :], self._gap
        elif last or len(self._held) > _HEAD_MAX:
            self._held, self._state = "", self._text
        yield from ()

    def _gap(self, last: bool) -> Iterator[str | CallDelta]:  # noqa: FBT001 - a state
        """White space after a call is no text."""
        self._held = self._held.lstrip()
        if self._held or last:
            self._state = self._text
        yield from ()

    def _nothing(self, last: bool) -> Iterator[str | CallDelta]:  # noqa: ARG002, FBT001 - a state
        self._held = ""
        yield from ()


def _may_be_head(text: str) -> bool:
    start = text.lstrip()
    return not start or start.startswith("{")


def _unquoted(text: str) -> str:
    try:
        return str(json.loads(text))
    except ValueError:
        return ""


def _overlap(text: str, mark: str) -> int:
    """Return how many of the last characters of `text` begin `mark`."""
    return next((size for size in range(min(len(mark) - 1, len(text)), 0, -1) if text.endswith(mark[:size])), 0)
