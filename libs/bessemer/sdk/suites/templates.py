"""Templates of lm-evaluation-harness tasks, in a sandbox without attributes of Python's own."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

from bessemer.kernel.errors import FailedPrecondition, InvalidRequest

__all__ = ["Templates"]


class Templates:
    """Fills in fields of a task: the name of a column, or a Jinja template over the columns."""

    def __init__(self) -> None:
        try:
            from jinja2 import StrictUndefined, TemplateError
            from jinja2.sandbox import ImmutableSandboxedEnvironment
        except ImportError as error:
            raise FailedPrecondition(
                "tasks need Jinja; install it with: pip install 'bessemer[evaluation]'", reason="FIELD_INVALID"
            ) from error
        self._error = TemplateError
        self._environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
        self._environment.filters["regex_replace"] = _regex_replace
        self._compiled: dict[str, Any] = {}

    def text(self, field: str, template: str, row: Mapping[str, Any]) -> Any:
        """Return the column of that name, or the filled-in template.

        Raises: InvalidRequest naming the field.
        """
        if template in row:
            return row[template]
        try:
            if template not in self._compiled:
                self._compiled[template] = self._environment.from_string(template)
            return self._compiled[template].render(**row)
        except (self._error, TypeError, ValueError, ArithmeticError, LookupError, re.error, RecursionError) as error:
            raise InvalidRequest(f"{field} cannot be filled in: {error}", field=field) from error

    def value(self, field: str, template: str, row: Mapping[str, Any]) -> Any:
        """Return the column of that name, or the Python literal that the filled-in template is.

        Raises: InvalidRequest naming the field.
        """
        if template in row:
            return row[template]
        text = self.text(field, template, row)
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
            raise InvalidRequest(f"{field} must give a list; got {text[:80]!r}", field=field) from error


def _regex_replace(text: str, pattern: str, replacement: str, count: int = 0) -> str:
    return re.sub(pattern, replacement, text, count=count)
