"""Checks requests against the rules on their fields; compiled once per message type.

Besides the rules: numbers are finite, enum numbers known, and a request that changes something has no fields that
this server does not know, because a setting that is silently dropped is worse than an error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

from google.protobuf import unknown_fields
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from bessemer.api.common.v1 import options_pb2
from bessemer.kernel.errors import InvalidRequest
from bessemer.kernel.ids import check_id

__all__ = ["projects_in", "validate"]

_Check: TypeAlias = Callable[[Any, str], None]  # value and path of its field

_FLOATS = frozenset({FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE})
_INTEGERS = frozenset(
    {
        FieldDescriptor.CPPTYPE_INT32,
        FieldDescriptor.CPPTYPE_INT64,
        FieldDescriptor.CPPTYPE_UINT32,
        FieldDescriptor.CPPTYPE_UINT64,
    }
)
_EMPTY_MEANS_UNSET = frozenset({FieldDescriptor.CPPTYPE_STRING, FieldDescriptor.CPPTYPE_BOOL})
_ID = r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
_SEGMENTS = {"*": _ID, "@*": f"@{_ID}", "**": ".+"}
_NAME_FIELDS = frozenset({"name", "parent"})


def validate(message: Message, *, strict: bool) -> None:
    """Let a good request pass; `strict` also refuses unknown fields.

    Raises: InvalidRequest naming the path of the first bad field, its value and what is allowed.
    """
    _walk(message, "", strict=strict)


def projects_in(message: Message) -> set[str]:
    """Return the ids of all projects that the resource names in a request lie in."""
    return {parts[1] for name in _names(message) if len(parts := name.split("/", 2)) > 1 and parts[0] == "projects"}


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    required: bool
    presence: bool
    oneof: bool
    repeated: bool
    mapping: bool
    nested: bool  # elements, or values of a map, are messages
    num_max: int
    checks: tuple[_Check, ...]
    skip_default: bool  # the default means "not set", so that only `required` looks at it


@cache
def _plan(descriptor: Descriptor) -> tuple[_Field, ...]:
    fields = (_field(field) for field in descriptor.fields)
    return tuple(field for field in fields if field.checks or field.nested or field.required or field.num_max)


def _walk(message: Message, path: str, *, strict: bool) -> None:
    if strict:
        _refuse_unknown(message, path.rstrip("."))
    for field in _plan(message.DESCRIPTOR):
        value, here = getattr(message, field.name), path + field.name
        if field.repeated:
            _check_elements(field, value, here, strict=strict)
        elif field.presence and not message.HasField(field.name):
            if field.required and not field.oneof:
                raise InvalidRequest(f"{here} must be set", field=here)
        elif field.nested:
            _walk(value, here + ".", strict=strict)
        elif field.skip_default and not value:
            if field.required:
                raise InvalidRequest(f"{here} must be set", field=here)
        else:
            for check in field.checks:
                check(value, here)


def _refuse_unknown(message: Message, path: str) -> None:
    unknown: Any = unknown_fields.UnknownFieldSet(message)
    if len(unknown):
        number = unknown[0].field_number
        raise InvalidRequest(
            f"{path or 'the request'} has a field of number {number} that this server does not know; "
            "update the server or leave the field out",
            field=path or str(number),
        )


def _check_elements(field: _Field, values: Any, path: str, *, strict: bool) -> None:
    if field.required and not values:
        raise InvalidRequest(f"{path} must have at least one element", field=path)
    if field.num_max and len(values) > field.num_max:
        raise InvalidRequest(f"{path} may have at most {field.num_max} elements; got {len(values)}", field=path)
    if not (field.checks or field.nested):
        return
    for key, value in values.items() if field.mapping else enumerate(values):
        here = f"{path}[{str(key)[:80]}]"
        if field.nested:
            _walk(value, here + ".", strict=strict)
            continue
        for check in field.checks:
            if field.mapping and isinstance(key, type(value)):
                check(key, here)
            check(value, here)


def _names(message: Message) -> Iterator[str]:
    for field in _plan_of_names(message.DESCRIPTOR):
        if field.presence and not message.HasField(field.name):
            continue
        value = getattr(message, field.name)
        elements = (value.values() if field.mapping else value) if field.repeated else (value,)
        for element in elements:
            if field.nested:
                yield from _names(element)
            else:
                yield element


@cache
def _plan_of_names(descriptor: Descriptor) -> tuple[_Field, ...]:
    return tuple(
        _field(field) for field in descriptor.fields if _is_name(field) or _holds_names(_element_of(field), frozenset())
    )


def _holds_names(descriptor: Descriptor | None, seen: frozenset[str]) -> bool:
    if descriptor is None or descriptor.full_name in seen:
        return False
    seen |= {descriptor.full_name}
    return any(_is_name(field) or _holds_names(_element_of(field), seen) for field in descriptor.fields)


def _rules(field: FieldDescriptor) -> options_pb2.FieldRules:
    extensions: Any = field.GetOptions().Extensions  # the stubs know no extensions
    rules: options_pb2.FieldRules = extensions[options_pb2.rules]
    return rules


def _is_name(field: FieldDescriptor) -> bool:
    rules = _rules(field)
    text = field.cpp_type == FieldDescriptor.CPPTYPE_STRING
    return bool(rules.name) or (text and not field.is_repeated and field.name in _NAME_FIELDS)


def _element_of(field: FieldDescriptor) -> Descriptor | None:
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        value: Descriptor | None = message.fields_by_name["value"].message_type
        return value
    return message


def _field(field: FieldDescriptor) -> _Field:
    rules = _rules(field)
    entry = field.message_type
    mapping = entry is not None and entry.GetOptions().map_entry
    element = entry.fields_by_name["value"] if entry is not None and mapping else field
    oneof = field.containing_oneof
    return _Field(
        name=field.name,
        required=rules.required,
        presence=field.has_presence,
        oneof=oneof is not None and len(oneof.fields) > 1,
        repeated=field.is_repeated,
        mapping=mapping,
        nested=element.message_type is not None,
        num_max=rules.max_items,
        checks=tuple(_checks(element, rules)),
        skip_default=rules.required or (not field.has_presence and element.cpp_type in _EMPTY_MEANS_UNSET),
    )


def _checks(field: FieldDescriptor, rules: options_pb2.FieldRules) -> Iterator[_Check]:
    if field.cpp_type in _FLOATS or field.cpp_type in _INTEGERS:
        bounds = (
            rules.min if rules.HasField("min") else -math.inf,
            rules.above if rules.HasField("above") else -math.inf,
            rules.max if rules.HasField("max") else math.inf,
        )
        if field.cpp_type in _FLOATS or any(math.isfinite(bound) for bound in bounds):
            yield _number_check(*bounds)
    elif field.enum_type is not None:
        yield _enum_check({value.number: value.name for value in field.enum_type.values})
    elif field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        if rules.max_length:
            yield _length_check(rules.max_length)
        if rules.id:
            yield lambda value, path: _drop(check_id(value, path))
        if rules.pattern:
            yield _pattern_check(rules.pattern, rules.pattern)
        if rules.name:
            patterns = ["/".join(map(_segment, name.split("/"))) for name in rules.name]
            yield _pattern_check("|".join(patterns), " or ".join(rules.name))


def _segment(part: str) -> str:
    return _SEGMENTS.get(part) or re.escape(part)


def _drop(_: object) -> None:
    return None


def _number_check(least: float, above: float, most: float) -> _Check:
    lower = f"at least {least:g}" if math.isfinite(least) else f"above {above:g}" if math.isfinite(above) else ""
    upper = f"at most {most:g}" if math.isfinite(most) else ""
    allowed = " and ".join(part for part in (lower, upper) if part) or "finite"

    def check(value: float, path: str) -> None:
        if not (least <= value <= most and value > above and math.isfinite(value)):
            raise InvalidRequest(f"{path} must be {allowed}; got {value}", field=path)

    return check


def _enum_check(known: dict[int, str]) -> _Check:
    def check(value: int, path: str) -> None:
        if value not in known:
            raise InvalidRequest(f"{path} must be one of {', '.join(known.values())}; got {value}", field=path)

    return check


def _length_check(length_max: int) -> _Check:
    def check(value: str | bytes, path: str) -> None:
        if len(value) > length_max:
            raise InvalidRequest(f"{path} may be at most {length_max} long; got {len(value)}", field=path)

    return check


def _pattern_check(pattern: str, shown: str) -> _Check:
    compiled = re.compile(pattern)

    def check(value: str, path: str) -> None:
        if not compiled.fullmatch(value):
            raise InvalidRequest(f"{path} must match {shown}; got {value[:120]!r}", field=path)

    return check
