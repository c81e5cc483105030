"""Chat templates, rendered in a sandbox exactly as transformers renders them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

import jinja2
import jinja2.ext
import jinja2.meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from bessemer.kernel.errors import InvalidRequest

__all__ = ["ChatTemplate", "Message"]

# A chat message: `role`, `content`, and whatever else the template reads.
Message = Mapping[str, Any]


class _Generation(jinja2.ext.Extension):
    """Lets `{% generation %}` blocks of newer templates pass through."""

    tags = {"generation"}  # noqa: RUF012 - the name and type jinja2 wants

    def parse(self, parser: Any) -> Any:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class ChatTemplate:
    """A compiled template with the special tokens it may name; `reads_tools` if it can tell the model of tools."""

    def __init__(self, source: str, special_tokens: Mapping[str, str]) -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
        )
        environment.filters["tojson"] = _tojson
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = lambda form: datetime.now().astimezone().strftime(form)
        self.source = source
        self._special_tokens = dict(special_tokens)
        self.source = source
        try:
            self._template = environment.from_string(source)
            self.reads_tools = "tools" in jinja2.meta.find_undeclared_variables(environment.parse(source))
        except jinja2.TemplateError as error:
            raise InvalidRequest(f"the chat template does not compile: {error}", reason="SOURCE_INVALID") from None

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool, tools: Sequence[Message] = ()) -> str:
        """Return the conversation as text.

        Raises: InvalidRequest if the template refuses the conversation, or fails in whatever way it was written to.
        """
        try:
            return self._template.render(
                messages=list(messages),
                tools=list(tools) or None,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                **self._special_tokens,
            )
        except Exception as error:  # noqa: BLE001 - a template is a program of somebody else
            raise InvalidRequest(f"the chat template refuses these messages: {error}", field="messages") from None

    def assistant_spans(
        self, messages: Sequence[Message], end_marks: Sequence[str]
    ) -> tuple[str, list[tuple[int, int]]]:
        """Return the text and the character ranges that the assistant has to produce, end-of-turn mark included.

        Raises: InvalidRequest if the template rewrites earlier turns when later ones are added.
        """
        text = self.render(messages, add_generation_prompt=False)
        spans = []
        for i, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            before = self.render(messages[:i], add_generation_prompt=True)
            after = self.render(messages[: i + 1], add_generation_prompt=False)
            if not (text.startswith(after) and after.startswith(before)):
                raise InvalidRequest(
                    f"the chat template does not render message {i} the same in every prefix of the conversation, "
                    "so its tokens cannot be told apart; split the conversation before it",
                    field=f"messages[{i}]",
                )
            ends = [after.rfind(mark, len(before)) + len(mark) for mark in end_marks if mark in after[len(before) :]]
            spans.append((len(before), max(ends, default=len(after))))
        return text, spans


def _tojson(value: Any, indent: int | None = None, **_options: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)
