"""Recipe files: TOML that holds exactly one message of the contract."""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message

from bessemer.kernel.errors import InvalidRequest

__all__ = ["parse_recipe"]

M = TypeVar("M", bound=Message)


def parse_recipe(kind: type[M], path: Path | None, settings: Sequence[str] = ()) -> M:
    """Return the message that a TOML file and `key.path=value` settings describe; settings win.

    Raises: InvalidRequest naming the file's line or the key, with the nearest known key for an unknown one.
    """
    table: dict[str, Any] = {}
    if path is not None:
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InvalidRequest(f"cannot read recipe {path}: {error}", field="recipe") from error
    for setting in settings:
        _apply(table, setting)
    _check(table, kind.DESCRIPTOR, "")
    try:
        return json_format.ParseDict(table, kind())
    except json_format.ParseError as error:
        raise InvalidRequest(f"recipe: {error}", field="recipe") from error


def _apply(table: dict[str, Any], setting: str) -> None:
    key, equals, text = setting.partition("=")
    if not equals or not key.strip():
        raise InvalidRequest(f"a setting looks like key=value; got {setting!r}", field="set")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *parents, leaf = key.strip().split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise InvalidRequest(f"{parent} is not a table in {setting!r}", field="set")
    table[leaf] = value


def _check(table: Mapping[str, Any], descriptor: Any, prefix: str) -> None:
    fields = descriptor.fields_by_name
    for key, value in table.items():
        path = f"{prefix}{key}"
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"known here: {', '.join(fields)}"
            raise InvalidRequest(f"unknown recipe key {path}; {hint}", field=path)
        if isinstance(value, float) and not math.isfinite(value):
            raise InvalidRequest(f"{path} must be a finite number; got {value}", field=path)
        nested = fields[key].message_type
        if isinstance(value, Mapping) and nested is not None:
            _check(value, nested, f"{path}.")
