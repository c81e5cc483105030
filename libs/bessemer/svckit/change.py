"""How a change of a resource becomes an event: decided here, stored by `tx`, carried by `bus`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from bessemer.api.event.v1 import data_events_pb2, eval_events_pb2, serve_events_pb2, train_events_pb2
from bessemer.kernel.errors import Internal, InvalidRequest

__all__ = ["PAYLOAD_LIMIT_BYTES", "Kind", "event_message", "event_payload", "event_type", "kind_of", "kinds"]

PAYLOAD_LIMIT_BYTES = 900 * 1024  # the broker takes 1 MiB, headers included


@dataclass(frozen=True)
class Kind:
    """A kind of resource and the event message that carries it in its first field."""

    name: str  # full name of the resource's message
    event: type[Message]
    field: str  # snake case name of the kind, such as `training_job`


@cache
def kinds() -> dict[str, Kind]:
    """Return every kind of resource that has events, by the full name of its message."""
    found = {}
    for module in (data_events_pb2, train_events_pb2, eval_events_pb2, serve_events_pb2):
        for descriptor in module.DESCRIPTOR.message_types_by_name.values():
            first = descriptor.fields[0]
            name = first.message_type.full_name
            found[name] = Kind(name, GetMessageClass(descriptor), first.name)
    return found


def kind_of(message: type[Message]) -> Kind:
    """Return the kind of a resource's message class."""
    name = message.DESCRIPTOR.full_name
    if name not in kinds():
        raise Internal(f"{name} has no <Kind>Changed message in bessemer.api.event.v1; add one to store such resources")
    return kinds()[name]


def event_type(service: str, kind: Kind, verb: str) -> str:
    """Return an event's type, such as `bessemer.train.training_job.succeeded.v1`."""
    return f"bessemer.{service}.{kind.field}.{verb}.v1"


def event_payload(kind: Kind, resource: Message, previous_state: str) -> bytes:
    """Return the serialized event message; the same bytes for the same facts."""
    payload = kind.event(**{kind.field: resource, "previous_state": previous_state}).SerializeToString(
        deterministic=True
    )
    if len(payload) > PAYLOAD_LIMIT_BYTES:
        raise InvalidRequest(
            f"the resource takes {len(payload)} bytes; the limit is {PAYLOAD_LIMIT_BYTES}; keep bulk as objects"
        )
    return payload


def event_message(kind: Kind, payload: bytes) -> tuple[Message, str]:
    """Return the resource and the previous state that a payload carries."""
    event = kind.event.FromString(payload)
    return getattr(event, kind.field), event.previous_state  # type: ignore[attr-defined]
