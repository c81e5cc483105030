"""Calls of tools: how models write them, how they are read while they are written, and what forces one.

Three ways of writing are known, told apart by the chat template: Hermes and Qwen between `<tool_call>` tags, Mistral
as a list after `[TOOL_CALLS]`, Llama 3 as one bare object. A template that knows no tools gets them described in the
system message, in the first of these ways. Standard library only, because the server imports it too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from serve_svc.engine.protocol import Tool, Turn

__all__ = [
    "FORMATS",
    "JSON_STYLE",
    "MARKERS",
    "ToolFormat",
    "described",
    "format_of",
    "grammar",
    "parameters",
    "schemas",
    "to_messages",
]


@dataclass(frozen=True, slots=True)
class ToolFormat:
    """How calls are written: `open`, then each between `before` and `after`, `joint` in between, then `close`.

    Without a `joint` an answer holds one call at most.
    """

    open: str
    before: str
    after: str
    joint: str
    close: str
    arguments: str = "arguments"


FORMATS: Mapping[str, ToolFormat] = {
    "hermes": ToolFormat(open="", before="<tool_call>\n", after="\n</tool_call>", joint="\n", close=""),
    "mistral": ToolFormat(open="[TOOL_CALLS][", before="", after="", joint=", ", close="]"),
    "llama3": ToolFormat(open="", before="", after="", joint="", close="", arguments="parameters"),
}
# On one line, a space after each colon and comma: white space that a model may put anywhere is white space that a weak
# model never stops putting.
JSON_STYLE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
# Tokens that begin calls, special ones in some vocabularies: they must survive decoding.
MARKERS = ("<tool_call>", "</tool_call>", "[TOOL_CALLS]", "<|python_tag|>")


def format_of(template: str) -> str:
    """Return the name of the format that a chat template teaches."""
    if "[TOOL_CALLS]" in template:
        return "mistral"
    if "<tool_call>" not in template and "ipython" in template and '"parameters"' in template:
        return "llama3"
    return "hermes"


def parameters(tool: Tool) -> str:
    """Return the schema of a tool's arguments, which are an object."""
    return json.dumps({"type": "object"} | json.loads(tool.parameters) | {"x-guidance": JSON_STYLE})


def schemas(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """Return tools as chat templates read them."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": json.loads(tool.parameters),
            },
        }
        for tool in tools
    ]


def to_messages(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """Return turns as chat templates read them."""
    messages = []
    for turn in turns:
        message: dict[str, Any] = {"role": turn.role, "content": turn.content}
        if turn.tool_calls:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": _parsed(call.arguments)},
                }
                for call in turn.tool_calls
            ]
        if turn.role == "tool":
            message |= {"tool_call_id": turn.tool_call_id, "name": turn.name}
        messages.append(message)
    return messages


def described(turns: Sequence[Turn], tools: Sequence[Tool]) -> list[Turn]:
    """Return the conversation with its tools, calls and results written out, for a template that knows none."""
    plain: list[Turn] = []
    for turn in turns:
        if turn.role == "tool":
            result = f"<tool_response>\n{turn.content}\n</tool_response>"
            if plain and plain[-1].role == "user" and plain[-1].content.endswith("</tool_response>"):
                plain[-1] = replace(plain[-1], content=f"{plain[-1].content}\n{result}")
            else:
                plain.append(Turn("user", result))
        elif turn.tool_calls:
            calls = [
                "<tool_call>\n" + _text({"name": call.name, "arguments": _parsed(call.arguments)}) + "\n</tool_call>"
                for call in turn.tool_calls
            ]
            plain.append(Turn(turn.role, "\n".join([turn.content, *calls] if turn.content else calls)))
        else:
            plain.append(turn)
    if not tools:
        return plain
    system = plain.pop(0).content + "\n\n" if plain and plain[0].role == "system" else ""
    listed = "\n".join(map(_text, schemas(tools)))
    return [Turn("system", system + _EXPLANATION.format(tools=listed)), *plain]


_EXPLANATION = """# Tools

You can call these functions, whose signatures stand between <tools> tags:
<tools>
{tools}
</tools>

To call one, write its name and arguments as a JSON object between <tool_call> tags:
<tool_call>
{{"name": "the function", "arguments": {{"its": "arguments"}}}}
</tool_call>"""


def grammar(
    tool_format: str, tools: Sequence[Tool], *, parallel: bool, optional: bool, marker_ids: Mapping[str, int]
) -> str:
    """Return a Lark grammar of answers that call one of the tools, or more if `parallel`, by their schemas.

    If `optional`, any text may come instead of calls or before them. `marker_ids` are the markers that are special
    tokens of the vocabulary. Source: the syntax of llguidance's Lark, its `%json` and its lazy lexemes.
    """
    form = FORMATS[tool_format]
    names = [f"call_{index}" for index in range(len(tools))]
    rules = []
    for name, tool in zip(names, tools, strict=True):
        head = json.dumps('{"name": ' + _text(tool.name) + f', "{form.arguments}": ')
        rules.append(f'{name}: {head} {name}_arguments "}}"\n{name}_arguments: %json {parameters(tool)}')
    first = " ".join(filter(None, ("body", _piece(form.after, marker_ids))))
    more = f"({json.dumps(form.joint)} call)*" if parallel and form.joint else ""
    rest = " ".join(filter(None, (first, more, _piece(form.close, marker_ids))))
    opening = form.open + form.before
    start = _optional(opening, rest, marker_ids) if optional else f"start: {_piece(opening, marker_ids)} {rest}"
    call = f"call: {_piece(form.before, marker_ids)} {first}"
    return "\n".join([start, call, f"body: {' | '.join(names)}", *rules])


def _optional(opening: str, rest: str, marker_ids: Mapping[str, int]) -> str:
    """Return the rules of any text, in which nothing but calls may follow once they have begun."""
    marker = next((mark for mark in MARKERS if opening.startswith(mark)), None)
    if marker is None:  # a brace at the very beginning is what begins a call
        return f"start: TEXT | {rest}\nTEXT: /([^{{](.|\\n)*)?/"
    lazy = "" if marker in marker_ids else "[lazy]"
    after = _piece(opening.removeprefix(marker), marker_ids)
    opened = f"opened{lazy}: TEXT {_piece(marker, marker_ids)}"
    return f"start: TEXT | opened {after} {rest}\n{opened}\nTEXT: /(.|\\n)*/"


def _piece(text: str, marker_ids: Mapping[str, int]) -> str:
    """Return Lark for a text of which markers may be tokens of their own."""
    for marker, token_id in marker_ids.items():
        before, found, after = text.partition(marker)
        if found:
            sides = (_piece(before, marker_ids), f"<[{token_id}]>", _piece(after, marker_ids))
            return " ".join(filter(None, sides))
    return json.dumps(text) if text else ""


def _parsed(arguments: str) -> Any:
    """Return arguments as templates want them; what is no JSON stays the text it was."""
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
