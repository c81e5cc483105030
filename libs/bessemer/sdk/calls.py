"""Every RPC of the contract as a record, read from the descriptors."""

from __future__ import annotations

import importlib
import re
import uuid
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message import Message

from bessemer.kernel.errors import InvalidRequest

__all__ = ["AREAS", "Call", "calls"]

AREAS = {
    "data": ("project_service", "artifact_service", "dataset_service", "feedback_service", "lineage_service"),
    "train": ("model_service", "training_service"),
    "eval": ("evaluation_service",),
    "serve": ("deployment_service", "inference_service"),
}
READ_DEADLINE_S, WRITE_DEADLINE_S, INFER_DEADLINE_S = 10.0, 30.0, 300.0


@dataclass(frozen=True)
class Call:
    """One RPC: its path, its messages, and how long it may take."""

    path: str
    request: type[Message]
    response: type[Message]
    streams: bool
    deadline_s: float | None

    def build(self, fields: dict[str, Any]) -> Message:
        """Return the request with `fields`; fills `request_id`, so that a retry is safe.

        Raises: InvalidRequest naming a field that does not exist or has the wrong type.
        """
        known = self.request.DESCRIPTOR.fields_by_name
        for name in fields:
            if name not in known:
                raise InvalidRequest(f"{self.path} has no field {name!r}; it has {', '.join(known)}", field=name)
        if "request_id" in known:
            fields = {"request_id": str(uuid.uuid4()), **fields}
        try:
            return self.request(**fields)
        except (TypeError, ValueError) as error:
            raise InvalidRequest(f"{self.path}: {error}", field="request") from error


@cache
def calls(area: str) -> dict[str, Call]:
    """Return the RPCs of one area by snake-case name, such as `create_dataset`."""
    table: dict[str, Call] = {}
    for file in AREAS[area]:
        module = importlib.import_module(f"bessemer.api.{area}.v1.{file}_pb2")
        for service in module.DESCRIPTOR.services_by_name.values():
            table |= _service_calls(service)
    return table


def _service_calls(service: ServiceDescriptor) -> dict[str, Call]:
    table = {}
    for method in service.methods:
        reads = method.GetOptions().idempotency_level == MethodOptions.NO_SIDE_EFFECTS
        deadline = READ_DEADLINE_S if reads else WRITE_DEADLINE_S
        if service.name == "InferenceService":
            deadline = INFER_DEADLINE_S
        streams = bool(method.server_streaming)
        table[re.sub(r"(?<!^)(?=[A-Z])", "_", method.name).lower()] = Call(
            path=f"/{service.full_name}/{method.name}",
            request=message_factory.GetMessageClass(method.input_type),
            response=message_factory.GetMessageClass(method.output_type),
            streams=streams,
            deadline_s=None if streams and service.name != "InferenceService" else deadline,
        )
    return table
