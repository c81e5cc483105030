"""Makes dataclasses of what `json.loads` returns, by the types of their fields."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Mapping
from functools import cache
from types import UnionType
from typing import Any

__all__ = ["revive"]


def revive(cls: type[Any], values: Mapping[str, Any]) -> Any:
    """Return an instance of a dataclass whose fields hold JSON, dataclasses, or tuples of either."""
    readers = _readers(cls)  # type: ignore[arg-type] # classes are hashable
    return cls(**{key: reader(value) if (reader := readers[key]) else value for key, value in values.items()})


@cache
def _readers(cls: Any) -> Mapping[str, Callable[[Any], Any] | None]:
    hints = typing.get_type_hints(cls)
    return {entry.name: _reader(hints[entry.name]) for entry in dataclasses.fields(cls)}


def _reader(hint: Any) -> Callable[[Any], Any] | None:
    """Return what makes a value of a field from its JSON; None if it is one already."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return lambda value: revive(hint, value)
    arguments = typing.get_args(hint)
    if isinstance(hint, UnionType):
        (inner,) = (_reader(argument) for argument in arguments if argument is not type(None))
        return inner and (lambda value: None if value is None else inner(value))
    if typing.get_origin(hint) is tuple:
        element = _reader(arguments[0])
        return (lambda value: tuple(map(element, value))) if element else tuple
    return None
