"""Writes the golden bytes of one event of each kind; existing files stay as they are: they are what was released.

python tests/contract/golden_events.py
"""

from __future__ import annotations

from pathlib import Path

from bessemer.svckit.change import Kind, event_payload, kinds
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

GOLDEN = Path(__file__).parent / "golden"
DEPTH_MAX = 6


def path_of(kind: Kind) -> Path:
    """Return where a kind's golden bytes lie."""
    return GOLDEN / f"{kind.event.DESCRIPTOR.name}.binpb"


def example(message: type[Message], depth: int = 0) -> Message:
    """Return a message with every field set, always in the same way."""
    made = message()
    for field in message.DESCRIPTOR.fields:
        if depth == DEPTH_MAX and field.type == FieldDescriptor.TYPE_MESSAGE:
            continue
        value = value_of(field, depth)
        if field.is_repeated and field.message_type and field.message_type.GetOptions().map_entry:
            getattr(made, field.name)["key"] = "value"
        elif field.is_repeated and field.message_type:
            getattr(made, field.name).append(value)
        elif field.is_repeated:
            getattr(made, field.name).extend([value])
        elif field.message_type:
            getattr(made, field.name).CopyFrom(value)
        else:
            setattr(made, field.name, value)
    return made


def value_of(field: FieldDescriptor, depth: int):
    """Return a value of a field's type that tells the field by its number."""
    if field.message_type:
        return example(GetMessageClass(field.message_type), depth + 1)
    if field.enum_type:
        return field.enum_type.values[-1].number
    return {
        FieldDescriptor.CPPTYPE_STRING: b"bytes" if field.type == FieldDescriptor.TYPE_BYTES else field.name,
        FieldDescriptor.CPPTYPE_BOOL: True,
        FieldDescriptor.CPPTYPE_DOUBLE: field.number + 0.5,
        FieldDescriptor.CPPTYPE_FLOAT: field.number + 0.5,
    }.get(field.cpp_type, field.number)


def main() -> None:
    """Write what is missing."""
    GOLDEN.mkdir(exist_ok=True)
    for kind in kinds().values():
        if not path_of(kind).exists():
            (resource,) = (field for field in kind.event.DESCRIPTOR.fields if field.name == kind.field)
            path_of(kind).write_bytes(
                event_payload(kind, example(GetMessageClass(resource.message_type)), "JOB_STATE_RUNNING")
            )


if __name__ == "__main__":
    main()
