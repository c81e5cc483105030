"""The RPCs of each service by the names a client uses."""

from __future__ import annotations

import re
import uuid
from functools import cache
from typing import Any

from google.protobuf.message import Message

from bessemer.kernel.errors import InvalidRequest
from bessemer.svckit.methods import Method, method_table

__all__ = ["AREAS", "build", "calls"]

AREAS = ("data", "train", "eval", "serve")


@cache
def calls(area: str) -> dict[str, Method]:
    """Return the RPCs of one area by snake-case name, such as `create_dataset`."""
    prefix = f"bessemer.api.{area}.v1."
    return {
        re.sub(r"(?<!^)(?=[A-Z])", "_", method.name).lower(): method
        for method in method_table().values()
        if method.service.startswith(prefix)
    }


def build(method: Method, fields: dict[str, Any]) -> Message:
    """Return the method's request with `fields`; fills `request_id`, so that a retry is safe.

    Raises: InvalidRequest naming a field that does not exist or has the wrong type.
    """
    known = method.request.DESCRIPTOR.fields_by_name
    for name in fields:
        if name not in known:
            raise InvalidRequest(f"{method.path} has no field {name!r}; it has {', '.join(known)}", field=name)
    if method.has_request_id:
        fields = {"request_id": str(uuid.uuid4()), **fields}
    try:
        return method.request(**fields)
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"{method.path}: {error}", field="request") from error
